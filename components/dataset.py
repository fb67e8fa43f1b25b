"""From the examples of a split to batches for ``keras.Model.fit``."""

from collections import Counter

import tensorflow as tf
import tensorflow_transform as tft

from components import features

# Examples that are parsed and preprocessed together, before the batches of training are made.
_CHUNK = 256
# Batches that are ready before they are asked for.
PREFETCHED = 4
# tf.data's own care for speed costs more here than it gives, as the examples are in memory.
OPTIONS = tf.data.Options()
# An iterator with autotuning waits at its end until the tuner's next turn, which comes after
# 5, 10, 20, 41 s: every epoch would end with an idle wait of a third of its time.
OPTIONS.autotune.enabled = False
# Every new iterator would optimise the whole transform graph again: half a second per epoch.
OPTIONS.experimental_optimization.apply_default_optimizations = False


def preprocessed(file_patterns: list[str], transform: tft.TFTransformOutput) -> tf.data.Dataset:
    """The examples of a split, run through the transform graph once and kept in memory.

    Args:
      file_patterns: the split's TFRecord files, as in TFX's ``FnArgs.train_files``.
      transform: output of the Transform node.

    Returns:
      Unbatched pairs of image float32 [height, width, channels] and label int64 [], of known
      cardinality, so that Keras knows the number of steps from the first epoch on.
    """
    spec = transform.raw_feature_spec()
    raw_spec = {key: spec[key] for key in (features.IMAGE_KEY, features.LABEL_KEY)}
    layer = transform.transform_features_layer()

    @tf.autograph.experimental.do_not_convert  # it would rewrite all of Keras's layer call: 2.5 s
    def transformed(serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        outputs = layer(tf.io.parse_example(serialized, raw_spec))
        return outputs[features.IMAGE], outputs[features.LABEL]

    examples = (
        _records(file_patterns)
        .batch(_CHUNK)
        .map(transformed, num_parallel_calls=tf.data.AUTOTUNE)
        .unbatch()
        .cache()
        .with_options(OPTIONS)
    )
    # Counts and fills the cache in one pass, without a Python object per example.
    count = examples.reduce(tf.constant(0, tf.int64), lambda number, _: number + 1)
    return examples.apply(tf.data.experimental.assert_cardinality(count))


def batches(
    examples: tf.data.Dataset, batch_size: int, shuffle_seed: int | None = None
) -> tf.data.Dataset:
    """Batches of a split, shuffled anew in every epoch where a seed is given."""
    if shuffle_seed is not None:
        # The examples are in memory anyway, and the buffer only holds references to them.
        examples = examples.shuffle(examples.cardinality(), seed=shuffle_seed)
    return examples.batch(batch_size).prefetch(PREFETCHED).with_options(OPTIONS)


def class_counts(examples: tf.data.Dataset) -> Counter[int]:
    """Examples of each label in a dataset of unbatched pairs."""
    counts: Counter[int] = Counter()
    for labels in examples.map(lambda image, label: label).batch(10_000):
        counts.update(labels.numpy().tolist())
    return counts


def sample_images(
    file_patterns: list[str], transform: tft.TFTransformOutput, count: int
) -> list[bytes]:
    """The first ``count`` encoded images of a split, untouched."""
    spec = {features.IMAGE_KEY: transform.raw_feature_spec()[features.IMAGE_KEY]}
    parsed = _records(file_patterns).take(count).map(lambda s: tf.io.parse_single_example(s, spec))
    return [example[features.IMAGE_KEY].numpy().item() for example in parsed]


def _records(file_patterns: list[str]) -> tf.data.Dataset:
    files = sorted(name for pattern in file_patterns for name in tf.io.gfile.glob(pattern))
    compression = "GZIP" if files and files[0].endswith(".gz") else ""
    return tf.data.TFRecordDataset(files, compression)
