"""The devices that a model is trained on."""

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace

import keras
import tensorflow as tf

from components.errors import DarkroomError

# NVIDIA's mixed-precision guide: tensor cores came with compute capability 7.0.
_TENSOR_CORES = (7, 0)


def split_cpu(replicas: int) -> None:
    """Makes several devices of the CPU; only possible before TensorFlow has used it.

    Raises:
      DarkroomError: it has been used, with fewer devices.
    """
    if replicas == 1:
        return
    [cpu, *_] = tf.config.list_physical_devices("CPU")
    try:
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * replicas
        )
    except RuntimeError as error:
        if len(tf.config.list_logical_devices("CPU")) >= replicas:
            return
        raise DarkroomError(
            f"training.cpu_replicas is {replicas}, and TensorFlow began with fewer devices in this "
            "process. Start darkroom run in a process of its own."
        ) from error


def strategy(training: SimpleNamespace) -> tf.distribute.MirroredStrategy:
    """MirroredStrategy over all GPUs, or over ``training.cpu_replicas`` devices of the CPU."""
    if tf.config.list_logical_devices("GPU"):
        return tf.distribute.MirroredStrategy()
    split_cpu(training.cpu_replicas)
    return tf.distribute.MirroredStrategy([f"CPU:{n}" for n in range(training.cpu_replicas)])


def precision(training: SimpleNamespace) -> str:
    """The name of Keras's dtype policy: a mixed one only where every device computes faster so."""
    gpus = tf.config.list_physical_devices("GPU")
    if training.precision == "float32" or not gpus:
        return "float32"
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    capable = all(d.get("compute_capability", (0, 0)) >= _TENSOR_CORES for d in details)
    return "mixed_float16" if capable else "float32"


@contextlib.contextmanager
def dtype_policy(training: SimpleNamespace) -> Iterator[None]:
    """A context in which models are built with what ``precision`` says."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision(training))
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
