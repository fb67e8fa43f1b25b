"""What an exported model costs those who run it: its size, and the time of a request."""

import os
import time
from collections.abc import Sequence

from darkroom.serving import signatures

# What a threshold can name.
METRICS = ("latency_p50_ms", "latency_p99_ms", "size_mib")
# Requests of one image that are timed, and seconds after which no more are made.
_REQUESTS, _SECONDS = 100, 5.0
_UNTIMED = 3  # the first ones trace and allocate
_MIB = 2**20


def size_mib(folder: str) -> float:
    """Of all files of a SavedModel, in MiB."""
    paths = (os.path.join(at, name) for at, _, names in os.walk(folder) for name in names)
    return sum(map(os.path.getsize, paths)) / _MIB


def latency(folder: str, images: Sequence[bytes]) -> dict[str, float]:
    """Times requests of one image each, in this process.

    Args:
      folder: of a SavedModel with the signatures of darkroom.
      images: a few encoded images, which take turns.

    Returns:
      ``p50_ms``, ``p99_ms``: milliseconds from encoded image to scores; ``requests``: how many;
      ``batch_size``: 1.
    """
    import numpy as np
    import tensorflow as tf

    model = tf.saved_model.load(folder)
    serve = model.signatures[signatures.SERVING]
    seconds: list[float] = []
    began = time.perf_counter()
    while len(seconds) < _UNTIMED + _REQUESTS:
        image = tf.constant([images[len(seconds) % len(images)]])
        start = time.perf_counter()
        serve(**{signatures.IMAGE_BYTES: image})[signatures.SCORES].numpy()
        now = time.perf_counter()
        seconds.append(now - start)
        if len(seconds) > _UNTIMED and now - began > _SECONDS:
            break
    timed = np.array(seconds[_UNTIMED:]) * 1000
    return {
        "p50_ms": float(np.quantile(timed, 0.5)),
        "p99_ms": float(np.quantile(timed, 0.99)),
        "requests": len(timed),
        "batch_size": 1,
    }
