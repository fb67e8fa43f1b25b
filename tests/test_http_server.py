"""The HTTP server with a small application, on real sockets."""

import asyncio
import contextlib
import json
import resource
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from darkroom.serving.protocols import http_server, ports
from darkroom.serving.protocols.http_server import HttpServer
from tests.model_servers import free_port

PATIENCE = 60


async def echo(scope, receive, send):  # type: ignore[no-untyped-def]
    size, more = 0, True
    while more:
        event = await receive()
        size, more = size + len(event.get("body", b"")), event.get("more_body", False)
    body = b"%d" % size
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def port() -> Iterator[int]:
    with running() as made:
        yield made


@contextlib.contextmanager
def running() -> Iterator[int]:
    number, started, stopping = free_port(), threading.Event(), threading.Event()

    async def serve() -> None:
        server = HttpServer(echo, "127.0.0.1", number, None)
        await server.start()
        started.set()
        await asyncio.to_thread(stopping.wait)
        await server.stop(1)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert started.wait(PATIENCE)
    yield number
    stopping.set()
    thread.join()


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


def answer(client: socket.socket) -> tuple[int, bytes]:
    """The status and the body of a response that has a length."""
    head = b""
    while b"\r\n\r\n" not in head:
        chunk = client.recv(65536)
        assert chunk, head
        head += chunk
    head, _, body = head.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    while len(body) < length:
        body += client.recv(65536)
    return int(head.split()[1]), body


def is_closed(client: socket.socket) -> bool:
    """Whether the server has closed it, or does so while we wait."""
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def test_requests_one_after_the_other_and_at_once(port: int) -> None:
    with connected(port) as client:
        for body in (b"", b"abc", b"x" * 300_000):
            client.sendall(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            assert answer(client) == (200, b"%d" % len(body))
        client.sendall(b"\r\n" + b"GET / HTTP/1.1\r\n\r\n" * 2)
        status, bodies = answer(client)
        while bodies.count(b"HTTP/1.1 200") < 1 or not bodies.endswith(b"0"):
            bodies += client.recv(65536)
        assert (status, bodies[:1]) == (200, b"0")


def test_many_headers_that_may_be(port: int) -> None:
    headers = b"".join(b"x-%03d: %s\r\n" % (n, b"v" * 480) for n in range(120))
    with connected(port) as client:
        for _ in range(3):
            client.sendall(b"GET / HTTP/1.1\r\n" + headers + b"\r\n")
            assert answer(client) == (200, b"0")


@pytest.mark.parametrize(
    ("sent", "status", "words"),
    [
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", 414, "A URL may have 8192 bytes."),
        (b"GET / HTTP/1.1\r\na: " + b"b" * 70_000 + b"\r\n\r\n", 431, "may have 65536 bytes"),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 40_000 + b"\r\n", 431, "may have 65536 bytes"),
        (b"GET / HTTP/1.1\r\na: " + b"b" * 900_000, 431, "may have 65536 bytes"),
        (b"GET /" + b"a" * 900_000, 414, "A URL may have 8192 bytes."),
        (b"\0\0\0\0 nonsense\r\n\r\n", 400, "Invalid HTTP request received."),
    ],
)
def test_what_is_too_long_is_refused_before_it_is_read(
    port: int, sent: bytes, status: int, words: str
) -> None:
    with connected(port) as client:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has said no already
            client.sendall(sent)
        refused = answer(client)
        assert refused[0] == status
        assert words in json.loads(refused[1])["error"]
        assert is_closed(client)
    with connected(port) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert answer(client) == (200, b"0")


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nhost: a\r\n", b"\r\n", b"G"])
def test_who_says_no_more_is_left(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(http_server, "_HEAD_SECONDS", 0.3)
    with running() as port, connected(port) as client, connected(port) as other:
        client.sendall(sent)
        assert is_closed(client)
        assert is_closed(other)


def test_who_waits_between_two_requests_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "_HEAD_SECONDS", 0.3)
    with running() as port, connected(port) as client:
        for _ in range(2):
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert answer(client) == (200, b"0")
            time.sleep(0.6)


def test_more_connections_than_there_may_be_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "most_connections", lambda: 3)
    with running() as port:
        open_ones = [connected(port) for _ in range(3)]
        for client in open_ones:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert answer(client) == (200, b"0")
        with connected(port) as another:
            assert is_closed(another)
        for client in open_ones:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert answer(client) == (200, b"0")
            client.close()


def test_there_are_files_left_beside_the_connections() -> None:
    most = ports.most_connections()
    limit, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert limit == hard
    assert 2 * most < limit
