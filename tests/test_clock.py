import time

import keras
import numpy as np
import pytest

from darkroom.components.base import run_time
from darkroom.components.base.errors import DarkroomError
from darkroom.components.networks import models
from darkroom.components.training import clock, dataset, fitting
from tests.arrays import of_arrays
from tests.test_fitting import network, settings_of


@pytest.fixture
def a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_time, "_began", None)
    monkeypatch.setattr(run_time, "_loading", 0.0)


def test_what_is_left_of_the_minutes(a_run: None) -> None:
    alone = clock.of_training(2, forward=0.1, evaluated=95, calibrated=10)
    assert alone.seconds == pytest.approx(120 - 2 * 10)
    run_time.begin()
    run_time.loaded(5.0)
    time.sleep(0.05)
    whole = clock.of_training(2, forward=0.1, evaluated=95, calibrated=10)
    assert alone.seconds - 20 - 1 < whole.seconds <= alone.seconds - 20 - 0.05
    assert 0.45 * whole.seconds < whole.part(0.5).seconds <= 0.5 * whole.seconds
    assert clock.Clock(0).share == clock.Clock(-1).share == 1.0


def test_what_does_not_fit_is_said_before_it_begins() -> None:
    with pytest.raises(DarkroomError, match=r"leaves 1\.0 minutes.*about 3\.0.* 2\.0 minutes more"):
        clock.Clock(60).check(180, "an epoch")
    clock.Clock(60).check(50, "an epoch")


class Slow(keras.layers.Layer):
    """Takes a hundredth of a second for a batch."""

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        import tensorflow as tf

        def wait(x: np.ndarray) -> np.ndarray:
            time.sleep(0.01)
            return x

        outputs = tf.numpy_function(wait, [tf.stop_gradient(inputs)], tf.float32, stateful=True)
        return tf.ensure_shape(outputs, inputs.shape)


def slow(config: fitting.NetworkSettings) -> keras.Model:
    layers = [Slow(), keras.layers.Dense(3)]
    return models.compiled(keras.Sequential([keras.Input((6,)), *layers]), config)


def test_a_fit_ends_in_time_with_its_schedule(
    examples: dataset.Examples, caplog: pytest.LogCaptureFixture
) -> None:
    config = settings_of(
        "training.epochs=100000", "training.schedule=cosine", "training.learning_rate=0.1"
    )
    model = slow(config)
    fitting.fit(model, config, examples, examples, [], until=2)  # traces
    limit = clock.Clock(5.0)
    history = fitting.fit(model, config, examples, examples, [], clock=limit).history
    rates = history["learning_rate"]
    assert 1 < len(rates) < 100_000
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.02  # it has fallen in the time, not with the epochs
    assert f"ended in epoch {len(rates)} of 100000" in caplog.text


def test_with_time_left_nothing_differs(examples: dataset.Examples) -> None:
    config = settings_of("training.epochs=3")
    plain = fitting.fit(network(config), config, examples, examples, []).history
    timed = fitting.fit(
        network(config), config, examples, examples, [], clock=clock.Clock(3600)
    ).history
    assert timed == plain


def test_an_epoch_that_does_not_fit(examples: dataset.Examples) -> None:
    many = of_arrays(
        np.tile(examples.first(len(examples)), (200, 1)), np.tile(examples.labels, 200)
    )
    config = settings_of("training.epochs=2", "training.steps_per_execution=1")
    with pytest.raises(DarkroomError, match=r"the rest of an epoch of \d+ steps takes about"):
        fitting.fit(slow(config), config, many, examples, [], clock=clock.Clock(2.0))
