"""Small pictures for people: PNG files of images of any size and kind."""

import contextlib
import itertools
from collections.abc import Iterator, Set
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from darkroom.components.base import features, tfrecord
from darkroom.serving import signatures
from darkroom.serving.codecs import pictures

# Pixels of the long side, at most and at least.
_MOST, _LEAST = 128, 64
# Records of a split that are looked at for examples of its classes: a rare class may have none.
_SEARCHED = 4096


def of_file(encoded: bytes, path: Path) -> None:
    """Writes the thumbnail of an image file; raises ImageError where that doesn't decode."""
    image, _ = pictures.small(encoded, 2 * _MOST)
    _save(image, path)


def of_pixels(pixels: np.ndarray, path: Path) -> None:
    """Writes the thumbnail of values in [0, 1], [height, width, 1 or 3]."""
    octets = np.clip(pixels * 255 + 0.5, 0, 255).astype(np.uint8)
    _save(Image.fromarray(octets[..., 0] if octets.shape[-1] == 1 else octets), path)


def first_of_classes(
    paths: list[Path], classes: int, most: int, of_each: int
) -> list[tuple[str, bytes]]:
    """Label and file of the first images of each class of a split, sorted by label.

    At most ``of_each`` of a class, and ``most`` in all; no more is read than that takes.
    """
    found: dict[str, list[bytes]] = {}
    enough_classes, enough_images = min(classes, most), min(classes * of_each, most)
    for example in itertools.islice(_examples(paths), _SEARCHED):
        label = signatures.LABEL_SEPARATOR.join(_texts(example))
        of_class = found.setdefault(label, [])
        if len(of_class) < of_each:
            of_class.append(example[features.IMAGE_KEY][1][0])
        if len(found) >= enough_classes and sum(map(len, found.values())) >= enough_images:
            break
    # The first of every class before the second of any.
    ranked = [(rank, label, image) for label in found for rank, image in enumerate(found[label])]
    chosen = [(label, image) for _, label, image in sorted(ranked)[:most]]
    return sorted(chosen, key=lambda pair: (_number(pair[0]), pair))


def _texts(example: dict[str, tfrecord.Feature]) -> Iterator[str]:
    for key in features.target_keys(example):
        for value in example[key].values:
            is_text = isinstance(value, bytes)
            yield value.decode("utf-8", "replace") if is_text else f"{value:.4g}"


def _number(label: str) -> float:
    """By which labels of numbers are sorted; the same of all others."""
    with contextlib.suppress(ValueError):
        return float(label)
    return 0.0


def by_content(paths: list[Path], contents: Set[int]) -> dict[int, bytes]:
    """The image files of a split by the hash of their pixels, ``features.CONTENT_KEY``."""
    images: dict[int, bytes] = {}
    for example in _examples(paths) if contents else ():
        [content] = example[features.CONTENT_KEY][1]
        if content in contents:
            images.setdefault(content, example[features.IMAGE_KEY][1][0])
            if len(images) == len(contents):
                break
    return images


def _examples(paths: list[Path]) -> Iterator[dict[str, tfrecord.Feature]]:
    records = itertools.chain.from_iterable(map(tfrecord.read, paths))
    return map(tfrecord.decode_example, records)


def sized(image: Image.Image) -> Image.Image:
    """An image in the size of a thumbnail."""
    image.thumbnail((_MOST, _MOST))
    scale = -(-_LEAST // max(image.size))
    # Enlarged it keeps its own pixels, without a blur.
    return ImageOps.scale(image, scale, Image.Resampling.NEAREST) if scale > 1 else image


def _save(image: Image.Image, path: Path) -> None:
    sized(image).save(path, format="PNG")
