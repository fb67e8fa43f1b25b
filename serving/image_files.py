"""Which image files the words of a command line name."""

import glob
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from darkroom.serving.predictor import ImageError, PredictionError

_SUFFIXES = ".jpg .jpeg .jpe .jfif .mpo .png .gif .bmp .dib .webp .tif .tiff .ppm .pgm .pbm .pfm"
HEIF_SUFFIXES = frozenset((".heic", ".heif", ".hif", ".avif"))  # an extra's libraries read them
SUFFIXES = frozenset(_SUFFIXES.split(" ")) | HEIF_SUFFIXES  # of image files, whatever they are for


class ImageFiles(NamedTuple):
    """Files in the order in which they were named, those of a folder by name."""

    paths: list[str]
    left_out: int  # files below the folders that aren't named as images are


def find(words: Sequence[str]) -> ImageFiles:
    """Files, those below folders, and those that patterns such as ``photos/*.png`` match.

    Hidden files of a folder don't count. Raises PredictionError where a word names nothing.
    """
    paths: list[str] = []
    left_out = 0
    for word in words:
        if os.path.isdir(word):
            files = list(_below(word))
            images = [path for path in files if os.path.splitext(path)[1].lower() in SUFFIXES]
            if not images:
                raise PredictionError(
                    f"{word}: no file below it is named as images are, such as a.jpg."
                )
            paths, left_out = paths + images, left_out + len(files) - len(images)
        elif glob.has_magic(word) and not os.path.exists(word):
            matches = [path for path in glob.glob(word, recursive=True) if os.path.isfile(path)]
            if not matches:
                raise PredictionError(f"{word}: no file matches this pattern.")
            paths += sorted(matches)
        else:
            read(word)
            paths.append(word)
    return ImageFiles(paths, left_out)


def read(path: str) -> bytes:
    """The bytes of a file; raises ImageError where it can't be read."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ImageError(f"{path}: can't be read: {error.strerror}.") from error


def _below(folder: str) -> Iterator[str]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name[0] != ".")
        yield from (os.path.join(parent, name) for name in sorted(names) if name[0] != ".")
