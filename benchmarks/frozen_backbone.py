"""Transfer learning with a frozen ResNet50V2: outputs kept, against the backbone in every epoch.

928 + 397 images of 256×256, six classes, batch 64, Dense 256 and 128 on the flattened outputs, as
in the published fruit example; random images and weights, which cost the same.
"""

import argparse
import time
from pathlib import Path
from statistics import median
from typing import Any

import keras
import keras_tuner
import measure
import numpy as np
import tensorflow as tf

from darkroom.components.base.settings import TrainerSettings
from darkroom.components.networks import models, parts
from darkroom.components.training import dataset, devices, rows, stages, transfer
from darkroom.pipeline.config import load
from darkroom.pipeline.node_settings import NodeSettings

_CLASSES = [str(number) for number in range(6)]
_BATCH = 64


def main() -> None:
    """Trains both ways on the same images, and compares time and scores."""
    parser = measure.Parser(__doc__)
    parser.add_size("--epochs", 20, 2, "of both sides")
    parser.add_size(
        "--measured", 2, 2,
        "epochs of the slow side that are run before and after; each other one of --epochs is "
        "taken to cost the median of those behind the first",
    )  # fmt: skip
    parser.add_size("--copies", 1, 1, "augmentation.copies")
    parser.add_size("--size", 256, 32, "height and width")
    parser.add_size("--train", 928, 64, "images to train on")
    parser.add_size("--eval", 397, 12, "images to evaluate on")
    options = parser.parse_args()
    generator = np.random.default_rng(0)
    splits = [_images(generator, n, options.size) for n in (options.train, options.eval)]
    with measure.folder() as folder:
        config = _configured(folder, options)
        # Before and after, as the machine's speed changes.
        before = _every_epoch(config, splits, options.measured)
        kept = _kept(folder, config, splits)
        after = _every_epoch(config, splits, options.measured)
    first = min(before[0], after[0])
    later = [*before[1:], *after[1:]]
    every = first + (options.epochs - 1) * median(later)
    rows = [
        {"side": side, "seconds": seconds, "times_darkroom": seconds / kept["seconds"]}
        for side, seconds in (
            ("darkroom: outputs kept once", kept["seconds"]),
            ("backbone in every epoch", every),
        )
    ]
    measure.report(
        options,
        rows,
        largest_difference_of_scores=kept["difference"],
        seconds_of_the_frozen_backbone=kept["backbone"],
        seconds_of_epochs_with_the_backbone={"before": before, "after": after},
    )


def _images(generator: np.random.Generator, count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    pixels = generator.integers(0, 256, (count, size, size, 3), np.uint8)
    return pixels, np.arange(count) % len(_CLASSES)


def _configured(folder: Path, options: argparse.Namespace) -> TrainerSettings:
    """The example's settings; the weights are a file, as ImageNet's can't be had everywhere."""
    keras.utils.set_random_seed(1)
    backbone = keras.applications.ResNet50V2(
        include_top=False, weights=None, input_shape=(options.size, options.size, 3)
    )
    path = folder / "resnet50v2.weights.h5"
    backbone.save_weights(path)
    overrides = [
        f"preprocessing.height={options.size}", f"preprocessing.width={options.size}",
        "preprocessing.normalization=rescale", "model.name=ResNet50V2", f"model.weights={path}",
        "model.pooling=flatten", "model.units=[256, 128]", "model.dropout=0",
        "augmentation.rotation=0.2", "augmentation.zoom=[0, 0.3]",
        f"augmentation.copies={options.copies}", "transfer.mode=similar",
        f"training.epochs={options.epochs}", f"training.batch_size={_BATCH}",
        "training.monitor=val_accuracy", "training.schedule=constant",
    ]  # fmt: skip
    return NodeSettings(load("cifar10", overrides)).of("Trainer")


def _held(pixels: np.ndarray, labels: np.ndarray, coding: dataset.Coding) -> dataset.Examples:
    inputs = rows.Rows(pixels.shape[1:], pixels.dtype, pixels.nbytes)
    inputs.append(pixels)
    return dataset.Examples(inputs, labels, coding)


def _kept(
    folder: Path, config: TrainerSettings, splits: list[tuple[np.ndarray, np.ndarray]]
) -> dict[str, float]:
    coding = dataset.Coding(np.zeros(3, np.float32), np.ones(3, np.float32))
    train, evaluation = (_held(pixels, labels, coding) for pixels, labels in splits)
    begin = time.monotonic()
    job = stages.TrainingJob(
        settings=config,
        classes=_CLASSES,
        run_folder=str(folder / "run"),
        checkpoint_folder=str(folder / "checkpoints"),
    )
    training = stages.Training(job, (train, evaluation))
    frozen_splits, backbone_seconds = transfer.frozen_splits, 0.0

    def timed(*arguments: Any) -> Any:
        nonlocal backbone_seconds
        start = time.monotonic()
        kept = frozen_splits(*arguments)
        backbone_seconds = time.monotonic() - start
        return kept

    transfer.frozen_splits = timed
    training.run()
    seconds = time.monotonic() - begin

    # The exported model is whole, and scores as the classifier does on outputs that were kept.
    exported = folder / "exported"
    training.model.export(exported, verbose=False)
    loaded = tf.saved_model.load(exported)
    backbone, classifier = (training.model.get_layer(name) for name in parts.NAMES)
    difference = 0.0
    for images, _ in dataset.batches(evaluation, _BATCH):
        scores = tf.nn.softmax(loaded.serve(images)).numpy()
        expected = tf.nn.softmax(classifier(backbone(images, training=False))).numpy()
        difference = max(difference, float(abs(scores - expected).max()))
    return {"seconds": seconds, "difference": difference, "backbone": backbone_seconds}


def _every_epoch(
    config: TrainerSettings, splits: list[tuple[np.ndarray, np.ndarray]], epochs: int
) -> list[float]:
    """Seconds of each epoch in the example's way: all in every step; the first builds as well."""
    begin = time.monotonic()
    with devices.strategy(config.training).scope():
        model = models.build_model(keras_tuner.HyperParameters(), config, _CLASSES)
        model.get_layer(parts.BACKBONE).trainable = False
        model = models.compiled(model, config)
    layers = keras.Sequential(
        [keras.layers.RandomRotation(0.2), keras.layers.RandomZoom((0.0, 0.3))]
    )

    def batches(pixels: np.ndarray, labels: np.ndarray, changed: bool) -> tf.data.Dataset:
        images = tf.data.Dataset.from_tensor_slices((pixels, labels))
        images = images.shuffle(len(pixels)) if changed else images
        images = images.batch(_BATCH).map(lambda p, y: (tf.cast(p, tf.float32) / 255.0, y))
        if changed:
            images = images.map(lambda x, y: (layers(x, training=True), y), tf.data.AUTOTUNE)
        return images.prefetch(tf.data.AUTOTUNE)

    (train, train_labels), (evaluation, eval_labels) = splits
    ends = [begin]
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: ends.append(time.monotonic()))
    model.fit(
        batches(train, train_labels, True),
        validation_data=batches(evaluation, eval_labels, False),
        epochs=epochs,
        callbacks=[note],
        verbose=2,
    )
    return np.diff(ends).tolist()


if __name__ == "__main__":
    main()
