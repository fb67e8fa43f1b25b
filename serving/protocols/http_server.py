"""The HTTP server: uvicorn, in an event loop that is there already."""

import asyncio
import contextlib
import ssl
from collections.abc import Iterator

import uvicorn

from darkroom.serving.protocols import ports
from darkroom.serving.protocols.rest_api import RestApp

_BACKLOG = 2048  # connections that may wait: uvicorn's default
# Longer than the minute after which common load balancers close idle connections, so that it is
# not the server that closes one on which a request is under way.
_KEEP_ALIVE_SECONDS = 75


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
            http="httptools",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
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
