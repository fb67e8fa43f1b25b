"""Transfer from our own CIFAR-10 weights to MNIST with 20 images per class, against random weights.

Both sides are whole runs of the pipeline with the same network, augmentation and number of epochs.
"""

import tempfile
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

import measure

from darkroom.components.base import features, tfrecord

_PER_CLASS, _EVAL = 20, 1_000
_SEEDS = 3
_EPOCHS = 40
# The groups of the distinct plan take epochs from the classifier's, so that all sides have as many.
_GROUPS, _GROUP_EPOCHS = 3, 6


def main() -> None:
    """Runs each side with several seeds and reports."""
    parser = measure.arguments(__doc__)
    parser.add_argument(
        "--weights", type=lambda text: Path(text).resolve(), required=True, metavar="VERSION",
        help="folder of a version that darkroom run --config cifar10_residual has pushed",
    )  # fmt: skip
    options = parser.parse_args()
    weights = [f"model.weights={options.weights}"]
    distinct = [
        *weights, "transfer.mode=distinct", f"training.epochs={_EPOCHS - _GROUPS * _GROUP_EPOCHS}",
        f"transfer.group_epochs={_GROUP_EPOCHS}", "transfer.group_learning_rate=0.01",
    ]  # fmt: skip
    sides = {
        "random weights": [],
        "whole network from the weights": weights,
        "similar: the classifier alone": [*weights, "transfer.mode=similar"],
        "distinct: then group by group": distinct,
    }
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        data = Path(folder) / "data"
        _few(options.data / "mnist", data)
        rows = [_row(side, more, data, Path(folder)) for side, more in sides.items()]
    measure.report(__file__, rows)


def _few(source: Path, target: Path) -> None:
    """MNIST's first images of each class, and of its test set."""
    for split, most in (("train", _PER_CLASS), ("test", _EVAL)):
        counts: Counter[Any] = Counter()
        kept = []
        for file in sorted((source / split).iterdir()):
            for record in tfrecord.read(file):
                [label] = tfrecord.decode_example(record)[features.LABEL_KEY][1]
                counts[label] += 1
                if (counts[label] if split == "train" else len(kept) + 1) <= most:
                    kept.append(record)
        (target / split).mkdir(parents=True)
        tfrecord.write(target / split / "images.tfrecord", kept)


def _row(side: str, more: list[str], data: Path, folder: Path) -> dict[str, Any]:
    accuracies, seconds = [], []
    for seed in range(_SEEDS):
        overrides = [
            f"data.path={data}", f"training.epochs={_EPOCHS}", f"training.seed={seed}",
            "training.batch_size=32", "training.learning_rate=0.05", "augmentation.flip=none",
            "evaluation.min_accuracy=0", *more,
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
