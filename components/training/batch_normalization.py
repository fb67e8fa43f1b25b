"""Batch normalisation's averages, taken anew from training images before each validation.

Keras's moving averages forget a hundredth of themselves in each step: after few steps they are
mostly what they began with, and always behind the weights (docs/benchmarks.md).
"""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from darkroom.components.networks import parts
from darkroom.components.training import dataset
from darkroom.components.training.distribution import replicas

# Even of a layer that sees one value of each image the mean is off by a thirtieth of a deviation.
_IMAGES = 1024


class AverageAnew(keras.callbacks.Callback):
    """Averages the statistics of some training batches, always the same, before each validation.

    Layers that aren't trainable keep what they have. It works in Keras's ``fit``, and in any loop
    that calls ``on_test_begin``.
    """

    def __init__(
        self, train: dataset.Examples, batch_size: int, shares: Sequence[dataset.Share], seed: int
    ):
        """Draws the batches from ``train``; each replica of this process gets its share of them."""
        super().__init__()
        order = np.random.default_rng(seed).permutation(len(train))
        starts = range(0, max(1, min(len(train), _IMAGES) // batch_size) * batch_size, batch_size)
        self._batches = [order[start : start + batch_size] for start in starts]
        self._train, self._shares = train, shares
        self._layers: list[keras.layers.BatchNormalization] = []

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        layers = parts.batch_normalizations(self.model)
        self._layers = [layer for layer in layers if layer.trainable]
        if not self._layers:
            return
        of_shares = (
            self._train.inputs_of([share.rows(batch) for batch in self._batches])
            for share in self._shares
        )
        self._images = tf.data.Dataset.zip(tuple(of_shares)).with_options(dataset.OPTIONS)
        self._average = tf.function(self._run, autograph=False, reduce_retracing=True)

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        if not self._layers:
            return
        for number, images in enumerate(self._images):
            self._average(images, tf.constant(number / (number + 1), tf.float32))

    def _run(self, images: tuple[tf.Tensor, ...], momentum: tf.Tensor) -> None:
        """Lets the averages become the batch's, but for ``momentum``: the share of those before."""
        among = self.model.distribute_strategy
        mine = replicas.distributed(among, images)
        before = [layer.momentum for layer in self._layers]
        for layer in self._layers:
            layer.momentum = momentum
        try:
            among.run(lambda part: self.model(part, training=True), args=(mine,))
        finally:
            for layer, value in zip(self._layers, before, strict=True):
                layer.momentum = value
