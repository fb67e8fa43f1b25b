import keras
import pytest
import tensorflow as tf

from darkroom.components.base.errors import DarkroomError
from darkroom.components.base.sections import Training
from darkroom.components.training import devices


def test_too_late_is_a_sentence() -> None:
    tf.constant(0)  # TensorFlow has been used
    with pytest.raises(DarkroomError, match=r"cpu_replicas is 64, and TensorFlow began"):
        devices.split_cpu(64)


def test_without_tensor_cores_all_is_float32() -> None:
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("a machine with a GPU")
    for training in (Training(precision="float32"), Training(precision="mixed")):
        assert devices.precision(training) == "float32"
        with devices.dtype_policy(training):
            assert keras.config.dtype_policy().name == "float32"


def test_a_policy_ends_with_its_context(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "precision", lambda training: "mixed_float16")
    with devices.dtype_policy(Training()):
        layer = keras.layers.Dense(1)
    assert layer.compute_dtype == "float16"
    assert layer.variable_dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"
