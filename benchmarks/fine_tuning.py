"""What of a pretrained network to train on few images: how many groups of layers, how quickly.

EfficientNetLite0 on some of CIFAR-10's images, by the Trainer's own stages.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import few_images
import keras
import measure
import numpy as np
import tensorflow as tf

from darkroom.components.base.settings import TrainerSettings
from darkroom.components.networks import parts
from darkroom.components.training import dataset, stages, transfer
from darkroom.components.training.rows import Coding, Rows
from darkroom.pipeline.config import load
from darkroom.pipeline.node_settings import NodeSettings

_CLASSES, _BATCH = 10, 32
_NETWORK = (
    "model.name=EfficientNetLite0", "model.weights=imagenet", "model.units=[]",
    "model.dropout=0.2", "preprocessing.normalization=rescale",
)  # fmt: skip
_TRAINING = (
    f"training.batch_size={_BATCH}", "training.schedule=one_cycle",
    "training.label_smoothing=0.1", "training.average_epochs=0.5", "training.export_epoch=last",
    "augmentation.flip=horizontal", "augmentation.crop=0.6",
)  # fmt: skip
_TOGETHER = ("transfer.mode=distinct", "transfer.unfreezing=together")


def main() -> None:
    """Trains each side once, and reports."""
    parser = measure.Parser(__doc__)
    parser.add_size("--per-class", 100, 4, "images to train on")
    parser.add_size("--test", 1000, 20, "images to test on")
    parser.add_size("--side", 128, 32, "pixels of their height and width")
    parser.add_size("--classifier-epochs", 10, 1, "of two passes, of the classifier alone")
    parser.add_size("--epochs", 2, 1, "of two passes, after that")
    options = parser.parse_args()
    splits = _splits(options)
    groups = {f"groups: {count}": (f"transfer.groups={count}",) for count in (1, 2, 5)}
    two = groups["groups: 2"]
    sides = {
        "classifier alone": ("transfer.mode=similar",),
        **{name: (*_TOGETHER, *more) for name, more in groups.items()},
        "groups: 2, the lower one half as quickly": (*_TOGETHER, *two, "transfer.group_decay=0.5"),
        "groups: 2, one after the other": ("transfer.mode=distinct", *two),
        "groups: 2, live batch normalisation": (*_TOGETHER, *two),
    }
    chosen = list(sides)[:3] if options.smoke else list(sides)
    measure.report(options, [_row(name, sides[name], splits, options) for name in chosen])


def _row(
    name: str, overrides: tuple[str, ...], splits: dataset.Splits, options: argparse.Namespace
) -> dict[str, object]:
    is_gradual = "one after" in name
    epochs = options.epochs // 2 if is_gradual else options.epochs
    config = load(
        "cifar10",
        [
            *_NETWORK, *_TRAINING, *overrides,
            f"preprocessing.height={options.side}", f"preprocessing.width={options.side}",
            f"training.epochs={options.classifier_epochs}", f"transfer.group_epochs={epochs}",
            f"training.steps_per_epoch={2 * _CLASSES * options.per_class // _BATCH}",
            "transfer.group_learning_rate=5e-4",
        ],
    )  # fmt: skip
    settings = NodeSettings(config).of("Trainer")
    assert isinstance(settings, TrainerSettings)
    live = _live_batch_normalization() if "live" in name else mock.MagicMock()
    with tempfile.TemporaryDirectory() as folder, live:
        job = stages.TrainingJob(
            settings=settings,
            classes=[str(number) for number in range(_CLASSES)],
            run_folder=folder,
            checkpoint_folder=folder,
        )
        begin = time.monotonic()
        course = stages.Training(job, splits).run()
        seconds = time.monotonic() - begin
    accuracies = course.history["val_accuracy"]
    return {
        "trained": name,
        "test_accuracy": accuracies[-1],
        "epochs": len(accuracies),
        "seconds": seconds,
    }


@contextmanager
def _live_batch_normalization() -> Iterator[None]:
    """Has it be trained with the groups that are unfrozen."""
    unfreeze = transfer.unfreeze

    def with_statistics(model: keras.Model, layers: list[keras.Layer]) -> None:
        unfreeze(model, layers)
        leaves = parts.leaves(model.get_layer(parts.BACKBONE))
        lowest = min((leaves.index(layer) for layer in layers), default=len(leaves))
        for leaf in leaves[lowest:]:
            leaf.trainable = True

    with mock.patch.object(transfer, "unfreeze", with_statistics):
        yield


def _splits(options: argparse.Namespace) -> dataset.Splits:
    folder = options.data / "cifar10"
    train, test = few_images.labelled(folder, options.per_class, options.test)
    return _examples(*train, options.side), _examples(*test, options.side)


def _examples(images: np.ndarray, labels: np.ndarray, side: int) -> dataset.Examples:
    channels = [np.zeros(3), np.ones(3)]
    rows = Rows((side, side, 3), np.uint8, 2**31)
    for start in range(0, len(images), 256):
        enlarged = tf.image.resize(images[start : start + 256], (side, side))
        rows.append(np.rint(enlarged.numpy()).astype(np.uint8))
    return dataset.Examples(rows, labels.astype(np.int64), Coding(*channels))


if __name__ == "__main__":
    main()
