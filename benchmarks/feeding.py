"""The input path alone, and the step rate through it against an array in memory, on CIFAR-10.

The preprocessed examples are those of a run of the pipeline, fed as the Trainer feeds them.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import keras
import keras_tuner
import measure
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from darkroom.components.base.settings import TrainerSettings
from darkroom.components.networks import models
from darkroom.components.training import dataset, fitting
from darkroom.components.training.transform_graph import TransformGraph
from darkroom.pipeline.config import load
from darkroom.pipeline.node_settings import NodeSettings

_BUDGETS = {"in memory": 1.0, "half on disk": 0.5, "on disk": 0.0}  # shares of what all take
_BATCH_SIZES = (64, 128)


class Epochs(keras.callbacks.Callback):
    """Seconds of each epoch's training, without validation."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._begin = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._begin = time.monotonic()

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.seconds.append(time.monotonic() - self._begin)


def main() -> None:
    """Runs the pipeline for the examples, feeds them in all ways, and reports."""
    parser = measure.Parser(__doc__)
    parser.add_size("--epochs", 4, 2, "one of them warms up")
    parser.add_size("--turns", 3, 1, "of both trainings")
    options = parser.parse_args()
    artifacts = measure.kept(options, "cifar10", measure.BRIEF).home / "artifacts"
    [graph] = artifacts.glob("Transform/transform_graph/*")
    [files] = artifacts.glob("ImportExampleGen/examples/*/Split-train")
    transform = TransformGraph(tft.TFTransformOutput(str(graph)))
    whole = dataset.preprocessed([f"{files}/*"], transform, 2**33)
    rows = []
    for name, share in _BUDGETS.items():
        budget = int(whole.inputs.held_bytes * share)
        held = whole if share == 1 else dataset.preprocessed([f"{files}/*"], transform, budget)
        rows += [_alone(f"darkroom, {name}", held, size, options.epochs) for size in _BATCH_SIZES]
    images, labels = _arrays(whole)
    plain = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(len(images))
    for size in _BATCH_SIZES:
        batches = plain.batch(size).prefetch(tf.data.AUTOTUNE)
        rows.append(
            _rates("tf.data on an array", size, len(images), lambda _, b=batches: b, options.epochs)
        )
    measure.report(options, rows, **_steps(whole, images, labels, options))


def _arrays(examples: dataset.Examples) -> tuple[np.ndarray, np.ndarray]:
    parts = [images.numpy() for images, _ in dataset.batches(examples, 1000)]
    return np.concatenate(parts), examples.labels


def _alone(name: str, examples: dataset.Examples, size: int, epochs: int) -> dict[str, Any]:
    feed = dataset.Feed(examples, size, 0)

    def epoch(number: int) -> tf.data.Dataset:
        feed.epoch = number
        return feed.batches()

    return _rates(name, size, len(examples.labels), epoch, epochs)


def _rates(
    name: str, size: int, count: int, epoch: Callable[[int], tf.data.Dataset], epochs: int
) -> dict[str, Any]:
    """Goes through the batches of some epochs; the first warms up."""
    seconds = []
    for number in range(epochs):
        begin = time.monotonic()
        # Counted inside the graph, as a training step takes them.
        steps = epoch(number).reduce(np.int64(0), lambda steps, *_: steps + 1)
        assert int(steps) >= count // size
        seconds.append(time.monotonic() - begin)
    rate = count / median(seconds[1:])
    return {"input": name, "batch": size, "images_per_second": round(rate)}


def _steps(
    examples: dataset.Examples, images: np.ndarray, labels: np.ndarray, options: argparse.Namespace
) -> dict[str, Any]:
    """Both trainings in turns: the configured network, with and without our input path."""
    ratios, per_second = [], []
    overrides = [*options.smaller, f"training.epochs={options.epochs}"]
    config = NodeSettings(load("cifar10", overrides)).of("Trainer")
    size = config.training.batch_size
    few = examples.part(np.arange(min(256, len(images))))
    for _ in range(options.turns):
        ours, array = Epochs(), Epochs()
        fitting.fit(_model(config), config, examples, few, [ours])
        _model(config).fit(
            images, labels, validation_data=(images[:256], labels[:256]), callbacks=[array],
            batch_size=size, epochs=options.epochs, verbose=0,
        )  # fmt: skip
        ratios.append(median(array.seconds[1:]) / median(ours.seconds[1:]))
        per_second.append(len(images) / size / median(ours.seconds[1:]))
    return {
        "steps_per_second_times_those_on_an_array": median(ratios),
        "in_each_turn": ratios,
        "steps_per_second": median(per_second),
        "mib_of_the_array": images.nbytes / 2**20,
        "mib_of_darkrooms_bytes": examples.inputs.held_bytes / 2**20,
    }


def _model(config: TrainerSettings) -> keras.Model:
    keras.utils.set_random_seed(0)
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        return models.build_model(keras_tuner.HyperParameters(), config, "0123456789")


if __name__ == "__main__":
    main()
