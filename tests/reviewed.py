"""Photographs with labels, as TFRecords to review."""

import functools
import io
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

from darkroom.components.base import features, tfrecord
from darkroom.pipeline.review import images, measures
from darkroom.pipeline.review.images import Images, Source

SIDE = 96


class Photo(NamedTuple):
    name: str
    label: str
    image: Image.Image
    split: str = "train"
    quality: int = 90


@functools.cache
def photos() -> tuple[Photo, ...]:
    """48 photographs of two classes, sharp and neither dark nor bright, no two of them alike."""
    generator, found = np.random.default_rng(0), []
    for label, pixels in zip(("china", "flower"), load_sample_images().images, strict=True):
        whole, count = Image.fromarray(pixels), 0
        while count < 24:
            side = int(generator.integers(100, 300))
            x, y = generator.integers(0, whole.width - side), generator.integers(0, 427 - side)
            part = whole.crop((x, y, x + side, y + side)).resize((SIDE, SIDE))
            [seen] = measures.measure([encoded(part)])
            assert isinstance(seen, measures.Measures)
            if seen.light > 0.4 and seen.shadow < 0.5 and seen.sharpness > 0.06:
                found.append(Photo(f"{label}/{chr(97 + count)}.jpg", label, part))
                count += 1
    return tuple(found)


def encoded(image: Image.Image, quality: int = 90) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def write(folder: Path, taken: Iterable[Photo]) -> Path:
    """Writes them below ``folder``, as ``darkroom ingest`` does."""
    records: dict[str, list[bytes]] = {}
    for photo in taken:
        values = {
            features.IMAGE_KEY: encoded(photo.image, photo.quality),
            features.LABEL_KEY: photo.label.encode(),
            features.FILENAME_KEY: photo.name.encode(),
        }
        records.setdefault(photo.split, []).append(tfrecord.encode_example(values))
    for split, of_split in records.items():
        (folder / split).mkdir(parents=True)
        tfrecord.write(folder / split / "001-00000-of-00001.tfrecord", of_split)
    return folder


def looked_at(folder: Path, taken: Iterable[Photo]) -> Images:
    return images.look(Source(write(folder, taken)), lambda *_: None)


def noise(seed: int, side: int = SIDE) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    return Image.fromarray(pixels)
