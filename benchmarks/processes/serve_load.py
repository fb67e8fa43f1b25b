"""Loads a model server over loopback; run by serve.py.

Each line of the input has the options of a load; the answer is a line of JSON.

Bare protocols without a client library's comfort, so that the load takes as little as possible of
the cores that the server runs on.
"""

import argparse
import asyncio
import base64
import contextlib
import gc
import json
import random
import shlex
import sys
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


def grpc_sender(channel: grpc.aio.Channel) -> Send:
    """Of one channel, as a client process has."""
    call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")

    async def send(body: bytes) -> bytes:
        try:
            return bytes(await call(body))
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.INVALID_ARGUMENT:
                raise RefusedError from error
            raise

    return send


async def http_sender(address: str, path: str, closing: contextlib.ExitStack) -> Send:
    """A connection of its own, kept alive; HTTP/1.1 needs one for each request at a time."""
    host, _, port = address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    closing.callback(writer.close)
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


def main() -> None:
    """Loads servers until the input ends."""
    sent = images(Path(sys.argv[1]) / "cifar10", 1000)
    parser = _parser()
    # A collection of all of TensorFlow's objects takes 0.2 s, which would count as the server's.
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        figures = asyncio.run(load(parser.parse_args(shlex.split(line)), sent))
        print(json.dumps(figures), flush=True)


async def load(options: argparse.Namespace, sent: list[bytes]) -> dict[str, float]:
    """Sends the requests, all at once from some workers or at a rate."""
    random.seed(0)
    is_grpc = options.protocol == "grpc"
    make = grpc_body if is_grpc else lambda _, image: rest_body(image)
    bodies = [make(options.model, image) for image in sent]
    poison = make(options.model, _POISON)
    async with grpc.aio.insecure_channel(options.address) as channel:
        with contextlib.ExitStack() as closing:
            senders = [
                grpc_sender(channel)
                if is_grpc
                else await http_sender(options.address, options.path, closing)
                for _ in range(options.concurrency)
            ]
            return await _figures(options, senders, bodies, poison)


async def _figures(
    options: argparse.Namespace, senders: list[Send], bodies: list[bytes], poison: bytes
) -> dict[str, float]:
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
    return {
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--protocol", choices=["grpc", "rest"], required=True)
    parser.add_argument("--address", required=True)
    parser.add_argument("--path", default="/v1/models/cifar10:predict")
    parser.add_argument("--model", default="cifar10")
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--poison", type=float, default=0.0)
    parser.add_argument("--compare", action="store_true")
    return parser


if __name__ == "__main__":
    main()
