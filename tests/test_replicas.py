import json
import subprocess
import sys
import textwrap

import keras
import pytest
import tensorflow as tf

from darkroom.components.training import dataset
from darkroom.components.training.distribution import replicas


def run(code: str) -> list[str]:
    """In a process of its own, which has not used TensorFlow yet."""
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


def test_two_replicas_train_as_one_does() -> None:
    lines = run("""
        import json, keras, numpy as np
        from darkroom.components.base import settings
        from darkroom.components.training import dataset, devices, fitting
        from darkroom.components.base.errors import DarkroomError
        from darkroom.pipeline.config import load
        from darkroom.components.networks import models

        # The last batch has one example only, and of each full one replicas have 17 and 16.
        points = np.random.default_rng(0).normal(size=(496, 6)).astype("float32")
        labels = np.arange(496) % 3
        devices.split_cpu(2)
        for replicas in (1, 2):
            given = ["batch_size=33", "epochs=3", "class_weights=balanced"]
            tree = load("digits", [f"training.{word}" for word in given]).model_dump()
            config = settings.unpack(settings.pack(tree, "model", "augmentation", "training"))
            config.training.cpu_replicas = replicas
            strategy = devices.strategy(config.training)
            assert strategy.num_replicas_in_sync == replicas
            keras.utils.set_random_seed(0)
            with strategy.scope():
                layers = [keras.Input((6,)), keras.layers.Dense(8), keras.layers.Dense(3)]
                layers.insert(2, keras.layers.BatchNormalization())
                model = models.compiled(keras.Sequential(layers), config)
            examples = dataset.of_arrays(points, labels)
            fitted = fitting.fit(model, config, examples, examples, [])
            print(json.dumps(fitted.history))
        # Dropout draws otherwise in each replica.
        with strategy.scope():
            dropout = keras.layers.Dropout(0.5)
            model = models.compiled(keras.Sequential([keras.Input((6,)), dropout]), config)
        fitting.fit(model, config, examples, examples, [])
        here = strategy.experimental_local_results(dropout.seed_generator.state.value)
        first, second = (state.numpy() for state in here)
        print("apart", second[0] - first[0])
    """)
    assert lines[-1] == "apart 1"
    one, two = (json.loads(line) for line in lines if line.startswith("{"))
    assert len(one["loss"]) == 3
    for name, values in one.items():
        # Two replicas count that one example twice.
        tolerance = 1e-4 if name.startswith("val_") else 1 / 496
        assert two[name] == pytest.approx(values, abs=tolerance), name


def test_one_replica_has_all_of_each_batch() -> None:
    assert replicas.shares(tf.distribute.get_strategy()) == [dataset.Share(0, 1)]
    batches = tf.data.Dataset.range(3)
    assert replicas.together(tf.distribute.get_strategy(), [batches]) is batches
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    with replicas.stepping(model, batches) as callbacks:
        assert callbacks == []
    replicas.agree(tf.distribute.get_strategy(), 1.0)


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
