"""The first images of a set, of all classes or of each, decoded."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import tensorflow as tf

from darkroom.components.base import features, tfrecord


def few_images(
    folder: Path, per_class: int | None = None, most: int | None = None
) -> tuple[np.ndarray, list[bytes]]:
    """The first images of a folder of TFRecords, or the first of each class, and their labels."""
    images, labels, counts = [], [], defaultdict[bytes, int](int)
    for path in sorted(folder.iterdir()):
        for record in tfrecord.read(path):
            example = tf.train.Example.FromString(record).features.feature
            label = example[features.LABEL_KEY].bytes_list.value[0]
            counts[label] += 1
            if per_class is not None and counts[label] > per_class:
                continue
            encoded = example[features.IMAGE_KEY].bytes_list.value[0]
            images.append(tf.io.decode_image(encoded).numpy())
            labels.append(label)
            if len(images) == most:
                return np.stack(images), labels
    return np.stack(images), labels
