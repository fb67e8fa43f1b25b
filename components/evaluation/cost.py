"""What an exported model costs those who run it: its size, and the time of a request."""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from darkroom.serving import signatures

METRICS = ("latency_p50_ms", "latency_p99_ms", "size_mib")  # what a threshold can name
# Requests of one image that are timed, and seconds after which no more are made.
_REQUESTS, _SECONDS = 100, 5.0
_UNTIMED = 3  # the first ones trace and allocate, or open connections


class Times(NamedTuple):
    """How long requests of one image each took: percentiles in milliseconds."""

    p50_ms: float
    p99_ms: float
    requests: int


def size_mib(folder: str) -> float:
    """The size of all files of a SavedModel, in MiB."""
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) / 2**20


def latency(folder: str, images: Sequence[bytes]) -> Times:
    """Times requests to a SavedModel in this process; a few encoded images take turns."""
    import tensorflow as tf

    model = tf.saved_model.load(folder)
    serve = model.signatures[signatures.SERVING]

    def ask(image: bytes) -> None:
        for answer in serve(**{signatures.IMAGE_BYTES: tf.constant([image])}).values():
            answer.numpy()

    return time_requests(ask, images, _REQUESTS, _SECONDS)


def time_requests(
    ask: Callable[[bytes], object],
    images: Sequence[bytes],
    requests: int,
    seconds: float = math.inf,
) -> Times:
    """Times ``requests`` calls of ``ask`` with the images in turn, but none after ``seconds``."""
    import numpy as np

    milliseconds: list[float] = []
    began = time.perf_counter()
    while len(milliseconds) < _UNTIMED + requests:
        start = time.perf_counter()
        ask(images[len(milliseconds) % len(images)])
        now = time.perf_counter()
        milliseconds.append(1000 * (now - start))
        if len(milliseconds) > _UNTIMED and now - began > seconds:
            break
    timed = milliseconds[_UNTIMED:]
    p50, p99 = np.quantile(timed, [0.5, 0.99])
    return Times(float(p50), float(p99), len(timed))
