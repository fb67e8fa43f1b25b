"""The devices that a model is trained on."""

import contextlib
import functools
from pathlib import Path

import psutil
import tensorflow as tf

from darkroom.components.base import sections
from darkroom.components.base.errors import DarkroomError

_CGROUP = Path("/sys/fs/cgroup")


def split_cpu(replicas: int) -> None:
    """Makes several devices of the CPU; raises DarkroomError if TensorFlow has begun with fewer."""
    if replicas == 1:
        return
    [cpu, *_] = tf.config.list_physical_devices("CPU")
    devices = [tf.config.LogicalDeviceConfiguration()] * replicas
    try:
        tf.config.set_logical_device_configuration(cpu, devices)
    except RuntimeError as error:
        if len(tf.config.list_logical_devices("CPU")) >= replicas:
            return
        raise DarkroomError(
            f"training.cpu_replicas is {replicas}, and TensorFlow began with fewer devices in this "
            "process. Start darkroom run in a process of its own."
        ) from error


def share(training: sections.Training) -> tf.distribute.Strategy:
    """The strategy of a worker process, which has one device or a share of the cores."""
    # MirroredStrategy over a single device takes a fifth of the time of a small network's steps.
    return strategy(training) if training.cpu_replicas > 1 else tf.distribute.get_strategy()


def grow_memory() -> None:
    """Has TensorFlow take GPU memory only as it is needed, so that other processes find some."""
    for gpu in tf.config.list_physical_devices("GPU"):
        with contextlib.suppress(RuntimeError):  # it has been used already
            tf.config.experimental.set_memory_growth(gpu, True)


def free_memory() -> tuple[int, int]:
    """Bytes that are free for programs, and all of them, of the machine or of the container."""
    memory = psutil.virtual_memory()
    free, total = memory.available, memory.total
    with contextlib.suppress(OSError, ValueError):  # no limit is the word max
        limit, used = (int((_CGROUP / f"memory.{name}").read_text()) for name in ("max", "current"))
        stat = dict(map(str.split, (_CGROUP / "memory.stat").read_text().splitlines()))
        # The memory of cached files is given to programs that need it.
        files = int(stat["inactive_file"]) + int(stat["active_file"])
        free, total = min(free, limit - used + files), min(total, limit)
    return free, total


def strategy(training: sections.Training) -> tf.distribute.MirroredStrategy:
    """MirroredStrategy over all GPUs here, or over ``training.cpu_replicas`` devices of the CPU."""
    kind, count = "GPU", len(tf.config.list_logical_devices("GPU"))
    if not count:
        kind, count = "CPU", training.cpu_replicas
        split_cpu(count)
    return _mirrored(kind, count)


@functools.cache
def _mirrored(kind: str, count: int) -> tf.distribute.MirroredStrategy:
    """One for all of a process's trainings: another would begin to number collectives anew."""
    # Named one by one, or the strategy would take those of all machines in TF_CONFIG.
    return tf.distribute.MirroredStrategy([f"{kind}:{number}" for number in range(count)])
