"""Ways to run concurrent requests together, without a network around them.

64 clients ask about one image at a time, each after its answer: gathered in the event loop, as the
model server does; by TensorFlow's own batching op, a thread for each client; and not at all.
"""

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import measure
import numpy as np
import serve_load
import tensorflow as tf

from darkroom.serving import signatures
from darkroom.serving.server.batching import Batcher, Call
from darkroom.serving.server.saved_model import SavedModel
from darkroom.serving.server.server_config import Batching

_CLIENTS, _BATCH = 64, 64


def main() -> None:
    """Measures the three in turns, and reports medians."""
    parser = measure.arguments(__doc__)
    parser.add_argument("--model", type=lambda t: Path(t).resolve(), required=True)
    parser.add_argument("--turns", type=int, default=3, metavar="N")
    parser.add_argument("--requests", type=int, default=12_000, metavar="N")
    options = parser.parse_args()
    images = serve_load.images(options.data / "cifar10", 1000)
    ways: dict[str, Callable[[], None]] = {
        "gathered in the event loop": _gathered(str(options.model), images, options.requests),
        "TensorFlow's batching op": _batching_op(str(options.model), images, options.requests),
        "each alone, in threads": _alone(str(options.model), images, options.requests),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(options.turns):
        for name, way in ways.items():
            cpu, start = time.process_time(), time.perf_counter()
            way()
            took = time.perf_counter() - start
            used = time.process_time() - cpu
            found[name].append((options.requests / took, 1e6 * used / options.requests))
    rows = [
        {
            "": name,
            "images_per_second": median(rate for rate, _ in turns),
            "cpu_us": median(cpu for _, cpu in turns),
        }
        for name, turns in found.items()
    ]
    measure.report(__file__, rows)


def _gathered(model: str, images: list[bytes], requests: int) -> Callable[[], None]:
    function = _function(model)

    async def main() -> None:
        batcher = Batcher(Batching(_BATCH, 0, 100, os.cpu_count() or 1), 2**40)

        async def client(number: int) -> None:
            for at in range(number, requests, _CLIENTS):
                await batcher.run(Call(function, [_array(images[at % len(images)])]))

        await asyncio.gather(*map(client, range(_CLIENTS)))
        batcher.close()

    return lambda: asyncio.run(main())


def _batching_op(model: str, images: list[bytes], requests: int) -> Callable[[], None]:
    loaded = tf.saved_model.load(model)  # owns the weights, so the function below refers to it

    @tf.nondifferentiable_batch_function(
        num_batch_threads=os.cpu_count() or 1,
        max_batch_size=_BATCH,
        batch_timeout_micros=0,
        max_enqueued_batches=100,
    )
    def together(image_bytes: tf.Tensor) -> Any:
        answer = loaded.signatures[signatures.SERVING](image_bytes=image_bytes)
        return answer[signatures.CLASSES], answer[signatures.SCORES]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def one(image_bytes: tf.Tensor) -> Any:
        return together(image_bytes)

    def ask(image: bytes) -> None:
        for output in one(tf.constant([image])):
            output.numpy()

    return lambda: _in_threads(ask, images, requests)


def _alone(model: str, images: list[bytes], requests: int) -> Callable[[], None]:
    function = _function(model)
    return lambda: _in_threads(lambda image: _ignore(function([_array(image)])), images, requests)


def _ignore(_: Any) -> None:
    pass


def _in_threads(ask: Callable[[bytes], None], images: list[bytes], requests: int) -> None:
    def client(number: int) -> None:
        for at in range(number, requests, _CLIENTS):
            ask(images[at % len(images)])

    with ThreadPoolExecutor(_CLIENTS) as threads:
        list(threads.map(client, range(_CLIENTS)))


def _function(model: str) -> Any:
    loaded = SavedModel(model, ["serve"])
    signature = loaded.signatures[signatures.SERVING]
    names = (signatures.CLASSES, signatures.SCORES)
    return loaded.function(
        (signature.inputs[signatures.IMAGE_BYTES].name,),
        tuple(signature.outputs[name].name for name in names),
    )


def _array(image: bytes) -> np.ndarray:
    array = np.empty(1, dtype=object)
    array[0] = image
    return array


if __name__ == "__main__":
    main()
