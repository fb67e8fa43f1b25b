"""The first images of a set, of all classes or of each."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from darkroom.components.base import features, tfrecord

Labelled = tuple[np.ndarray, np.ndarray]  # decoded images uint8, and numbers of their classes


class Record(NamedTuple):
    """A serialised example."""

    data: bytes
    label: Any
    number: int  # among those of its class, from 1


def records(
    folder: Path, per_class: int | None = None, most: int | None = None
) -> Iterator[Record]:
    """The first records of a folder's files, or the first of each class."""
    counts: Counter[Any] = Counter()
    given = 0
    for path in sorted(folder.iterdir()):
        for data in tfrecord.read(path):
            if given == most:
                return
            [label] = tfrecord.decode_example(data)[features.LABEL_KEY].values
            counts[label] += 1
            if per_class is None or counts[label] <= per_class:
                given += 1
                yield Record(data, label, counts[label])


def labelled(folder: Path, per_class: int, most: int) -> tuple[Labelled, Labelled]:
    """The first images of each class below ``train``, and the first ones below ``test``."""
    train = list(records(folder / "train", per_class=per_class))
    test = list(records(folder / "test", most=most))
    names = sorted({record.label for record in train})
    return arrays(train, names), arrays(test, names)


def arrays(split: list[Record], names: list[Any]) -> Labelled:
    """The images of records, and each one's class as its place among the names."""
    images = np.stack([_decoded(record) for record in split])
    return images, np.array([names.index(record.label) for record in split])


def _decoded(record: Record) -> np.ndarray:
    [encoded] = tfrecord.decode_example(record.data)[features.IMAGE_KEY].values
    image: np.ndarray = tf.io.decode_image(encoded).numpy()
    return image
