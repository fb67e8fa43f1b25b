"""A training step and a served batch of the quick CIFAR-10 network, in float32 and bfloat16.

With Keras's own batch normalisation and with the fused one, all four in turns. Where the CPU has no
bfloat16, its rows say what it costs there to pretend.
"""

import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import keras
import keras_tuner
import measure
import numpy as np
import tensorflow as tf

from darkroom.components.networks import layers, models
from darkroom.components.training import precision
from darkroom.pipeline.config import load
from darkroom.pipeline.node_settings import NodeSettings

_CONFIG = "cifar10_quick"
_BATCHES = 4  # in a turn
_SIDES = {
    "Keras's batch normalisation, float32": (keras.layers.BatchNormalization, "float32"),
    "Keras's, bfloat16": (keras.layers.BatchNormalization, "mixed_bfloat16"),
    "fused, float32": (layers.BatchNormalization, "float32"),
    "fused, bfloat16": (layers.BatchNormalization, "mixed_bfloat16"),
}


def main() -> None:
    """Builds the four, measures them in turns, and reports."""
    parser = measure.Parser(__doc__)
    parser.add_size("--turns", 9, 1, "after one that warms up")
    options = parser.parse_args()
    few = [word for word in options.smaller if word.startswith("model.")]
    config = NodeSettings(load(_CONFIG, [*few, "training.steps_per_execution=1"])).of("Trainer")
    size = config.training.batch_size
    random = np.random.default_rng(0)
    images = tf.constant(
        random.normal(size=(size * _BATCHES, *models.image_shape(config))), tf.float32
    )
    labels = tf.constant(random.integers(0, 10, len(images)))
    steps = tf.data.Dataset.from_tensor_slices((images, labels)).batch(size).cache()
    networks = {}
    for side, (kind, policy) in _SIDES.items():
        replaced = mock.patch.object(layers, "BatchNormalization", kind)
        with precision.computing(policy), replaced:
            model = models.build_model(keras_tuner.HyperParameters(), config, "0123456789")
        networks[side] = model, tf.function(lambda batch, model=model: model(batch, training=False))
    turns = []
    for turn in range(options.turns + 1):
        figures = {side: _turn(*both, steps, images[:size]) for side, both in networks.items()}
        turns += [figures] if turn else []
    measured = measure.Turns(turns)
    first = next(iter(_SIDES))
    rows = measured.rows(
        "trained_images_per_second", "served_images_per_second",
        times_trained=("trained_images_per_second", first),
        times_served=("served_images_per_second", first),
    )  # fmt: skip
    measure.report(options, rows)


def _turn(
    model: keras.Model,
    serve: Callable[[tf.Tensor], tf.Tensor],
    steps: tf.data.Dataset,
    batch: tf.Tensor,
) -> dict[str, Any]:
    begin = time.perf_counter()
    model.fit(steps, verbose=0)
    trained = time.perf_counter()
    for _ in range(_BATCHES):
        serve(batch)
    images = len(batch) * _BATCHES
    return {
        "trained_images_per_second": images / (trained - begin),
        "served_images_per_second": images / (time.perf_counter() - trained),
    }


if __name__ == "__main__":
    main()
