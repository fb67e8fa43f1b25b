"""Ways to run concurrent requests together, without a network around them.

64 clients ask about one image at a time, each after its answer: gathered in the event loop, as the
model server does; by TensorFlow's own batching op, a thread for each client; and not at all.
"""

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import measure
import numpy as np
import serve
import tensorflow as tf
from processes import serve_load

from darkroom.serving import signatures
from darkroom.serving.server.batching import Batcher, Call
from darkroom.serving.server.saved_model import SavedModel
from darkroom.serving.server.server_config import Batching

_CLIENTS, _BATCH = 64, 64


def main() -> None:
    """Measures the three in turns, and reports medians."""
    parser = measure.Parser(__doc__)
    parser.add_place("--model", "VERSION", "folder of a version, instead of a new one")
    parser.add_size("--turns", 3, 1, "of each way")
    parser.add_size("--requests", 12_000, 640, "in a turn")
    options = parser.parse_args()
    model = str(serve.trained(options))
    images = serve_load.images(options.data / "cifar10", 1000)
    ways = {
        words: way(model, images, options.requests)
        for words, way in (
            ("gathered in the event loop, as the server does", _gathered),
            ("TensorFlow's batching op, a thread for each client", _batching_op),
            ("each alone, in threads", _alone),
        )
    }
    for way in ways.values():
        way()
    turns = measure.Turns(
        [
            {name: _timed(way, options.requests) for name, way in ways.items()}
            for _ in range(options.turns)
        ]
    )
    measure.report(options, turns.rows("images_per_second", "cpu_us"))


def _timed(way: Callable[[], None], requests: int) -> dict[str, float]:
    cpu, start = time.process_time(), time.perf_counter()
    way()
    seconds, used = time.perf_counter() - start, time.process_time() - cpu
    return {"images_per_second": requests / seconds, "cpu_us": 1e6 * used / requests}


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
