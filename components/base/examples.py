"""The examples of a split as they were written, read with TensorFlow."""

import numpy as np
import tensorflow as tf

from darkroom.components.base import features
from darkroom.components.base.errors import DarkroomError


def files(file_patterns: list[str]) -> list[str]:
    """The files of a split, by their names."""
    return sorted(name for pattern in file_patterns for name in tf.io.gfile.glob(pattern))


def records(file_patterns: list[str]) -> tf.data.Dataset:
    """Serialised examples, in the order of the files' names."""
    names = files(file_patterns)
    compression = "GZIP" if names and names[0].endswith(".gz") else ""
    return tf.data.TFRecordDataset(names, compression)


def groups(file_patterns: list[str]) -> np.ndarray | None:
    """Numbers of what each example belongs to, int64 [count]; None where none says.

    One that says nothing has a number of its own.
    """
    spec = {features.GROUP_KEY: tf.io.FixedLenFeature([], tf.string, "")}
    parsed = records(file_patterns).batch(1024).map(lambda batch: tf.io.parse_example(batch, spec))
    texts = [batch[features.GROUP_KEY] for batch in parsed.as_numpy_iterator()]
    named = np.concatenate(texts) if texts else np.empty(0, object)
    alone = named == b""
    if alone.all():
        return None
    _, found = np.unique(named, return_inverse=True)
    numbers: np.ndarray = found.astype(np.int64)
    numbers[alone] = numbers.max() + 1 + np.arange(alone.sum())
    return numbers


def most_evaluated(eval_files: list[str], count: int) -> int:
    """About how many images Evaluator sees: those of eval, ``count``, or of a larger test split."""
    test_files = ["Split-test".join(path.rsplit("Split-eval", 1)) for path in eval_files]
    return max(count, count * _bytes(test_files) // max(_bytes(eval_files), 1))


def _bytes(file_patterns: list[str]) -> int:
    return sum(int(tf.io.gfile.stat(name).length) for name in files(file_patterns))


def sample_images(file_patterns: list[str], count: int) -> list[bytes]:
    """The first ``count`` encoded images of a split, untouched."""
    spec = {features.IMAGE_KEY: tf.io.FixedLenFeature([], tf.string)}
    parsed = records(file_patterns).take(count).map(lambda s: tf.io.parse_single_example(s, spec))
    return [example[features.IMAGE_KEY].numpy() for example in parsed]


def check_batch(batch_size: int, examples: int) -> None:
    """Raises a DarkroomError where the train split's examples don't fill a batch."""
    if batch_size > examples:
        raise DarkroomError(
            f"training.batch_size is {batch_size}, more than the {examples} examples of the train "
            f"split. Set it to {examples} or less."
        )
