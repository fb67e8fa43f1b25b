"""A model server in a process of its own, for as long as a model is validated on it."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from darkroom.components.base.processes import end_with_parent
from darkroom.serving.client import RequestFailed, RestClient
from darkroom.serving.pushed_files import BATCHING_FILE

# TensorFlow Serving's own server, where it is installed.
BINARY = "tensorflow_model_server"
MODEL = "candidate"
_VERSION = "1"
_POLL_SECONDS = 0.05
_STOP_SECONDS = 20.0


class ServerFailed(Exception):
    """The server did not come to serve the model; the message says why."""


class ValidationServer(NamedTuple):
    """A running server with the model loaded."""

    name: str  # what it is: tensorflow_model_server, or darkroom's
    url: str  # of REST
    address: str  # of gRPC
    ready_seconds: float  # from its start until the model could be asked
    process: psutil.Process

    def memory_mib(self) -> float:
        return float(self.process.memory_info().rss) / 2**20


@contextlib.contextmanager
def running(folder: str, batching: str, seconds: float) -> Iterator[ValidationServer]:
    """Starts TensorFlow Serving's server, or else darkroom's, with a model; stops it in every case.

    ``batching`` are its parameters. Raises ServerFailed where it hasn't loaded in ``seconds``.
    """
    name = BINARY if shutil.which(BINARY) else "darkroom's model server"
    program = (
        [BINARY] if name == BINARY else [sys.executable, "-m", "darkroom.serving.model_server"]
    )
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary) / MODEL
        base.mkdir()
        (base / _VERSION).symlink_to(os.path.abspath(folder), target_is_directory=True)
        parameters = Path(temporary) / BATCHING_FILE
        parameters.write_text(batching, encoding="utf-8")
        log = Path(temporary) / "log"
        port, rest_port = free_ports()
        start = time.monotonic()
        with log.open("wb") as file:
            process = subprocess.Popen(
                [
                    *program,
                    f"--port={port}",
                    f"--rest_api_port={rest_port}",
                    f"--model_name={MODEL}",
                    f"--model_base_path={base}",
                    "--enable_batching",
                    f"--batching_parameters_file={parameters}",
                    "--max_num_load_retries=0",
                ],
                stdout=file,
                stderr=subprocess.STDOUT,
                # Its requests are nobody's.
                env={**os.environ, "OTEL_SDK_DISABLED": "true"},
                preexec_fn=end_with_parent if sys.platform == "linux" else None,
            )
        try:
            url = f"http://localhost:{rest_port}"
            _wait(process, url, start + seconds, log)
            ready = time.monotonic() - start
            yield ValidationServer(
                name, url, f"localhost:{port}", ready, psutil.Process(process.pid)
            )
        finally:
            _stop(process)


def _wait(process: subprocess.Popen[bytes], url: str, until: float, log: Path) -> None:
    with contextlib.closing(RestClient(url, MODEL, timeout=5.0)) as client:
        while True:
            if process.poll() is not None:
                raise ServerFailed(
                    f"the server ended with exit code {process.returncode}: {_last_line(log)}"
                )
            with contextlib.suppress(RequestFailed):
                for status in client.status():
                    if status["state"] == "AVAILABLE":
                        return
                    if status["state"] == "END":
                        raise ServerFailed(status["status"]["error_message"])
            if time.monotonic() > until:
                raise ServerFailed(f"the model was not loaded in time: {_last_line(log)}")
            time.sleep(_POLL_SECONDS)


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _stop(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_ports() -> list[int]:
    """Two ports on which nobody listens now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
