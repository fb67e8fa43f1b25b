"""Malformed requests to the model server: which codes they get, whether it lives, its memory.

Mutated bodies, headers, paths, protobufs and images, drawn from a fixed seed, over REST and gRPC.
"""

import asyncio
import base64
import collections
import contextlib
import io
import json
import random
from collections.abc import Callable
from typing import Any

import grpc
import measure
import numpy as np
import psutil
import serve
from PIL import Image
from processes import serve_load

# What docs/serving.md and TensorFlow Serving's mapping name; 500 is not among them.
_HTTP = {200, 400, 403, 404, 413, 414, 429, 431, 501, 503, 504}
_GRPC = {
    "OK",
    "INVALID_ARGUMENT",
    "FAILED_PRECONDITION",
    "NOT_FOUND",
    "UNIMPLEMENTED",
    "RESOURCE_EXHAUSTED",
}
_CONNECTIONS = 8
_SECONDS = 20.0
_MIB = 2**20


def main() -> None:
    """Sends them, and reports."""
    parser = measure.Parser(__doc__)
    parser.add_place("--model", "VERSION", "folder of a version, instead of a new one")
    parser.add_size("--requests", 20_000, 400, "of each kind")
    options = parser.parse_args()
    rows, codes = [], {}
    with measure.folder() as folder, serve.serving(folder, serve.trained(options)) as server:
        process = psutil.Process(server.pid)
        images = [*serve_load.images(options.data / "cifar10", 50), *_other_images()]
        for name, ask, address, drawn in (
            ("REST", _ask_http, server.rest, _http),
            ("gRPC", _ask_grpc, server.grpc, _protobuf),
        ):
            memory, answers = [], collections.Counter[str]()
            for part in range(5):
                draw = drawn(random.Random(f"{name} {part}"), images)
                answers += asyncio.run(_all(ask, address, draw, options.requests // 5))
                memory.append(process.memory_info().rss / _MIB)
            codes[name] = dict(sorted(answers.items()))
            rows.append(
                {
                    "side": name,
                    "requests": sum(answers.values()),
                    "undocumented": sum(answers[code] for code in answers if not _known(code)),
                    "lives": process.is_running(),
                    "mib_after_a_fifth": memory[0],
                    "mib_at_end": memory[-1],
                }
            )
    measure.report(options, rows, codes=codes)


def _known(code: str) -> bool:
    return code in _GRPC or code == "closed" or (code.isdigit() and int(code) in _HTTP)


async def _all(ask: Any, address: str, draw: Callable[[], Any], count: int) -> Any:
    codes: collections.Counter[str] = collections.Counter()

    async def work() -> None:
        for _ in range(count // _CONNECTIONS):
            codes[await asyncio.wait_for(ask(address, draw()), _SECONDS)] += 1

    await asyncio.gather(*(work() for _ in range(_CONNECTIONS)))
    return codes


async def _ask_http(address: str, request: bytes) -> str:
    """The status; ``closed`` where the server ends a connection that speaks no HTTP."""
    host, _, port = address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(request)
        writer.write_eof()
        answer = await reader.readline()
        if answer.startswith(b"HTTP/1.1 100"):  # the word to go on; the answer follows
            await reader.readline()
            answer = await reader.readline()
        return answer.split()[1].decode() if answer else "closed"
    except ConnectionError:
        return "closed"
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


_channels: dict[int, Any] = {}


async def _ask_grpc(address: str, request: tuple[str, bytes]) -> str:
    # A channel belongs to the event loop that it was made in.
    key = id(asyncio.get_running_loop())
    if key not in _channels:
        _channels[key] = grpc.aio.insecure_channel(address)
    method, content = request
    try:
        await _channels[key].unary_unary(method)(content, timeout=_SECONDS)
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


def _http(chance: random.Random, images: list[bytes]) -> Callable[[], bytes]:
    def image() -> bytes:
        return _mutated(chance, chance.choice(images))

    def body() -> bytes:
        encoded = {"b64": base64.b64encode(image()).decode()}
        documents: list[Any] = [
            {"instances": [encoded]},
            {"instances": [{"image_bytes": encoded}]},
            {"inputs": [encoded]},
            {"inputs": {"image_bytes": [encoded]}},
            {"signature_name": "serving_examples", "instances": [encoded]},
            {"signature_name": "transform_features", "inputs": [encoded]},
            {"examples": [{"image/encoded": encoded}]},
            _json(chance, 0),
        ]
        content = json.dumps(chance.choice(documents)).encode()
        return _mutated(chance, content) if chance.random() < 0.5 else content

    def draw() -> bytes:
        path = "/v1/models/cifar10" + chance.choice(
            [":predict", ":classify", ":regress", "", "/metadata", "/versions/1:predict"]
        )
        if chance.random() < 0.3:
            path = _mutated(chance, path.encode()).decode("latin-1")
        content = body()
        method = chance.choice(["POST"] * 8 + ["GET", "PUT", "", "P\0ST"])
        headers = [f"Content-Length: {len(content)}"]
        if chance.random() < 0.3:
            headers = [chance.choice(_HEADERS), *headers][: chance.randint(1, 2)]
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers, "Connection: close"]
        head = "\r\n".join(lines).encode("latin-1", "replace")
        if chance.random() < 0.1:
            head = _mutated(chance, head)
        return head + b"\r\n\r\n" + content

    return draw


_HEADERS = (
    "Content-Length: -1",
    "Content-Length: 99999999999999999999",
    "Content-Length: 5",
    "Content-Encoding: gzip",
    "Content-Encoding: br",
    "Transfer-Encoding: chunked",
    "Expect: 100-continue",
    "Content-Type: \x80\xff",
    "X: " + "x" * 70_000,
)


def _protobuf(chance: random.Random, images: list[bytes]) -> Callable[[], tuple[str, bytes]]:
    methods = ["Predict"] * 6 + ["Classify", "Regress", "MultiInference", "GetModelMetadata"]

    def draw() -> tuple[str, bytes]:
        image = chance.choice(images)
        if chance.random() < 0.5:
            image = _mutated(chance, image)
        content = serve_load.grpc_body("cifar10", image)
        if chance.random() < 0.7:
            content = _mutated(chance, content)
        service = "ModelService/GetModelStatus"
        if chance.random() < 0.95:
            service = f"PredictionService/{chance.choice(methods)}"
        return f"/tensorflow.serving.{service}", content

    return draw


def _mutated(chance: random.Random, content: bytes) -> bytes:
    """Some bytes changed, taken away, doubled or put in; or cut off."""
    made = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(made))
        until = at + chance.choice([0, 1, 1, 2, 8])
        kind = chance.randint(0, 3)
        if kind == 0:
            made[at:until] = chance.randbytes(until - at)
        elif kind == 1:
            made[at:until] = b""
        elif kind == 2:
            made[at:at] = made[at : at + chance.randint(0, 100)]
        elif chance.random() < 0.3:
            del made[at:]
    return bytes(made)


def _json(chance: random.Random, depth: int) -> Any:
    """Any JSON, with this server's words more often than by chance."""
    kind = chance.randint(0, 8 if depth < 4 else 5)
    words = ["instances", "inputs", "b64", "image_bytes", "signature_name", "examples", "é\0"]
    leaves = [None, True, chance.randint(-(2**70), 2**70), chance.random() * 1e300, "", 0]
    if kind <= 5:
        return chance.choice([*leaves, *words])
    if kind == 6:
        return [_json(chance, depth + 1) for _ in range(chance.randint(0, 4))]
    return {chance.choice(words): _json(chance, depth + 1) for _ in range(chance.randint(0, 3))}


def _other_images() -> list[bytes]:
    made = []
    pixels = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    for name in ("PNG", "GIF", "BMP", "JPEG"):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, name)
        made.append(buffer.getvalue())
    return made


if __name__ == "__main__":
    main()
