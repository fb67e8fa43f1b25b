"""The classes: the names that the train split has, in order."""

import os
from collections.abc import Iterable

import apache_beam as beam
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_transform.beam import experimental as tft_beam

from darkroom.components.base import features


def indices(labels: tf.Tensor | tf.SparseTensor) -> tf.Tensor | tf.SparseTensor:
    """Turns names into their places in the vocabulary, int64; -1 where it has no such name.

    For TensorFlow Transform's ``preprocessing_fn``. Its own vocabulary is ordered by frequency:
    an image more or less would give every class another place in the model's outputs.
    """
    names = labels.values if isinstance(labels, tf.SparseTensor) else labels
    [path] = tft.experimental.ptransform_analyzer(
        [names], _Vocabulary(), [tf.string], [[]], output_asset_default_values=[b"none"]
    )
    return tft.apply_vocabulary(labels, path)


def class_names(transform: tft.TFTransformOutput) -> list[str]:
    """The label vocabulary, or the names of the numbers, in the order of the model's outputs."""
    if transform.vocabulary_file_by_name(features.LABEL_VOCABULARY) is None:
        return features.target_names(transform.raw_feature_spec())
    vocabulary = transform.vocabulary_by_name(features.LABEL_VOCABULARY)
    return [name.decode("utf-8") for name in vocabulary]


def in_order(names: Iterable[bytes]) -> list[bytes]:
    """Sorted as people do: whole numbers by value, other names by letter."""
    return sorted(names, key=lambda name: (0, int(name), name) if name.isdigit() else (1, 0, name))


class _Vocabulary(tft_beam.PTransformAnalyzer):
    """From batches of names to the path of a file that has each of them once, one in a line."""

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        folder = self.base_temp_dir
        path = os.path.join(folder, features.LABEL_VOCABULARY)

        def write(names: list[bytes]) -> np.ndarray:
            tf.io.gfile.makedirs(folder)
            with tf.io.gfile.GFile(path, "wb") as file:
                file.write(b"".join(name + b"\n" for name in in_order(names)))
            return np.array(path, object)

        return (
            batches
            | "Names" >> beam.FlatMap(lambda batch: set(batch[0].ravel().tolist()))
            | "Once" >> beam.Distinct()
            | "All" >> beam.combiners.ToList()
            | "Write" >> beam.Map(write)
        )
