"""The HTTP server: uvicorn, in an event loop that is there already."""

import asyncio
import contextlib
import ssl
from collections.abc import Iterator

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from darkroom.serving.codecs import json_tensor
from darkroom.serving.protocols import ports
from darkroom.serving.protocols.rest_api import RestApp

_BACKLOG = 2048  # connections that may wait: uvicorn's default
# Longer than the minute after which common load balancers close idle connections, so that it is
# not the server that closes one on which a request is under way.
_KEEP_ALIVE_SECONDS = 75
_HEAD_SECONDS = 20  # for a request's line and headers to come
# As other servers': nginx takes 8 KB for each header, and four of them.
_MAX_URL, _MAX_HEAD = 8 * 2**10, 64 * 2**10
_URI_TOO_LONG, _HEADERS_TOO_LARGE = 414, 431  # of HTTP


class _Connection(HttpToolsProtocol):
    """A client's connection: what it sends before a body is bounded, in bytes and in time."""

    _head = _size = 0  # bytes that came since the request's begin, and of its headers
    _refusal: tuple[int, str] | None = None
    _timer: asyncio.TimerHandle | None = None

    # asyncio's own declares any transport; a server's is one that is written to.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > ports.most_connections():
            transport.abort()
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._have_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._head += len(data)
        if self.cycle is None or self.cycle.response_complete:
            self._expect_head()  # also of what isn't a request's begin, such as empty lines
        super().data_received(data)
        if self._timer is not None and self._head > _MAX_HEAD and not self.transport.is_closing():
            self._refusal = _HEADERS_TOO_LARGE, f"Headers may have {_MAX_HEAD} bytes together."
            self.send_400_response("")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._size = 0
        self._expect_head()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > _MAX_URL:
            self._refusal = _URI_TOO_LONG, f"A URL may have {_MAX_URL} bytes."
            raise httptools.HttpParserError

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._size += len(name) + len(value)
        if self._size > _MAX_HEAD:
            self._refusal = _HEADERS_TOO_LARGE, f"Headers may have {_MAX_HEAD} bytes together."
            raise httptools.HttpParserError

    def on_headers_complete(self) -> None:
        self._have_head()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuses what isn't HTTP, or is too long, and closes the connection."""
        status, message = self._refusal or (400, msg)
        body = json_tensor.error(message)
        head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self.transport.write(STATUS_LINE[status] + head % len(body) + body)
        self.transport.close()

    def _expect_head(self) -> None:
        if self._timer is None:
            self._head = 0
            self._timer = self.loop.call_later(_HEAD_SECONDS, self.transport.abort)

    def _have_head(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Uvicorn(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The process's signals are for both servers, and handled elsewhere."""
        yield


class HttpServer:
    """Listens, and hands requests to an ASGI application."""

    def __init__(self, app: RestApp, host: str, port: int, tls: ssl.SSLContext | None):
        """Takes the port on all addresses of a host; raises ServingError where it can't be had."""
        config = uvicorn.Config(
            app,
            http=_Connection,
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,  # nothing here asks who the client is
            backlog=_BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        )
        config.load()
        config.ssl = tls
        self._server = _Uvicorn(config)
        self._sockets = ports.take(host, port, *ports.REST)
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._serving = asyncio.create_task(self._server.serve(self._sockets))
        while not self._server.started:
            if self._serving.done():
                self._serving.result()
            await asyncio.sleep(0.001)

    async def set_ready(self, ready: bool) -> None:
        """Does nothing: ``/readyz`` looks up whether all models are there."""

    async def stop(self, grace_seconds: float) -> None:
        """Takes no more requests; those under way are finished."""
        self._server.config.timeout_graceful_shutdown = max(1, round(grace_seconds))
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving
