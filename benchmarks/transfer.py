"""Transfer from our own CIFAR-10 weights to MNIST with 20 images per class, against random weights.

Both sides are whole runs of the pipeline with the same network, augmentation and number of epochs.
"""

import argparse
from pathlib import Path
from statistics import median
from typing import Any

import few_images
import measure

from darkroom.components.base import tfrecord

# The groups of the distinct plan take epochs from the classifier's, so that all sides have as many.
_GROUPS = 3


def main() -> None:
    """Runs each side with several seeds and reports."""
    parser = measure.Parser(__doc__)
    parser.add_place(
        "--weights", "VERSION",
        "folder of a version that darkroom run --config cifar10_residual has pushed; it is run "
        "where none is given",
    )  # fmt: skip
    parser.add_size("--per-class", 20, 4, "images to train on")
    parser.add_size("--eval", 1000, 50, "images to evaluate on")
    parser.add_size("--seeds", 3, 1, "runs of each side")
    parser.add_size("--epochs", 40, 5, "of each side")
    parser.add_size("--group-epochs", 6, 1, "of each group of the distinct plan")
    options = parser.parse_args()
    from_weights = options.weights or measure.kept(options, "cifar10_residual", ()).pushed
    weights = [f"model.weights={from_weights}"]
    distinct = [
        *weights, "transfer.mode=distinct",
        f"training.epochs={options.epochs - _GROUPS * options.group_epochs}",
        f"transfer.group_epochs={options.group_epochs}", "transfer.group_learning_rate=0.01",
    ]  # fmt: skip
    sides = {
        "random weights": [],
        "whole network from the weights (transfer.mode: none)": weights,
        "the classifier alone (similar)": [*weights, "transfer.mode=similar"],
        "then group by group (distinct)": distinct,
    }
    with measure.folder() as folder:
        _few(options.data / "mnist", folder / "data", options)
        rows = [
            _row(side, more, folder, options)
            for side, more in sides.items()
            if not options.smoke or more is distinct
        ]
    measure.report(options, rows)


def _few(source: Path, target: Path, options: argparse.Namespace) -> None:
    """MNIST's first images of each class, and of its test set."""
    kept = {
        "train": few_images.records(source / "train", per_class=options.per_class),
        "test": few_images.records(source / "test", most=options.eval),
    }
    for split, records in kept.items():
        (target / split).mkdir(parents=True)
        tfrecord.write(target / split / "images.tfrecord", (record.data for record in records))


def _row(side: str, more: list[str], folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    accuracies, seconds = [], []
    for seed in range(options.seeds):
        overrides = [
            *options.smaller, f"data.path={folder / 'data'}", f"training.epochs={options.epochs}",
            f"training.seed={seed}", "training.batch_size=32", "training.learning_rate=0.05",
            "augmentation.flip=none", "evaluation.min_accuracy=0", *more,
        ]  # fmt: skip
        # All in one folder: what comes before the Trainer is the same.
        done = measure.pipeline(folder, "cifar10_residual", overrides)
        accuracies.append(done.accuracy)
        seconds.append(done.training_seconds)
    return {
        "side": side,
        "test_accuracy": median(accuracies),
        "lowest": min(accuracies),
        "highest": max(accuracies),
        "training_seconds": median(seconds),
    }


if __name__ == "__main__":
    main()
