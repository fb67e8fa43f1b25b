"""CIFAR-10 with Keras as one would write it by hand: load, normalise, fit, evaluate, export."""

import json
import math
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import tensorflow as tf


def load(folder: Path, channels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """All images of a split as uint8 [count, height, width, channels], and their class names."""
    spec = {
        "image/encoded": tf.io.FixedLenFeature([], tf.string),
        "image/class/text": tf.io.FixedLenFeature([], tf.string),
    }

    def parse(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        example = tf.io.parse_single_example(record, spec)
        # Decodes PNG as well.
        return tf.io.decode_jpeg(example["image/encoded"], channels), example["image/class/text"]

    files = sorted(map(str, folder.iterdir()))
    dataset = tf.data.TFRecordDataset(files).map(parse, num_parallel_calls=tf.data.AUTOTUNE)
    batches = list(dataset.batch(1000).as_numpy_iterator())
    images, names = zip(*batches, strict=True)
    return np.concatenate(images), np.concatenate(names)


def build(settings: SimpleNamespace, num_classes: int) -> keras.Model:
    """The compiled network."""
    layers: list[keras.layers.Layer] = [keras.Input((32, 32, 3))]
    for filters in settings.filters:
        layers += [
            keras.layers.Conv2D(filters, settings.kernel_size, padding="same", use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.Activation(settings.activation),
            keras.layers.MaxPooling2D(padding="same"),
        ]
    layers.append(keras.layers.Flatten())
    for units in settings.units:
        layers.append(keras.layers.Dropout(settings.dropout))
        layers.append(keras.layers.Dense(units, settings.activation))
    layers.append(keras.layers.Dropout(settings.dropout))
    layers.append(keras.layers.Dense(num_classes))
    model = keras.Sequential(layers)
    model.compile(
        optimizer=keras.optimizers.Adam(settings.learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=settings.steps_per_execution,
    )
    return model


def main(data: Path, settings: SimpleNamespace) -> None:
    """Trains, evaluates, exports to the current folder, and prints the accuracy."""
    train_images, train_names = load(data / "train")
    test_images, test_names = load(data / "test")
    classes, train_labels = np.unique(train_names, return_inverse=True)
    test_labels = np.searchsorted(classes, test_names)
    mean = train_images.mean((0, 1, 2), dtype=np.float64)
    deviation = train_images.std((0, 1, 2), dtype=np.float64)

    def normalised(images: np.ndarray) -> np.ndarray:
        return (images.astype(np.float32) - np.float32(mean)) / np.float32(deviation)

    train = normalised(train_images), train_labels
    test = normalised(test_images), test_labels

    keras.utils.set_random_seed(settings.seed)
    model = build(settings, len(classes))
    cosine = keras.callbacks.LearningRateScheduler(
        lambda e: settings.learning_rate * 0.5 * (1 + math.cos(math.pi * e / settings.epochs))
    )
    begin = time.monotonic()
    model.fit(
        *train,
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        validation_data=test,
        validation_batch_size=256,
        callbacks=[cosine],
        verbose=2,
    )
    training_seconds = time.monotonic() - begin
    _, accuracy = model.evaluate(*test, batch_size=256, verbose=0)
    normalisation = keras.layers.Normalization(mean=mean, variance=deviation**2)
    exported = keras.Sequential([keras.Input((32, 32, 3)), normalisation, model])
    exported.export("exported", verbose=False)
    print(json.dumps({"accuracy": accuracy, "training_seconds": training_seconds}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), SimpleNamespace(**json.loads(sys.argv[2])))
