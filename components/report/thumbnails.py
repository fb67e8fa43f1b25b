"""Small pictures for people: PNG files of images of any size and kind."""

import itertools
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from darkroom.components.base import features, tfrecord
from darkroom.components.ingestion import image_formats
from darkroom.serving import signatures

# Pixels of the long side, at most and at least.
_MOST, _LEAST = 128, 64
# Records of a split that are looked at for examples of its classes: a rare class may have none.
_SEARCHED = 4096


def of_file(encoded: bytes, path: Path) -> None:
    """Writes the thumbnail of an image file.

    Args:
      encoded: of a kind that ``images.DECODABLE`` names.
      path: of the PNG file.

    Raises:
      ImageError: it doesn't decode.
      OSError: the file can't be written.
    """
    image = image_formats.open_image(encoded, image_formats.DECODABLE)
    try:
        image.draft("RGB", (2 * _MOST, 2 * _MOST))  # a large JPEG is decoded at a part of its size
        image.load()
        if image.format in ("JPEG", "MPO") and image_formats.orientation(image) != 1:
            image = ImageOps.exif_transpose(image)
    except Exception:  # Pillow's plugins raise whatever a damaged file makes them
        raise image_formats.ImageError(image_formats.why_not_decoded(encoded)) from None
    if image.mode.startswith("I"):  # 16 bits, of which Pillow would keep the lower 8
        image = Image.fromarray((np.asarray(image) / 257).astype(np.uint8))
    _save(image.convert("L" if image.mode in ("1", "L", "LA") else "RGB"), path)


def of_pixels(pixels: np.ndarray, path: Path) -> None:
    """Writes the thumbnail of values in [0, 1], [height, width, 1 or 3]."""
    octets = np.clip(pixels * 255 + 0.5, 0, 255).astype(np.uint8)
    _save(Image.fromarray(octets[..., 0] if octets.shape[-1] == 1 else octets), path)


def first_of_classes(
    paths: list[Path], classes: int, most: int, of_each: int
) -> list[tuple[str, bytes]]:
    """The first images of each class of a split, sorted by label.

    Args:
      paths: TFRecord files of ImportExampleGen; no more is read of them than it takes.
      classes: how many there are.
      most: images in all.
      of_each: images of one class, where there is room.

    Returns:
      Pairs of label and image file.
    """
    found: dict[str, list[bytes]] = {}
    enough_classes, enough_images = min(classes, most), min(classes * of_each, most)
    for record in itertools.islice(_records(paths), _SEARCHED):
        example = tfrecord.decode_example(record)
        texts = (text.decode("utf-8", "replace") for text in example[features.LABEL_KEY][1])
        label = signatures.LABEL_SEPARATOR.join(texts)
        of_class = found.setdefault(label, [])
        if len(of_class) < of_each:
            of_class.append(example[features.IMAGE_KEY][1][0])
        if len(found) >= enough_classes and sum(map(len, found.values())) >= enough_images:
            break
    # The first of every class before the second of any.
    ranked = [(rank, label, image) for label in found for rank, image in enumerate(found[label])]
    return sorted((label, image) for _, label, image in sorted(ranked)[:most])


def by_content(paths: list[Path], contents: Collection[int]) -> dict[int, bytes]:
    """The image files of a split by the hash of their pixels, found in one pass.

    Args:
      paths: TFRecord files of ImportExampleGen.
      contents: the hashes, ``features.CONTENT_KEY``.
    """
    missing = set(contents)
    found: dict[int, bytes] = {}
    for record in _records(paths) if missing else ():
        example = tfrecord.decode_example(record)
        [content] = example[features.CONTENT_KEY][1]
        if content in missing:
            found[content] = example[features.IMAGE_KEY][1][0]
            missing.remove(content)
            if not missing:
                break
    return found


def _records(paths: list[Path]) -> Iterator[bytes]:
    for path in paths:
        yield from tfrecord.read(path)


def _save(image: Any, path: Path) -> None:
    image.thumbnail((_MOST, _MOST))
    longest = max(image.size)
    if longest < _LEAST:
        scale = -(-_LEAST // longest)
        size = (image.width * scale, image.height * scale)
        image = image.resize(size, Image.Resampling.NEAREST)  # its own pixels, not a blur
    image.save(path, format="PNG")
