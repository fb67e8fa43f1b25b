import json
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import keras
import pytest
import tensorflow as tf

from components import devices
from components.errors import DarkroomError


def run(code: str) -> list[str]:
    """In a process of its own, which has not used TensorFlow yet."""
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


def test_two_replicas_train_as_one_does() -> None:
    lines = run("""
        import json, keras, numpy as np
        from components import dataset, devices, settings, training
        from components.errors import DarkroomError
        from pipeline.config import load
        from components import models

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
            fitted = training.fit(model, config, examples, examples, [])
            print(json.dumps(fitted.history))
    """)
    one, two = (json.loads(line) for line in lines if line.startswith("{"))
    assert len(one["loss"]) == 3
    for name, values in one.items():
        # Two replicas count that one example twice.
        tolerance = 1e-4 if name.startswith("val_") else 1 / 496
        assert two[name] == pytest.approx(values, abs=tolerance), name


def test_too_late_is_a_sentence() -> None:
    tf.constant(0)  # TensorFlow has been used
    with pytest.raises(DarkroomError, match=r"cpu_replicas is 64, and TensorFlow began"):
        devices.split_cpu(64)


def test_without_tensor_cores_all_is_float32() -> None:
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("a machine with a GPU")
    for precision in ("float32", "mixed"):
        training = SimpleNamespace(precision=precision)
        assert devices.precision(training) == "float32"
        with devices.dtype_policy(training):
            assert keras.config.dtype_policy().name == "float32"


def test_a_policy_ends_with_its_context(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "precision", lambda training: "mixed_float16")
    with devices.dtype_policy(SimpleNamespace()):
        layer = keras.layers.Dense(1)
    assert layer.compute_dtype == "float16"
    assert layer.variable_dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"
