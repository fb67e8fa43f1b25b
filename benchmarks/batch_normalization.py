"""What a network is judged by after few steps: three ways to batch normalisation's averages.

The same trainings, validated with Keras's moving averages, with those freed of what they began with
(as Adam does with its own), and as darkroom does it: averaged anew from training images.
"""

import argparse
import time
from statistics import median
from typing import NamedTuple

import few_images
import keras
import keras_tuner
import measure
import numpy as np
import stand_ins
from sklearn.datasets import load_digits

from darkroom.components.base.settings import TrainerSettings
from darkroom.components.networks import models, parts
from darkroom.components.training import dataset, fitting
from darkroom.components.training.rows import Coding, Rows
from darkroom.pipeline.config import Config, load
from darkroom.pipeline.node_settings import NodeSettings


class Averages(NamedTuple):
    """Of one layer."""

    mean: np.ndarray
    variance: np.ndarray


class Moving(keras.callbacks.Callback):
    """Puts Keras's moving averages back, which darkroom's own callback has replaced."""

    _averages: list[Averages]

    def on_train_begin(self, logs: object = None) -> None:
        self.layers = parts.batch_normalizations(self.model)
        self._averages = self._read()

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        self._put(self._averages)

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        self._averages = self._read()

    def on_test_begin(self, logs: object = None) -> None:
        self._put([self.judged_by(averages) for averages in self._averages])

    def judged_by(self, averages: Averages) -> Averages:
        """What validation sees of a layer's moving averages."""
        return averages

    def _read(self) -> list[Averages]:
        return [Averages(x.moving_mean.numpy(), x.moving_variance.numpy()) for x in self.layers]

    def _put(self, averages: list[Averages]) -> None:
        for layer, values in zip(self.layers, averages, strict=True):
            layer.moving_mean.assign(values.mean)
            layer.moving_variance.assign(values.variance)


class Unbiased(Moving):
    """The same without what is left of their first values, 0 and 1."""

    def judged_by(self, averages: Averages) -> Averages:
        first = self.layers[0].momentum ** int(self.model.optimizer.iterations)
        return Averages(averages.mean / (1 - first), (averages.variance - first) / (1 - first))


SIDES: dict[str, list[type[Moving]]] = {
    "Keras's moving averages": [Moving],
    "moving averages, unbiased": [Unbiased],
    "darkroom: averaged anew": [],
}


def main() -> None:
    """Trains each network once for each side, and reports."""
    parser = measure.Parser(__doc__)
    parser.add_size("--per-class", 40, 12, "images of CIFAR-10 to train on")
    parser.add_size("--eval", 2000, 50, "images of CIFAR-10 to evaluate on")
    parser.add_size("--epochs", 20, 2, "with them")
    parser.add_size("--digits", 1617, 200, "digits to train on")
    parser.add_size("--cells", 288, 24, "cells of the most frequent of three kinds to train on")
    parser.add_size("--cell-epochs", 30, 1, "with them")
    options = parser.parse_args()
    rows = []
    digits = _digits(options.digits)
    for rate in (5e-4, 1e-3, 4.5e-3):
        config = load("digits", ["training.epochs=5", f"training.learning_rate={rate}"])
        rows += _sides(f"digits, 5 epochs at {rate:g}", config, digits)
    config = load("cifar10", [f"training.epochs={options.epochs}", *_DEFAULT_NETWORK])
    name = f"CIFAR-10, {options.per_class} images of each class"
    rows += _sides(name, config, _cifar10(options))
    config = load("blood_cells", [f"training.epochs={options.cell_epochs}", *_FEW_CELLS])
    counts = [options.cells // share for share in (1, 3, 6)]
    name = f"W1's network, {', '.join(map(str, counts))} cells of three kinds"
    rows += _sides(name, config, _cells(counts))
    measure.report(options, rows)


# Instead of the configuration's own, which is for all 50,000 images.
_DEFAULT_NETWORK = (
    "model.filters=[32, 64]", "model.units=[128]", "model.dropout=0.25", "training.batch_size=64",
    "training.schedule=constant", "training.warmup_epochs=0", "training.learning_rate=1e-3",
    "augmentation={}",
)  # fmt: skip


_KINDS = ("LYMPHOCYTE", "MONOCYTE", "NEUTROPHIL")
_CELL = (64, 48)  # width and height, pixels
# What the recipe sets beside a network that is the user's, and for so many images.
_FEW_CELLS = (
    "preprocessing.width=64", "preprocessing.height=48", "training.patience=null",
    "training.schedule=cosine", "training.learning_rate=3e-4", "training.class_weights=balanced",
    "tuner.enabled=false",
)  # fmt: skip


def _sides(name: str, config: Config, splits: dataset.Splits) -> list[dict[str, object]]:
    settings = NodeSettings(config).of("Trainer")
    assert isinstance(settings, TrainerSettings)
    rows = []
    for side, callbacks in SIDES.items():
        keras.utils.set_random_seed(settings.training.seed)
        classes = [str(number) for number in np.unique(splits[1].labels)]
        model = models.build_model(keras_tuner.HyperParameters(), settings, classes)
        begin = time.monotonic()
        history = fitting.fit(model, settings, *splits, [kind() for kind in callbacks]).history
        accuracies = history["val_accuracy"]
        labels = splits[1].labels
        images = splits[1].inputs.take(np.arange(len(labels))).astype(np.float32)
        answers = model.predict(images, verbose=0).argmax(axis=1)
        recalls = [np.mean(answers[labels == number] == number) for number in np.unique(labels)]
        rows.append(
            {
                "training": name,
                "side": side,
                "last_accuracy": accuracies[-1],
                "median_of_epochs": median(accuracies),
                "best_accuracy": max(accuracies),
                "macro_recall": float(np.mean(recalls)),
                "seconds": time.monotonic() - begin,
            }
        )
    return rows


def _digits(count: int) -> dataset.Splits:
    bunch = load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.images))
    images = (bunch.images[order, :, :, np.newaxis] - bunch.images.mean()) / bunch.images.std()
    labels = bunch.target[order]
    held_out = 180
    return _examples(images[held_out:][:count], labels[held_out:][:count]), _examples(
        images[:held_out], labels[:held_out]
    )


def _cifar10(options: argparse.Namespace) -> dataset.Splits:
    folder = options.data / "cifar10"
    train, evaluation = few_images.labelled(folder, options.per_class, options.eval)
    mean, deviation = train[0].mean((0, 1, 2)), train[0].std((0, 1, 2))
    one, other = (
        _examples((images - mean) / deviation, labels) for images, labels in (train, evaluation)
    )
    return one, other


def _cells(counts: list[int]) -> dataset.Splits:
    """Of the stand-ins; as many of each kind to evaluate on, drawn otherwise."""
    return _drawn(counts, 0), _drawn([max(counts) // 5] * len(counts), 1)


def _drawn(counts: list[int], split: int) -> dataset.Examples:
    images, labels = [], []
    for number, (kind, count) in enumerate(zip(_KINDS, counts, strict=True)):
        for index in range(count):
            generator = np.random.default_rng([split, number, index])
            cell = stand_ins.blood_cell(kind, generator).resize(_CELL)
            images.append(np.asarray(cell) / 255.0)
            labels.append(number)
    order = np.random.default_rng(0).permutation(len(labels))
    return _examples(np.stack(images)[order], np.array(labels)[order])


def _examples(images: np.ndarray, labels: np.ndarray) -> dataset.Examples:
    rows = Rows(images.shape[1:], np.float16, 2**30)
    rows.append(images)
    return dataset.Examples(rows, labels.astype(np.int64), Coding())


if __name__ == "__main__":
    main()
