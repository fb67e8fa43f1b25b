"""The transform graph as training runs it: from serialised examples to images and targets."""

import functools
import math
import os
from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from darkroom.components.base import features, tfrecord
from darkroom.components.training.rows import Coding
from darkroom.components.transform import preprocessing

_DECODED_BYTES = 2 * 2**30  # of images that are decoded at the same time, at most


class TransformGraph:
    """Decodes examples as they stand in files, as ``rows.Coding`` decodes images that are kept."""

    def __init__(self, transform: tft.TFTransformOutput):
        self._transform = transform
        spec = transform.transformed_feature_spec()[features.IMAGE]
        self.shape: tuple[int, ...] = tuple(spec.shape)  # of an image

    @classmethod
    def saved(cls, facts: dict[str, np.ndarray]) -> "TransformGraph":
        """The graph that ``facts`` name."""
        return cls(tft.TFTransformOutput(str(facts["transform"])))

    @property
    def facts(self) -> dict[str, object]:
        """What ``saved`` needs."""
        return {"transform": os.path.dirname(self._transform.transform_savedmodel_dir)}

    # A property, as the graph is loaded before a function of TensorFlow's that uses it is traced;
    # and not before the first use, as a machine has to join a cluster first.
    @functools.cached_property
    def decode(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """From strings [batch] to images float32 [batch, height, width, channels]."""
        outputs = self._outputs(features.IMAGE_KEY)
        return lambda serialized: outputs(serialized)[features.IMAGE]

    @functools.cached_property
    def target(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """From strings [batch] to ``preprocessing.target``; no image is decoded for it."""
        outputs = self._outputs(*self._learnt)
        return lambda serialized: preprocessing.target(outputs(serialized), self._num_classes)

    @functools.cached_property
    def pair(self) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
        """Both in one."""
        outputs = self._outputs(features.IMAGE_KEY, *self._learnt)

        def pair(serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            transformed = outputs(serialized)
            target = preprocessing.target(transformed, self._num_classes)
            return transformed[features.IMAGE], target

        return pair

    def parallel_calls(self, batch_size: int) -> int:
        """How many batches to decode at the same time: on all cores, if memory allows."""
        # A trial's process has its part of the cores.
        threads = int(tf.config.threading.get_inter_op_parallelism_threads())
        cores = threads or len(os.sched_getaffinity(0))
        return max(1, min(cores, _DECODED_BYTES // (4 * batch_size * math.prod(self.shape))))

    @functools.cached_property
    def coding(self) -> Coding:
        """uint8 between the values of black and white, if one per channel; else float16."""
        levels = (tf.fill(self.shape, tf.cast(level, tf.uint8)) for level in (0, 255))
        ends = [
            tfrecord.encode_example({features.IMAGE_KEY: tf.io.encode_png(each).numpy()})
            for each in levels
        ]
        images = self.decode(tf.constant(ends)).numpy()
        black, white = images
        if np.ptp(images, axis=(1, 2)).any() or not (white > black).all():
            return Coding()
        return Coding(black[0, 0], white[0, 0])

    @functools.cached_property
    def _layer(self) -> Callable[..., preprocessing.Tensors]:
        layer: Callable[..., preprocessing.Tensors] = self._transform.transform_features_layer()
        return layer

    @property
    def _num_classes(self) -> int:
        if self._learnt != [features.LABEL_KEY]:
            return len(self._learnt)
        return int(self._transform.vocabulary_size_by_name(features.LABEL_VOCABULARY))

    @property
    def _learnt(self) -> list[str]:
        return features.target_keys(self._transform.raw_feature_spec())

    def _outputs(self, *keys: str) -> Callable[[tf.Tensor], preprocessing.Tensors]:
        """What the graph makes of these features alone."""
        layer, spec = self._layer, self._transform.raw_feature_spec()
        wanted = {key: spec[key] for key in keys}
        return lambda serialized: layer(tf.io.parse_example(serialized, wanted))
