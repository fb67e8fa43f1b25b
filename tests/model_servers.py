"""A model server in a process of its own, for tests."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import grpc
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

REPOSITORY = Path(__file__).resolve().parent.parent
PATIENCE = 120  # seconds until a hanging server fails its test


class Reply(NamedTuple):
    status: int
    json: Any  # of the body; the text where it isn't JSON
    headers: Mapping[str, str]


class Server:
    """A running model server."""

    def __init__(self, process: subprocess.Popen, grpc_port: int, rest_port: int, log: Path):
        self.process = process
        self.grpc_port = grpc_port
        self.rest_port = rest_port
        self.log = log
        self.channel = grpc.insecure_channel(f"localhost:{grpc_port}")
        self.stub = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def ask(
        self,
        path: str,
        document: Any = None,
        *,
        body: bytes | None = None,
        method: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Sends JSON, or a raw body, or GETs."""
        if document is not None:
            body = json.dumps(document).encode()
        request = urllib.request.Request(
            f"http://localhost:{self.rest_port}{path}",
            body,
            dict(headers or {}),
            method=method or ("GET" if body is None else "POST"),
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                return _reply(response.status, response.read(), response.headers)
        except urllib.error.HTTPError as error:
            return _reply(error.code, error.read(), error.headers)

    def wait_until(self, path: str, status: int = 200) -> None:
        """Asks again and again until the server answers so."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            assert self.process.poll() is None, self.log.read_text()
            try:
                if self.ask(path).status == status:
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"{path} was never {status}: {self.log.read_text()}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Tells the server to stop; returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE)


def _reply(status: int, body: bytes, headers: Any) -> Reply:
    try:
        return Reply(status, json.loads(body), headers)
    except ValueError:
        return Reply(status, body.decode(), headers)


def free_port() -> int:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "darkroom.serving.model_server", *arguments]


@contextmanager
def running(
    folder: Path, *arguments: str, ready: bool = True, name: str = "server"
) -> Iterator[Server]:
    """A server that is ready, or at least alive; ended afterwards.

    ``folder`` gets its log.
    """
    grpc_port, rest_port = free_port(), free_port()
    log = folder / f"{name}.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            command(f"--port={grpc_port}", f"--rest_api_port={rest_port}", *arguments),
            stderr=file,
            stdout=file,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
    server = Server(process, grpc_port, rest_port, log)
    try:
        server.wait_until("/readyz" if ready else "/healthz")
        yield server
    finally:
        server.channel.close()
        if process.poll() is None:
            process.kill()
        process.wait()
