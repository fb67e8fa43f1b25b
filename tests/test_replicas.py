import json
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from darkroom.components.base.errors import DarkroomError
from darkroom.components.training import dataset
from darkroom.components.training.distribution import replicas

# Two replicas, a network for them, and examples: the last batch has one of them only, and of each
# full one the replicas have 17 and 16.
SETUP = """
import json, keras, numpy as np
from darkroom.components.base.settings import TrainerSettings
from darkroom.components.networks import models
from darkroom.components.training import checkpoint, dataset, devices, fitting
from tests.settings import configured
from tests.arrays import of_arrays

points = np.random.default_rng(0).normal(size=(496, 6)).astype("float32")
examples = of_arrays(points, np.arange(496) % 3)

def training(replicas, *overrides):
    given = ["batch_size=33", "epochs=3", f"cpu_replicas={replicas}", *overrides]
    config = configured(TrainerSettings, *[f"training.{word}" for word in given])
    strategy = devices.strategy(config.training)
    assert strategy.num_replicas_in_sync == replicas
    return config, strategy

def network(config, strategy, *more):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        layers = [keras.Input((6,)), keras.layers.Dense(8)]
        layers += [keras.layers.BatchNormalization(), *[make() for make in more]]
        return models.compiled(keras.Sequential([*layers, keras.layers.Dense(3)]), config)

devices.split_cpu(2)
"""


def run(code: str) -> list[str]:
    """In a process of its own, which has not used TensorFlow yet."""
    command = [sys.executable, "-c", SETUP + textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


def histories(lines: list[str]) -> list[dict[str, list[float]]]:
    return [json.loads(line) for line in lines if line.startswith("{")]


@pytest.mark.slow
def test_two_replicas_train_as_one_does() -> None:
    lines = run("""
        for replicas in (1, 2):
            config, strategy = training(replicas, "class_weights=balanced")
            fitted = fitting.fit(network(config, strategy), config, examples, examples, [])
            print(json.dumps(fitted.history))
        # Dropout draws otherwise in each replica.
        dropout = []
        make = lambda: dropout.append(keras.layers.Dropout(0.5)) or dropout[0]
        fitting.fit(network(config, strategy, make), config, examples, examples, [])
        here = strategy.experimental_local_results(dropout[0].seed_generator.state.value)
        first, second = (state.numpy() for state in here)
        print("apart", second[0] - first[0])
    """)
    assert lines[-1] == "apart 1"
    one, two = histories(lines)
    assert len(one["loss"]) == 3
    assert set(one) == set(two)
    for name, values in one.items():
        # Two replicas count that one example twice.
        tolerance = 1e-4 if name.startswith("val_") else 1 / 496
        assert two[name] == pytest.approx(values, abs=tolerance), name


@pytest.mark.slow
def test_two_replicas_go_on_and_tell_callbacks_as_one_does() -> None:
    lines = run("""
        class Says(keras.callbacks.Callback):
            def on_train_begin(self, logs=None): self.words = []
            def on_epoch_begin(self, epoch, logs=None): self.words.append(f"begin {epoch}")
            def on_train_batch_end(self, batch, logs=None):
                self.words.append([batch, sorted(logs), type(logs["loss"]).__name__])
            def on_epoch_end(self, epoch, logs=None): self.words.append(sorted(logs))
            def on_train_end(self, logs=None): self.words.append("end")

        def fit(replicas, folder, until=None):
            config, strategy = training(
                replicas, "steps_per_epoch=2", "steps_per_execution=1", "patience=2",
                "min_delta=10", "epochs=7", "schedule=cosine",
            )
            says = Says()
            fitted = fitting.fit(
                network(config, strategy), config, examples, examples, [says],
                keep=lambda stopping: checkpoint.Keep(
                    checkpoint.Checkpoint(folder), stopping, share=1e9
                ),
                until=until,
            )
            print(json.dumps({"epoch": fitted.epoch, **fitted.history}))
            print("words", json.dumps(says.words))

        import tempfile
        with tempfile.TemporaryDirectory() as folder:
            fit(1, folder + "/one")
            fit(2, folder + "/two")
            fit(2, folder + "/again", until=1)
            fit(2, folder + "/again")
            fit(2, folder + "/again")
    """)
    one, two, first, again, over = histories(lines)
    assert len(first["loss"]) == 1
    assert len(one["loss"]) == 3  # ended early
    for found in (two, again, over):
        assert set(found) == set(one)
        for name, values in one.items():
            assert found[name] == pytest.approx(values, abs=1e-4), name
    says = [json.loads(line.removeprefix("words ")) for line in lines if line.startswith("words ")]
    assert says[1] == says[0]
    assert says[3] == [*says[0][4:]]
    assert says[4] == ["end"]


class OwnStep(keras.Sequential):
    """A model of a user's, on several devices."""

    distribute_strategy = SimpleNamespace(num_replicas_in_sync=2)

    def train_step(self, data: object) -> dict[str, float]:
        return {}


def test_a_step_of_a_models_own_can_t_be_shared() -> None:
    with pytest.raises(DarkroomError, match="OwnStep has a train_step of its own, which several"):
        replicas.fit(OwnStep([keras.layers.Dense(1)]), [], [], range(1), None, [])


def test_one_replica_has_all_of_each_batch() -> None:
    strategy = tf.distribute.get_strategy()
    assert replicas.shares(strategy) == [dataset.Share(0, 1)]
    assert np.array_equal(replicas.shares(strategy)[0].rows(np.arange(3)), np.arange(3))
    replicas.agree(strategy, 1.0)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (tf.errors.UnavailableError(None, None, "Connection reset by peer"), True),
        (tf.errors.InvalidArgumentError(None, None, "Collective ops is aborted by: x"), True),
        (replicas.OutOfStep("different"), True),
        (tf.errors.InvalidArgumentError(None, None, "Incompatible shapes"), False),
        (ValueError("no units are right"), False),
    ],
)
def test_what_means_that_another_machine_is_gone(error: Exception, expected: bool) -> None:
    assert replicas.lost(error) is expected
