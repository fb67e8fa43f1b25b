from pathlib import Path

import keras
import numpy as np
import pytest

from darkroom.components.base.settings import NetworkSettings
from darkroom.components.training import checkpoint, dataset, fitting
from darkroom.components.training.weight_average import AverageWeights
from tests.arrays import of_arrays
from tests.settings import configured
from tests.test_fitting import network

POINTS = np.random.default_rng(0).normal(size=(96, 6)).astype("float32")


@pytest.fixture(scope="module")
def examples() -> dataset.Examples:
    return of_arrays(POINTS, np.arange(96) % 3)


def settings_of(*overrides: str) -> NetworkSettings:
    given = ("training.batch_size=32", "training.learning_rate=0.05", *overrides)
    return configured(NetworkSettings, *given)


class Stepped(keras.callbacks.Callback):
    """Keeps the weights after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[np.ndarray] = []

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        self.weights.append(self.model.trainable_variables[0].numpy())


def test_the_first_average_is_the_plain_mean(examples: dataset.Examples) -> None:
    config = settings_of(
        "training.average_epochs=50", "training.epochs=2", "training.steps_per_execution=1",
        "training.export_epoch=last",
    )  # fmt: skip
    model, stepped = network(config), Stepped()
    fitting.fit(model, config, examples, examples, [stepped])
    assert len(stepped.weights) == 6
    expected = np.mean(stepped.weights, axis=0)
    np.testing.assert_allclose(model.trainable_variables[0], expected, rtol=0.02, atol=0.01)


def test_a_short_window_is_near_the_weights(examples: dataset.Examples) -> None:
    config = settings_of(
        "training.average_epochs=0.01", "training.epochs=3", "training.export_epoch=last"
    )
    model, stepped = network(config), Stepped()
    fitting.fit(model, config, examples, examples, [stepped])
    np.testing.assert_allclose(model.trainable_variables[0], stepped.weights[-1], atol=1e-3)


def test_training_itself_is_the_same_with_and_without(examples: dataset.Examples) -> None:
    losses = []
    for epochs in ("0", "2"):
        config = settings_of(f"training.average_epochs={epochs}", "training.epochs=4")
        history = fitting.fit(network(config), config, examples, examples, []).history
        losses.append((history["loss"], history["val_loss"]))
    assert losses[0][0] == losses[1][0]
    assert losses[0][1] != losses[1][1]


def test_an_interrupted_training_goes_on_with_both(
    examples: dataset.Examples, tmp_path: Path
) -> None:
    config = settings_of("training.average_epochs=2", "training.epochs=6")

    def fitted(folder: str, *stops: int | None) -> tuple[list[float], list[np.ndarray]]:
        for stop in stops:
            kept = checkpoint.Checkpoint(str(tmp_path / folder), name="one")
            model = network(config)
            history = fitting.fit(
                model, config, examples, examples, [],
                keep=lambda stopping, kept=kept: checkpoint.Keep(kept, stopping, share=1.0),
                until=stop,
            ).history  # fmt: skip
        return history["val_loss"], model.get_weights()

    whole, interrupted = fitted("whole", None), fitted("parts", 2, 3, None)
    np.testing.assert_allclose(interrupted[0], whole[0], rtol=1e-5)
    for one, other in zip(interrupted[1], whole[1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_without_a_step_there_is_no_average() -> None:
    callback = AverageWeights(3.0)
    callback.set_model(network(settings_of()))
    callback.on_train_begin()
    callback.on_test_begin()
    assert not callback.trained
