"""darkroom's model server against the same SavedModel in-process, and against BentoML.

Load comes from a second process over loopback, on the same cores. A small CIFAR-10 network, the
shipped configuration's after two epochs, unless --model names the folder of another version.
"""

import argparse
import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import measure
import psutil

from darkroom.components.pushing.validation_server import free_ports
from darkroom.serving.client import RequestFailed, RestClient

# Sides, as the report names them.
ALONE, ALONE_ONE = "in-process, batches of 64", "in-process, one by one"
QUARTER = " at a quarter of that"
BENTOML = "BentoML, adaptive batching"

_MIB = 2**20
# What the server's own defaults of the section serving.batching are.
_BATCHING = "max_batch_size { value: 64 } max_enqueued_batches { value: 100 }"


class Server(NamedTuple):
    """A running server."""

    pid: int
    grpc: str
    rest: str
    path: str
    ready_seconds: float


class Load:
    """A process that loads servers, so that it imports TensorFlow once."""

    def __init__(self, options: argparse.Namespace):
        """Starts it."""
        self._process = subprocess.Popen(
            measure.python("serve_load", options.data),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(measure.REPOSITORY)},
        )  # fmt: skip

    def __enter__(self) -> "Load":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def __call__(self, server: Server, protocol: str, **more: object) -> dict[str, Any]:
        """The figures of a load."""
        words = [
            f"--protocol={protocol.lower()}",
            f"--address={server.grpc if protocol == 'gRPC' else server.rest}",
            f"--path={server.path}",
            f"--pid={server.pid}",
            *(f"--{key}" if value is True else f"--{key}={value}" for key, value in more.items()),
        ]
        self._process.stdin.write(shlex.join(words) + "\n")
        self._process.stdin.flush()
        if not (line := self._process.stdout.readline()):
            raise SystemExit("The load ended by itself; its error stands above.")
        figures: dict[str, Any] = json.loads(line)
        return figures


def main() -> None:
    """Measures all of it in one run, several turns each, and reports."""
    parser = measure.Parser(__doc__)
    parser.add_place("--model", "VERSION", "folder of a version, instead of a new one")
    parser.add_place("--bentoml", "PYTHON", "of an environment with BentoML and TensorFlow")
    parser.add_size("--turns", 3, 1, "of each throughput")
    parser.add_size("--seconds", 8, 1, "of each side but those with all requests at a time")
    parser.add_size("--requests", 10_000, 320, "half of those of a throughput")
    parser.add_size("--parts", 10, 1, "of the requests over which memory may grow")
    options = parser.parse_args()
    model = trained(options)
    with measure.folder() as folder, Load(options) as load:
        turns = measure.Turns([_turn(folder, model, load, options) for _ in range(options.turns)])
        long = _long(folder, model, load, options)
    if not options.bentoml:
        print("BentoML is not measured: --bentoml names its environment's Python.")
    keys = ("images_per_second", "server_cpu_us", "client_cpu_us", "p50_ms", "p99_ms")
    measure.report(options, turns.rows(*keys), **_ratios(turns), **long)


def trained(options: argparse.Namespace) -> Path:
    """The folder of a version: of ``--model``, or of a small CIFAR-10 network."""
    return options.model or measure.kept(options, "cifar10", measure.BRIEF).pushed


def _turn(
    folder: Path, model: Path, load: Load, options: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    alone = measure.side("serve_in_process", model, options.data, options.seconds).result()
    turn = {
        ALONE: {"ready_seconds": alone["ready_seconds"], **alone["64"]},
        ALONE_ONE: alone["1"],
    }
    with serving(folder, model) as server:
        ready = {"ready_seconds": server.ready_seconds}
        for protocol in ("gRPC", "REST"):
            full = load(server, protocol, requests=2 * options.requests)
            turn[protocol] = {**ready, **full}
            rate = full["images_per_second"] / 4
            turn[f"{protocol}{QUARTER}"] = load(
                server, protocol, rate=rate, requests=int(rate * options.seconds) + 1
            )
    if options.bentoml:
        with _bentoml(folder, model, str(options.bentoml)) as server:
            turn[BENTOML] = load(server, "REST", requests=2 * options.requests)
    return turn


def _ratios(turns: measure.Turns) -> dict[str, float]:
    ratios = {}
    for protocol in ("gRPC", "REST"):
        ratios[f"{protocol}_throughput_to_in-process"] = turns.ratio(
            protocol, "images_per_second", ALONE
        )
        ratios[f"{protocol}_cpu_to_in-process"] = turns.ratio(protocol, "server_cpu_us", ALONE)
        ratios[f"{protocol}_p99_at_a_quarter_of_the_load_to_in-process_p50_of_one_image"] = (
            turns.ratio(f"{protocol}{QUARTER}", "p99_ms", ALONE_ONE, "p50_ms")
        )
    if BENTOML in turns.sides:
        ratios["REST_throughput_to_BentoML's"] = turns.ratio("REST", "images_per_second", BENTOML)
        ratios["REST_p99_to_BentoML's"] = turns.ratio("REST", "p99_ms", BENTOML)
    ratios["ready_after_start_to_in-process"] = turns.ratio("gRPC", "ready_seconds", ALONE)
    return ratios


def _long(folder: Path, model: Path, load: Load, options: argparse.Namespace) -> dict[str, Any]:
    """Version swaps, poisoned requests and memory, under the same load."""
    some, swaps = options.requests, min(options.parts, 10)
    with serving(folder, model) as server:
        base = folder / "base"
        before = load(server, "gRPC", requests=some)
        with _swapping(base, model, swaps):
            during = load(server, "gRPC", requests=5 * some, compare=True)
        poisoned = load(server, "REST", requests=2 * some, poison=0.01, compare=True)
        process = psutil.Process(server.pid)
        memory = []
        for part in range(options.parts):
            with _swapping(base, model, 2):
                load(server, ("gRPC", "REST")[part % 2], requests=2 * some)
            memory.append(process.memory_info().rss / _MIB)
    return {
        f"during_{swaps}_version_swaps": {
            "requests": during["requests"],
            "failed": during["refused_good"] + during["wrong"],
            "p99_to_before": during["p99_ms"] / before["p99_ms"],
        },
        "poisoned": {
            key: poisoned[key]
            for key in ("requests", "wrong", "refused_good", "answered_bad", "refused_bad")
        },
        "memory": {
            "requests": 2 * some * options.parts,
            "swaps": 2 * options.parts,
            "mib_after_the_first_part": memory[0],
            "mib_at_end": memory[-1],
            "growth_percent": 100 * (max(memory) / memory[0] - 1),
        },
    }


@contextlib.contextmanager
def _swapping(base: Path, model: Path, swaps: int) -> Iterator[None]:
    """Puts new versions in place while the load runs, and takes old ones away."""
    stopping = threading.Event()

    def swap() -> None:
        for _ in range(swaps):
            if stopping.wait(2.0):
                return
            newest = max(int(path.name) for path in base.iterdir() if path.name.isdigit())
            staged = base / "staged"
            shutil.copytree(model, staged)
            staged.rename(base / str(newest + 1))
            for old in base.iterdir():
                if old.name.isdigit() and int(old.name) < newest:
                    shutil.rmtree(old)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


@contextlib.contextmanager
def serving(folder: Path, model: Path) -> Iterator[Server]:
    """Darkroom's model server with a model, as version 1 in ``folder / "base"``."""
    base = folder / "base"
    shutil.rmtree(base, ignore_errors=True)
    shutil.copytree(model, base / "1")
    (folder / "batching.config").write_text(_BATCHING)
    port, rest_port = free_ports()
    command = [
        sys.executable,
        "-m",
        "darkroom.serving.model_server",
        f"--port={port}",
        f"--rest_api_port={rest_port}",
        "--model_name=cifar10",
        f"--model_base_path={base}",
        "--enable_batching",
        f"--batching_parameters_file={folder / 'batching.config'}",
    ]
    work = folder / "server"
    work.mkdir(exist_ok=True)
    start = time.perf_counter()
    with measure.started(command, work) as process:
        with contextlib.closing(RestClient(f"http://localhost:{rest_port}", "cifar10")) as client:
            while not _is_available(client):
                assert process.poll() is None, (work / "stderr.txt").read_text()
                time.sleep(0.01)
        ready = time.perf_counter() - start
        yield Server(
            process.pid,
            f"localhost:{port}",
            f"localhost:{rest_port}",
            "/v1/models/cifar10:predict",
            ready,
        )


def _is_available(client: RestClient) -> bool:
    try:
        return any(status["state"] == "AVAILABLE" for status in client.status())
    except RequestFailed:
        return False


@contextlib.contextmanager
def _bentoml(folder: Path, model: Path, python: str) -> Iterator[Server]:
    """A BentoML service of the same SavedModel, with adaptive batching up to 64."""
    [port, _] = free_ports()
    work = folder / "bentoml"
    work.mkdir(exist_ok=True)
    shutil.copy(measure.HERE / "processes" / "serve_bentoml.py", work / "service.py")
    os.environ["MODEL"] = str(model)
    command = [python, "-m", "bentoml", "serve", "service:Cifar10", "--port", str(port)]
    with measure.started(command, work) as process:
        import urllib3

        until = time.monotonic() + 120
        while True:
            with contextlib.suppress(urllib3.exceptions.HTTPError):
                url = f"http://localhost:{port}/readyz"
                if urllib3.request("GET", url, retries=False).status == 200:
                    break
            assert process.poll() is None, (work / "stderr.txt").read_text()
            assert time.monotonic() < until, (work / "stderr.txt").read_text()
            time.sleep(0.1)
        workers = psutil.Process(process.pid).children(recursive=True)
        try:
            yield Server(process.pid, "", f"localhost:{port}", "/predict", 0.0)
        finally:
            for worker in workers:  # which outlive it
                with contextlib.suppress(psutil.NoSuchProcess):
                    worker.kill()


if __name__ == "__main__":
    main()
