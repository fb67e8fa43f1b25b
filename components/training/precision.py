"""Whether a training computes with 16 bits: where the devices can, and where it is quicker."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import tensorflow as tf

from darkroom.components.base import progress, remote
from darkroom.components.base.settings import NetworkSettings
from darkroom.components.training import dataset

FLOAT32 = "float32"
# NVIDIA's mixed-precision guide: tensor cores came with compute capability 7.0.
_TENSOR_CORES = (7, 0)
_CPU_FLAGS = {"avx512_bf16", "amx_bf16"}  # as Linux names instructions for bfloat16
_CPU_INFO = Path("/proc/cpuinfo")
_STEPS, _TURNS = 8, 2  # of a measurement; the shortest turn counts
_LEAST_GAIN = 0.05  # share of the time; less isn't worth the digits


def chosen(
    config: NetworkSettings,
    build: Callable[[NetworkSettings], keras.Model],
    train: dataset.Examples,
    node: str,
    folder: str | None = None,
) -> str:
    """The name of Keras's dtype policy to compute in: with ``precision: mixed`` the quicker one.

    On a CPU it measures some steps of the network that ``build`` makes, and says so for ``node``.
    What came of it is kept in ``folder``, a path or URI: who goes on there computes as it began.
    """
    policy = _of_devices()
    if config.training.precision == "float32" or policy == FLOAT32:
        return FLOAT32
    if policy == "mixed_float16":
        return policy
    kept = None if folder is None else os.path.join(folder, "precision.txt")
    if kept is not None and remote.exists(kept):
        return remote.read(kept).decode()
    alone = config.with_values({"training.steps_per_execution": 1})
    steps = dataset.batches(train, config.training.batch_size).take(1).cache().repeat(_STEPS)
    full, mixed = (_seconds(alone, build, steps, name) for name in (FLOAT32, policy))
    policy = policy if mixed < full * (1 - _LEAST_GAIN) else FLOAT32
    words = f"a step takes {full * 1000:.0f} ms with float32, {mixed * 1000:.0f} with bfloat16"
    progress.warn(node, f"training.precision: {words}: it computes with {policy}")
    if kept is not None:
        here = remote.place(kept)
        here.parent.mkdir(parents=True, exist_ok=True)
        here.write_text(policy)
        remote.put(kept)
    return policy


def _of_devices() -> str:
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
        capable = all(d.get("compute_capability", (0, 0)) >= _TENSOR_CORES for d in details)
        return "mixed_float16" if capable else FLOAT32
    with contextlib.suppress(OSError):  # another system than Linux
        flags = next((x for x in _CPU_INFO.read_text().splitlines() if x.startswith("flags")), "")
        if _CPU_FLAGS & set(flags.split()):
            return "mixed_bfloat16"
    return FLOAT32


def _seconds(
    config: NetworkSettings,
    build: Callable[[NetworkSettings], keras.Model],
    steps: tf.data.Dataset,
    policy: str,
) -> float:
    """How long one of the steps takes."""
    with computing(policy):
        model = build(config)
    seconds = []
    for _ in range(_TURNS + 1):  # the first one traces
        begin = time.perf_counter()
        model.fit(steps, verbose=0)
        seconds.append(time.perf_counter() - begin)
    return min(seconds) / _STEPS


@contextlib.contextmanager
def computing(policy: str) -> Iterator[None]:
    """A context in which models are built with a dtype policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
