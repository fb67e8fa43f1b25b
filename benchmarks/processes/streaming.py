"""A training on streamed or cached examples, with the images per second of both its parts."""

import json
import sys
import time
from typing import Any

import keras
import keras_tuner
import numpy as np
import tensorflow_transform as tft

from darkroom.components.networks import models
from darkroom.components.training import dataset, fitting
from darkroom.pipeline.config import load
from darkroom.pipeline.node_settings import NodeSettings


class Epochs(keras.callbacks.Callback):
    """Seconds of the last epoch's training, without validation."""

    seconds = 0.0
    _begin = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._begin = time.monotonic()

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.seconds = time.monotonic() - self._begin


def main(train: str, evaluation: str, graph: str, examples: str, budget: str, *sizes: str) -> None:
    """Prepares the examples, goes through the batches alone, trains, and prints the figures."""
    size, steps, epochs = map(int, sizes)
    overrides = [
        f"training.examples={examples}", f"training.cache_budget={budget}",
        f"training.steps_per_epoch={steps}", f"training.epochs={epochs}", "training.batch_size=32",
        "training.warmup_epochs=0", f"preprocessing.height={size}", f"preprocessing.width={size}",
        "model.name=residual", "model.filters=[4]", "model.blocks=1",
    ]  # fmt: skip
    config = NodeSettings(load("cifar10", overrides)).of("Trainer")
    files = [f"{train}/*"], [f"{evaluation}/*"]
    begin = time.monotonic()
    transform = tft.TFTransformOutput(graph)
    splits = dataset.splits(*files, transform, config.training, "Trainer")
    prepared = time.monotonic() - begin
    batches = dataset.Feed(splits[0], 32, seed=0, steps_per_epoch=steps).batches()
    begin = time.monotonic()
    # Counted inside the graph, as a training step takes them.
    assert int(batches.take(steps).reduce(np.int64(0), lambda n, *_: n + 1)) == steps
    alone = time.monotonic() - begin
    keras.utils.set_random_seed(0)
    model = models.build_model(keras_tuner.HyperParameters(), config, ["china", "flower"])
    note = Epochs()
    fitting.fit(model, config, *splits, [note])
    figures = {
        "seconds_before_the_first_step": prepared,
        "images_per_second_without_training": round(32 * steps / alone),
        "images_per_second_of_training": round(32 * steps / note.seconds),
    }
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
