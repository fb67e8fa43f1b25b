"""Loads a model server over loopback, and prints what came of it as JSON; run by serve.py.

Bare protocols without a client library's comfort, so that the load takes as little as possible of
the cores that the server runs on.
"""

import argparse
import asyncio
import base64
import json
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import psutil
from tensorflow.core.example.example_pb2 import Example
from tensorflow_serving.apis import predict_pb2

from darkroom.components.base import tfrecord

_NAMES = "image/encoded"
_POISON = b"\xff\xd8\xff no image"
_WARM_UP = 20  # requests of each worker before the clock starts

# Sends a request; gives the answer's bytes, or raises Refused.
Send = Callable[[bytes], Awaitable[bytes]]


class RefusedError(Exception):
    """The server's word that it is the request's fault."""


def images(folder: Path, count: int) -> list[bytes]:
    """Encoded CIFAR-10 test images."""
    [file] = sorted((folder / "test").iterdir())
    made = []
    for record in tfrecord.read(file):
        feature = Example.FromString(record).features.feature
        made.append(feature[_NAMES].bytes_list.value[0])
        if len(made) == count:
            break
    return made


def grpc_body(model: str, image: bytes) -> bytes:
    """A PredictRequest on the wire."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    tensor = request.inputs["image_bytes"]
    tensor.dtype = 7
    tensor.tensor_shape.dim.add().size = 1
    tensor.string_val.append(image)
    return request.SerializeToString()


def rest_body(image: bytes) -> bytes:
    """The JSON of a row."""
    return json.dumps({"instances": [{"b64": base64.b64encode(image).decode()}]}).encode()


async def grpc_sender(address: str) -> Send:
    """A channel."""
    call = grpc.aio.insecure_channel(address).unary_unary(
        "/tensorflow.serving.PredictionService/Predict"
    )

    async def send(body: bytes) -> bytes:
        try:
            return bytes(await call(body))
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.INVALID_ARGUMENT:
                raise RefusedError from error
            raise

    return send


async def http_sender(address: str, path: str) -> Send:
    """A connection of its own, kept alive."""
    host, _, port = address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n"

    async def send(body: bytes) -> bytes:
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        header = (await reader.readuntil(b"\r\n\r\n")).lower()
        start = header.index(b"content-length:") + len(b"content-length:")
        answer = await reader.readexactly(int(header[start : header.index(b"\r\n", start)]))
        status = int(header[9:12])
        if status == 400:
            raise RefusedError
        if status != 200:
            raise RuntimeError(f"HTTP status {status}: {answer!r}")
        return answer

    return send


async def main() -> None:
    """Sends the requests, all at once from some workers or at a rate, and reports."""
    options = _arguments()
    sent = images(options.data / "cifar10", 1000)
    random.seed(0)
    made = grpc_body if options.protocol == "grpc" else lambda _, image: rest_body(image)
    bodies = [made(options.model, image) for image in sent]
    poison = made(options.model, _POISON)
    senders = []
    # One channel, as a client process has; HTTP/1.1 needs a connection for each.
    channel = await grpc_sender(options.address)
    for _ in range(options.concurrency):
        if options.protocol == "grpc":
            senders.append(channel)
        else:
            senders.append(await http_sender(options.address, options.path))
    server = psutil.Process(options.pid)
    seconds: list[float] = []
    wrong = refused_good = answered_bad = refused_bad = 0
    expected: dict[int, bytes] = {}

    async def ask(send: Send, timed: bool) -> None:
        nonlocal wrong, refused_good, answered_bad, refused_bad
        bad = random.random() < options.poison
        at = random.randrange(len(bodies))
        start = time.perf_counter()
        try:
            answer = await send(poison if bad else bodies[at])
            answered_bad += bad
            if not bad and options.compare:
                wrong += not _alike(expected.setdefault(at, answer), answer, options.protocol)
        except RefusedError:
            refused_bad += bad
            refused_good += not bad
        if timed:
            seconds.append(time.perf_counter() - start)

    async def work(send: Send, requests: int, timed: bool) -> None:
        for _ in range(requests):
            await ask(send, timed)

    await asyncio.gather(*(work(send, _WARM_UP, False) for send in senders))
    cpu, own, start = _cpu(server), time.process_time(), time.perf_counter()
    if options.rate:
        await _at_rate(ask, senders, options.requests, options.rate)
    else:
        each = options.requests // options.concurrency
        await asyncio.gather(*(work(send, each, True) for send in senders))
    took = time.perf_counter() - start
    seconds.sort()
    found = {
        "requests": len(seconds),
        "images_per_second": len(seconds) / took,
        "server_cpu_us": 1e6 * (_cpu(server) - cpu) / len(seconds),
        "client_cpu_us": 1e6 * (time.process_time() - own) / len(seconds),
        "p50_ms": 1000 * seconds[len(seconds) // 2],
        "p99_ms": 1000 * seconds[len(seconds) * 99 // 100],
        "wrong": wrong,
        "refused_good": refused_good,
        "answered_bad": answered_bad,
        "refused_bad": refused_bad,
    }
    print(json.dumps(found), flush=True)


async def _at_rate(ask: Any, senders: list[Send], requests: int, rate: float) -> None:
    """Requests at fixed times, whether the ones before have their answers or not."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    idle: asyncio.Queue[Send] = asyncio.Queue()
    for send in senders:
        idle.put_nowait(send)

    async def one() -> None:
        send = await idle.get()
        await ask(send, True)
        idle.put_nowait(send)

    tasks = []
    for number in range(requests):
        await asyncio.sleep(max(0.0, start + number / rate - loop.time()))
        tasks.append(asyncio.create_task(one()))
    await asyncio.gather(*tasks)


def _alike(first: bytes, second: bytes, protocol: str) -> bool:
    """Whether two answers have the same scores, but for the last bits."""
    if first == second:
        return True
    one, other = (_scores(answer, protocol) for answer in (first, second))
    return max(abs(a - b) for a, b in zip(one, other, strict=True)) < 1e-4


def _scores(answer: bytes, protocol: str) -> list[float]:
    if protocol == "grpc":
        return list(predict_pb2.PredictResponse.FromString(answer).outputs["scores"].float_val)
    scores: list[float] = json.loads(answer)["predictions"][0]["scores"]
    return scores


def _cpu(process: psutil.Process) -> float:
    """CPU seconds of a process and of those below it."""
    total = 0.0
    for member in [process, *process.children(recursive=True)]:
        times = member.cpu_times()
        total += times.user + times.system
    return total


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--protocol", choices=["grpc", "rest"], required=True)
    parser.add_argument("--address", required=True)
    parser.add_argument("--path", default="/v1/models/cifar10:predict")
    parser.add_argument("--model", default="cifar10")
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--poison", type=float, default=0.0)
    parser.add_argument("--compare", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main())
