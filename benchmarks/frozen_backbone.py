"""Transfer learning with a frozen ResNet50V2: outputs kept, against the backbone in every epoch.

928 + 397 images of 256×256, six classes, batch 64, Dense 256 and 128 on the flattened outputs, as
in the published fruit example; random images and weights, which cost the same.
"""

import argparse
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

from darkroom.components.base.settings import TrainerSettings
from darkroom.components.networks import models, parts
from darkroom.components.training import dataset, devices, stages, transfer
from darkroom.pipeline.config import load
from darkroom.pipeline.node_settings import NodeSettings

_SIZE, _CLASSES = 256, 6
_TRAIN, _EVAL = 928, 397
_BATCH = 64


def main() -> None:
    """Trains both ways on the same images, and compares time and scores."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=20, metavar="N", help="of both sides")
    parser.add_argument(
        "--measured", type=int, default=3, metavar="N",
        help="epochs of the slow side that are run before and after; each other one of --epochs "
        "is taken to cost the median of those behind the first",
    )  # fmt: skip
    parser.add_argument("--copies", type=int, default=1, metavar="K", help="augmentation.copies")
    options = parser.parse_args()
    generator = np.random.default_rng(0)
    splits = [_images(generator, count) for count in (_TRAIN, _EVAL)]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        config = _configured(Path(folder), options)
        # Before and after, as the machine's speed changes.
        before = _every_epoch(config, splits, options.measured)
        kept = _kept(Path(folder), config, splits)
        after = _every_epoch(config, splits, options.measured)
    first = min(before[0], after[0])
    later = [*before[1:], *after[1:]]
    every = first + (options.epochs - 1) * median(later)
    ratio = every / kept["seconds"]
    rows = [
        {"side": "outputs kept once (darkroom)", "seconds": kept["seconds"], "times": 1.0},
        {"side": "backbone in every epoch", "seconds": every, "times": ratio},
    ]
    measure.report(
        __file__,
        rows,
        largest_difference_of_scores=kept["difference"],
        seconds_of_the_frozen_backbone=kept["backbone"],
        measured_epochs_with_the_backbone=[before, after],
    )


def _images(generator: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    pixels = generator.integers(0, 256, (count, _SIZE, _SIZE, 3), np.uint8)
    return pixels, np.arange(count) % _CLASSES


def _configured(folder: Path, options: Any) -> TrainerSettings:
    """The example's settings; the weights are a file, as ImageNet's can't be had everywhere."""
    keras.utils.set_random_seed(1)
    backbone = keras.applications.ResNet50V2(
        include_top=False, weights=None, input_shape=(_SIZE, _SIZE, 3)
    )
    path = folder / "resnet50v2.weights.h5"
    backbone.save_weights(path)
    overrides = [
        f"preprocessing.height={_SIZE}", f"preprocessing.width={_SIZE}",
        "preprocessing.normalization=rescale", "model.name=ResNet50V2", f"model.weights={path}",
        "model.pooling=flatten", "model.units=[256, 128]", "model.dropout=0",
        "augmentation.rotation=0.2", "augmentation.zoom=[0, 0.3]",
        f"augmentation.copies={options.copies}", "transfer.mode=similar",
        f"training.epochs={options.epochs}", f"training.batch_size={_BATCH}",
        "training.monitor=val_accuracy", "training.schedule=constant",
    ]  # fmt: skip
    return NodeSettings(load("cifar10", overrides)).of("Trainer")


def _kept(
    folder: Path, config: TrainerSettings, splits: list[tuple[np.ndarray, np.ndarray]]
) -> dict[str, float]:
    coding = dataset.Coding(np.zeros(3, np.float32), np.ones(3, np.float32))
    train, evaluation = (
        dataset.Examples(dataset.of_arrays(pixels, labels).inputs, labels, coding)
        for pixels, labels in splits
    )
    begin = time.monotonic()
    run = stages.Training(
        keras_tuner.HyperParameters(), config, _CLASSES, (train, evaluation),
        str(folder / "run"), str(folder / "checkpoints"), {},
    )  # fmt: skip
    frozen_splits, backbone_seconds = transfer.frozen_splits, 0.0

    def timed(*arguments: Any) -> Any:
        nonlocal backbone_seconds
        start = time.monotonic()
        made = frozen_splits(*arguments)
        backbone_seconds = time.monotonic() - start
        return made

    transfer.frozen_splits = timed
    run.run()
    seconds = time.monotonic() - begin

    # The exported model is whole, and scores as the classifier does on outputs that were kept.
    exported = folder / "exported"
    run.model.export(exported, verbose=False)
    loaded = tf.saved_model.load(exported)
    backbone, classifier = (run.model.get_layer(name) for name in parts.NAMES)
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
        made = tf.data.Dataset.from_tensor_slices((pixels, labels))
        made = made.shuffle(len(pixels)) if changed else made
        made = made.batch(_BATCH).map(lambda p, y: (tf.cast(p, tf.float32) / 255.0, y))
        if changed:
            made = made.map(lambda x, y: (layers(x, training=True), y), tf.data.AUTOTUNE)
        return made.prefetch(tf.data.AUTOTUNE)

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
