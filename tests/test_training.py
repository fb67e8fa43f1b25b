import keras
import numpy as np
import pytest
import tensorflow as tf

from components import settings, training
from pipeline.config import load


@pytest.fixture
def examples() -> tf.data.Dataset:
    generator = np.random.default_rng(0)
    labels = np.arange(96) % 3
    images = generator.normal(size=(96, 6)) + np.eye(3)[labels].repeat(2, axis=1)
    return tf.data.Dataset.from_tensor_slices((images.astype("float32"), labels))


def fit(examples: tf.data.Dataset, *overrides: str) -> dict[str, list[float]]:
    tree = load("digits", ["training.batch_size=32", *overrides]).model_dump()
    config = settings.unpack(settings.pack(tree, "training"))
    keras.utils.set_random_seed(config.training.seed)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
    model.compile(
        keras.optimizers.Adam(0.01),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return training.fit(model, config, examples, examples, [])


def test_a_seed_gives_the_same_twice(examples: tf.data.Dataset) -> None:
    first = fit(examples, "training.epochs=3")
    assert fit(examples, "training.epochs=3") == first
    assert fit(examples, "training.epochs=3", "training.seed=5") != first
    assert first["loss"][2] < first["loss"][0]
    assert set(first) >= {"loss", "accuracy", "val_loss", "val_accuracy"}


def test_the_cosine_schedule_falls_to_almost_nothing(examples: tf.data.Dataset) -> None:
    overrides = ["training.epochs=4", "training.schedule=cosine", "training.learning_rate=0.1"]
    rates = fit(examples, *overrides)["learning_rate"]
    np.testing.assert_allclose(rates, 0.05 * (1 + np.cos(np.pi * np.arange(4) / 4)), rtol=1e-5)


def test_stops_when_nothing_gets_better(examples: tf.data.Dataset) -> None:
    far = ["training.schedule=cosine", "training.learning_rate=50.0"]
    losses = fit(examples, "training.epochs=30", "training.patience=2", *far)["val_loss"]
    assert len(losses) == int(np.argmin(losses)) + 3 < 30


def test_an_epoch_can_be_a_number_of_batches(examples: tf.data.Dataset) -> None:
    counted = []

    class Count(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: object = None) -> None:
            counted.append(batch)

    tree = load("digits", ["training.steps_per_epoch=7", "training.epochs=2"]).model_dump()
    config = settings.unpack(settings.pack(tree, "training"))
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    training.fit(model, config, examples, examples, [Count()])
    assert len(counted) == 14
