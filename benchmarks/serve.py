"""darkroom's model server against the same SavedModel in-process, and against BentoML.

Load comes from a second process over loopback, on the same cores. A small CIFAR-10 network, the
shipped configuration's after two epochs, unless --model names the folder of another version.
"""

import contextlib
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import measure
import psutil

from darkroom.components.pushing.validation_server import free_ports
from darkroom.serving.client import RequestFailed, RestClient

_HERE = Path(__file__).resolve().parent
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


def main() -> None:
    """Measures all of it in one run, several turns each, and reports."""
    parser = measure.arguments(__doc__)
    parser.add_argument("--model", type=lambda t: Path(t).resolve(), help="folder of a version")
    parser.add_argument("--turns", type=int, default=3, metavar="N", help="of each throughput")
    parser.add_argument("--bentoml", metavar="PYTHON", help="of an environment with BentoML")
    parser.add_argument("--long", action="store_true", help="swaps, poison and memory as well")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        model = options.model or trained(folder, options.data)
        rows, ratios = _throughput(folder, model, options)
        more = _long(folder, model, options.data) if options.long else {}
    measure.report(__file__, rows, **ratios, **more)


def trained(folder: Path, data: Path) -> Path:
    """The folder of a version of a small CIFAR-10 network."""
    overrides = [f"data.path={data / 'cifar10'}", "training.epochs=2", "evaluation.min_accuracy=0"]
    measure.pipeline(folder, "cifar10", overrides)
    [version] = (folder / "runs" / "cifar10" / "pushed" / "cifar10").iterdir()
    return version


def _throughput(
    folder: Path, model: Path, options: Any
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    turns: list[dict[str, dict[str, Any]]] = []
    for _ in range(options.turns):
        turn: dict[str, dict[str, Any]] = {}
        alone = _in_process(folder, model, options.data)
        turn["in-process, batches of 64"] = {
            "images_per_second": alone["64"]["images_per_second"],
            "server_cpu_us": alone["64"]["cpu_us"],
            "p50_ms": alone["64"]["p50_ms"],
        }
        turn["in-process, one by one"] = {
            "images_per_second": alone["1"]["images_per_second"],
            "server_cpu_us": alone["1"]["cpu_us"],
            "p50_ms": alone["1"]["p50_ms"],
        }
        turn["ready"] = {"in_process": alone["ready_seconds"]}
        with serving(folder, model) as server:
            turn["ready"]["server"] = server.ready_seconds
            for protocol in ("grpc", "rest"):
                full = _load(folder, server, protocol, options.data)
                turn[f"{protocol}, 64 at a time"] = full
                quarter = full["images_per_second"] / 4
                turn[f"{protocol}, a quarter of that"] = _load(
                    folder, server, protocol, options.data, rate=quarter, requests=int(quarter * 8)
                )
        if options.bentoml:
            with _bentoml(folder, model, options.bentoml) as server:
                turn["BentoML, 64 at a time"] = _load(folder, server, "rest", options.data)
        turns.append(turn)
    names = [name for name in turns[0] if name != "ready"]
    rows = [
        {
            "": name,
            **{
                key: _median(turns, name, key)
                for key in ("images_per_second", "server_cpu_us", "client_cpu_us")
            },
            **{key: _median(turns, name, key) for key in ("p50_ms", "p99_ms")},
        }
        for name in names
    ]

    def ratio(name: str, key: str, other: str, of: str | None = None) -> float:
        return median(turn[name][key] / turn[other][of or key] for turn in turns)

    alone_64, alone_1 = names[0], names[1]
    ratios: dict[str, Any] = {}
    for protocol in ("grpc", "rest"):
        full, quarter = f"{protocol}, 64 at a time", f"{protocol}, a quarter of that"
        ratios[f"{protocol}_throughput_of_in_process"] = ratio(full, "images_per_second", alone_64)
        ratios[f"{protocol}_cpu_of_in_process"] = ratio(full, "server_cpu_us", alone_64)
        ratios[f"{protocol}_p99_at_a_quarter_of_in_process"] = ratio(
            quarter, "p99_ms", alone_1, "p50_ms"
        )
    ratios["ready_of_in_process"] = median(
        turn["ready"]["server"] / turn["ready"]["in_process"] for turn in turns
    )
    if options.bentoml:
        bento = "BentoML, 64 at a time"
        full = "rest, 64 at a time"
        ratios["throughput_of_bentoml"] = ratio(full, "images_per_second", bento)
        ratios["p99_of_bentoml"] = ratio(full, "p99_ms", bento)
    return rows, ratios


def _median(turns: list[dict[str, dict[str, Any]]], name: str, key: str) -> float | None:
    found = [turn[name][key] for turn in turns if key in turn[name]]
    return median(found) if found else None


def _long(folder: Path, model: Path, data: Path) -> dict[str, Any]:
    """Version swaps, poisoned requests and memory, under the same load."""
    found: dict[str, Any] = {}
    with serving(folder, model) as server:
        base = folder / "base"
        before = _load(folder, server, "grpc", data, requests=10_000)
        with _swapping(base, model, 10):
            during = _load(folder, server, "grpc", data, requests=50_000, compare=True)
        found["swaps"] = {
            "requests": during["requests"],
            "failed": during["refused_good"] + during["wrong"],
            "p99_before_ms": before["p99_ms"],
            "p99_during_ms": during["p99_ms"],
            "ratio": during["p99_ms"] / before["p99_ms"],
        }
        poisoned = _load(folder, server, "rest", data, requests=20_000, poison=0.01, compare=True)
        found["poison"] = {
            key: poisoned[key]
            for key in ("requests", "wrong", "refused_good", "answered_bad", "refused_bad")
        }
        process = psutil.Process(server.pid)
        memory = []
        for part in range(10):
            with _swapping(base, model, 2):
                _load(folder, server, ("grpc", "rest")[part % 2], data, requests=20_000)
            memory.append(process.memory_info().rss / _MIB)
        found["memory"] = {
            "requests": 200_000,
            "swaps": 20,
            "mib_after_20000": memory[0],
            "mib_at_end": memory[-1],
            "growth": max(memory[1:]) / memory[0] - 1,
        }
    return found


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


def _in_process(folder: Path, model: Path, data: Path) -> dict[str, Any]:
    script = str(_HERE / "serve_in_process.py")
    found: dict[str, Any] = measure.run(
        [sys.executable, script, str(model), str(data)], folder
    ).result()
    return found


def _load(folder: Path, server: Server, protocol: str, data: Path, **more: Any) -> dict[str, Any]:
    words = []
    for key, value in more.items():
        words += [f"--{key}"] if value is True else [f"--{key}", str(value)]
    command = [
        sys.executable,
        str(_HERE / "serve_load.py"),
        f"--protocol={protocol}",
        f"--address={server.grpc if protocol == 'grpc' else server.rest}",
        f"--path={server.path}",
        f"--pid={server.pid}",
        f"--data={data}",
        *words,
    ]
    load = folder / "load"
    load.mkdir(exist_ok=True)
    found: dict[str, Any] = measure.run(command, load).result()
    return found


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
    shutil.copy(_HERE / "serve_bentoml.py", work / "service.py")
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
