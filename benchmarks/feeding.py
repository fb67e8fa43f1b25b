"""The input path alone, and the step rate through it against an array in memory, on CIFAR-10.

The preprocessed examples are those of a run of the pipeline, fed as the Trainer feeds them.
"""

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import keras
import keras_tuner
import measure
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from darkroom.components.networks import models
from darkroom.components.training import dataset, fitting
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
    parser = measure.arguments(__doc__)
    parser.add_argument("--epochs", type=int, default=4, metavar="N", help="one of them warms up")
    parser.add_argument("--turns", type=int, default=3, metavar="N", help="of both trainings")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        data = options.data / "cifar10"
        small = [f"data.path={data}", "training.epochs=1", "model.filters=[4]", "model.units=[]"]
        measure.pipeline(Path(folder), "cifar10", [*small, "evaluation.min_accuracy=0"])
        [graph] = Path(folder).glob("runs/*/artifacts/Transform/transform_graph/*")
        [files] = Path(folder).glob("runs/*/artifacts/ImportExampleGen/examples/*/Split-train")
        transform = tft.TFTransformOutput(str(graph))
        whole = dataset.preprocessed([f"{files}/*"], transform, 2**33)
        rows = [_alone("darkroom, in memory", whole, size, options.epochs) for size in _BATCH_SIZES]
        for name, share in list(_BUDGETS.items())[1:]:
            budget = int(whole.inputs.held_bytes * share)
            kept = dataset.preprocessed([f"{files}/*"], transform, budget)
            rows += [_alone(f"darkroom, {name}", kept, s, options.epochs) for s in _BATCH_SIZES]
        images, labels = _arrays(whole)
        plain = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(len(images))
        for size in _BATCH_SIZES:
            batches = plain.batch(size).prefetch(tf.data.AUTOTUNE)
            rows.append(_rates("tf.data on an array", size, lambda b=batches: b, options.epochs))
        steps = _steps(whole, images, labels, options)
    measure.report(__file__, rows, steps_per_second_against_an_array=steps)


def _arrays(examples: dataset.Examples) -> tuple[np.ndarray, np.ndarray]:
    parts = [images.numpy() for images, _ in dataset.batches(examples, 1000)]
    return np.concatenate(parts), examples.labels


def _alone(name: str, examples: dataset.Examples, size: int, epochs: int) -> dict[str, Any]:
    feed = dataset.Feed(examples, size, 0)
    return _rates(name, size, feed.batches, epochs, feed)


def _rates(name: str, size: int, batches: Any, epochs: int, feed: Any = None) -> dict[str, Any]:
    seconds = []
    for epoch in range(epochs):
        if feed is not None:
            feed.epoch = epoch
        begin = time.monotonic()
        # Counted inside the graph, as a training step takes them.
        steps = batches().reduce(np.int64(0), lambda count, *_: count + 1)
        assert int(steps) > 100
        seconds.append(time.monotonic() - begin)
    rate = 50_000 / median(seconds[1:])
    return {"input": name, "batch": size, "images_per_second": round(rate)}


def _steps(
    examples: dataset.Examples, images: np.ndarray, labels: np.ndarray, options: Any
) -> dict[str, Any]:
    """Both trainings in turns: the configured network, with and without our input path."""
    ratios, per_second = [], []
    config = NodeSettings(load("cifar10", [f"training.epochs={options.epochs}"])).of("Trainer")
    size = config.training.batch_size
    few = dataset.of_arrays(images[:256], labels[:256])
    for _ in range(options.turns):
        model = _model(config)
        ours = Epochs()
        fitting.fit(model, config, examples, few, [ours])
        model = _model(config)
        array = Epochs()
        options_of_fit = {"batch_size": size, "epochs": options.epochs, "verbose": 0}
        model.fit(
            images, labels, validation_data=(images[:256], labels[:256]), callbacks=[array],
            **options_of_fit,
        )  # fmt: skip
        ratios.append(median(array.seconds[1:]) / median(ours.seconds[1:]))
        per_second.append(len(images) / size / median(ours.seconds[1:]))
    return {"ratio": median(ratios), "ratios": ratios, "steps_per_second": median(per_second)}


def _model(config: Any) -> keras.Model:
    keras.utils.set_random_seed(0)
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        return models.build_model(keras_tuner.HyperParameters(), config, 10)


if __name__ == "__main__":
    main()
