import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

from darkroom.components.base.settings import NetworkSettings
from darkroom.components.networks import models
from darkroom.components.training import batch_normalization, dataset, fitting
from darkroom.components.training.batch_normalization import AverageAnew
from tests.arrays import of_arrays
from tests.settings import configured

WHOLE = [dataset.Share()]


def images(count: int, seed: int = 0) -> dataset.Examples:
    rng = np.random.default_rng(seed)
    inputs = rng.normal(3.0, 2.0, (count, 4, 4, 2)).astype(np.float32)
    return of_arrays(inputs, rng.integers(0, 2, count))


def normalized(*layers: keras.Layer) -> keras.Model:
    shape = keras.Input((4, 4, 2))
    model = keras.Sequential([shape, *layers, keras.layers.Flatten(), keras.layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    return model


def averaged(model: keras.Model, train: dataset.Examples, batch_size: int) -> None:
    callback = AverageAnew(train, batch_size, WHOLE, seed=0)
    callback.set_model(model)
    callback.on_train_begin()
    callback.on_test_begin()


def inputs_of(train: dataset.Examples) -> np.ndarray:
    return train.first(len(train)).reshape(-1, 2)


def test_averages_are_those_of_the_images() -> None:
    train, layer = images(64), keras.layers.BatchNormalization()
    averaged(normalized(layer), train, batch_size=16)
    np.testing.assert_allclose(layer.moving_mean, inputs_of(train).mean(axis=0), rtol=1e-4)
    # The mean of four variances, each of a quarter of the images.
    np.testing.assert_allclose(layer.moving_variance, inputs_of(train).var(axis=0), rtol=0.02)
    assert layer.momentum == 0.99


def test_a_set_smaller_than_a_batch_is_one_batch() -> None:
    train, layer = images(5), keras.layers.BatchNormalization()
    averaged(normalized(layer), train, batch_size=16)
    np.testing.assert_allclose(layer.moving_mean, inputs_of(train).mean(axis=0), rtol=1e-4)


def test_frozen_layers_keep_theirs() -> None:
    frozen, trained = keras.layers.BatchNormalization(), keras.layers.BatchNormalization()
    frozen.trainable = False
    averaged(normalized(frozen, trained), images(64), batch_size=16)
    np.testing.assert_array_equal(frozen.moving_mean, [0.0, 0.0])
    assert np.abs(np.array(trained.moving_mean)).min() > 1.0


def test_layers_within_layers_of_a_users_own_count() -> None:
    class Block(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.inner = keras.layers.BatchNormalization()

        def call(self, inputs: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:
            return self.inner(inputs, training=training)

    train, block = images(64), Block()
    averaged(normalized(block), train, batch_size=16)
    np.testing.assert_allclose(block.inner.moving_mean, inputs_of(train).mean(axis=0), rtol=1e-4)


def test_few_images_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_normalization, "_IMAGES", 32)
    train, layer = images(4000), keras.layers.BatchNormalization()
    averaged(normalized(layer), train, batch_size=16)
    np.testing.assert_allclose(layer.moving_mean, inputs_of(train).mean(axis=0), atol=0.3)


def digits() -> dataset.Splits:
    bunch = load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.images))
    inputs = ((bunch.images / 16.0 - 0.305) / 0.376)[order, :, :, np.newaxis].astype(np.float32)
    labels = bunch.target[order]
    return of_arrays(inputs[:1617], labels[:1617]), of_arrays(inputs[1617:], labels[1617:])


@pytest.mark.parametrize("learning_rate", [5e-4, 4.5e-3])
def test_a_few_epochs_are_judged_by_what_they_learnt(learning_rate: float) -> None:
    config = configured(
        NetworkSettings,
        "preprocessing.height=8", "preprocessing.width=8", "preprocessing.channels=1",
        "training.epochs=5", f"training.learning_rate={learning_rate}",
    )  # fmt: skip
    train, validation = digits()
    keras.utils.set_random_seed(0)
    model = models.compiled(models.cnn(config, 10), config)
    fitted = fitting.fit(model, config, train, validation, [])
    # 0.52 and 0.81 in the last epoch by Keras's moving averages.
    assert fitted.history["val_accuracy"][-1] > 0.95
    assert fitted.epoch >= 2
