"""What the benchmarks share: run a process and measure it, describe the machine, report."""

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psutil

REPOSITORY = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"
GIB = 2**30

_SECONDS_BETWEEN_POLLS = 0.2
# Options whose value is a place on this machine.
_PLACES = {
    "--data": "FOLDER",
    "--weights": "VERSION",
    "--model": "VERSION",
    "--bentoml": "PYTHON",
    "--airflow": "ENVIRONMENT",
}
_LIBRARIES = (
    "tfx", "tensorflow", "keras", "keras-tuner", "tf-keras", "tensorflow-transform", "apache-beam",
)  # fmt: skip

# Nodes that run anew each time, as they only look things up.
RESOLVERS = ("Baseline", "LastStatistics")


@dataclass(frozen=True)
class Run:
    """A process that ended well."""

    seconds: float
    peak_rss_bytes: int  # of the largest single process of the tree, at any poll
    stdout: str

    def result(self) -> Any:
        """The JSON in the last line of the output, where our own scripts put what they found."""
        return json.loads(self.stdout.splitlines()[-1])


@dataclass(frozen=True)
class Pipeline:
    """A finished ``darkroom run``, and the answer of ``darkroom status --json``."""

    run: Run
    status: dict[str, Any]

    @property
    def accuracy(self) -> float:
        """On the eval split, as the Evaluator found it."""
        return float(self.status["metrics"]["accuracy"])

    @property
    def training_seconds(self) -> float:
        """From the begin of the Trainer's first epoch to the end of its last, validation included.

        Taken from the time stamps of the progress lines in the log: Keras's own lines have whole
        seconds only, and don't say whether a trial of the Tuner or the Trainer printed them.
        """
        log = Path(self.status["log"]).read_text(encoding="utf-8", errors="replace")
        stamps = re.findall(r"^(\S+ \S+),(\d{3}) INFO darkroom\.progress: Trainer: ", log, re.M)
        first, *_, last = (datetime.fromisoformat(f"{second}.{ms}") for second, ms in stamps)
        return (last - first).total_seconds()

    @property
    def all_cached(self) -> bool:
        """Whether nothing ran anew; resolvers always do."""
        nodes = self.status["nodes"]
        return all(node["state"] == "cached" for node in nodes if node["id"] not in RESOLVERS)


def arguments(description: str | None) -> argparse.ArgumentParser:
    """A parser with the option that all benchmarks have."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "--data",
        type=lambda text: Path(text).resolve(),
        default=os.path.relpath(REPOSITORY.parent / "shared" / "data"),
        metavar="FOLDER",
        help="folder that holds mnist/ and cifar10/",
    )
    return parser


@contextlib.contextmanager
def started(command: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process in ``folder`` and in a session of its own, of which nothing is left afterwards.

    Its output is in stdout.txt and stderr.txt, and what it leaves in TMPDIR stays in the folder.
    """
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(REPOSITORY)}
    out, err = folder / "stdout.txt", folder / "stderr.txt"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):  # workers that outlived it, or Ctrl-C
                os.killpg(process.pid, signal.SIGKILL)


def run(command: list[str], folder: Path) -> Run:
    """Runs a command in ``folder`` to the end.

    Raises:
      SystemExit: the command failed; with the end of its output.
    """
    peak = 0
    begin = time.monotonic()
    with started(command, folder) as process:
        while process.poll() is None:
            peak = max(peak, _largest_of_tree(process.pid))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_SECONDS_BETWEEN_POLLS)
        seconds = time.monotonic() - begin
    text = (folder / "stdout.txt").read_text(encoding="utf-8", errors="replace")
    if process.returncode:
        errors = (folder / "stderr.txt").read_text(encoding="utf-8", errors="replace")
        raise SystemExit(
            f"{shlex.join(command)} ended with code {process.returncode}\n"
            f"{text[-2000:]}\n{errors[-4000:]}"
        )
    return Run(seconds, peak, text)


def darkroom_command(command: str, config: str, overrides: Iterable[str], *more: str) -> list[str]:
    """A command of darkroom that takes a configuration, such as ``run``."""
    words = [word for override in overrides for word in ("--set", override)]
    return [
        sys.executable,
        "-m",
        "darkroom.pipeline.cli",
        command,
        "--config",
        config,
        *words,
        *more,
    ]


def darkroom(folder: Path, command: str, config: str, overrides: Iterable[str], *more: str) -> Run:
    """Runs a command of darkroom that takes a configuration, such as ``run``."""
    return run(darkroom_command(command, config, overrides, *more), folder)


def pipeline(folder: Path, config: str, overrides: Iterable[str]) -> Pipeline:
    """Runs the whole pipeline, with everything that it writes below ``folder``."""
    overrides = [*overrides, f"root={folder / 'runs'}"]
    measured = darkroom(folder, "run", config, overrides)
    status = darkroom(folder, "status", config, overrides, "--json")
    return Pipeline(measured, json.loads(status.stdout))


def trials(folder: Path) -> list[dict[str, Any]]:
    """The Tuner node's rows of the pipeline that ran in ``folder``, best first, with histories."""
    found = folder.glob("runs/*/artifacts/Tuner/tuner_results/*/tuner_results.json")
    newest = max(found, key=lambda path: path.stat().st_mtime)
    rows: list[dict[str, Any]] = json.loads(newest.read_text(encoding="utf-8"))
    return rows


def report(script: str, rows: list[dict[str, Any]], **more: Any) -> None:
    """Prints the rows as a table and writes them to ``results/`` under the script's name."""
    print_table(rows)
    for name, value in more.items():
        print(f"{name.replace('_', ' ')}: {_shown(value)}")
    name = Path(script).stem
    results = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": machine(),
        "command": _command(name),
        "rows": rows,
        **more,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(f"written to {os.path.relpath(path)}")


def _command(name: str) -> str:
    """The command to repeat it, without this machine's folders."""
    words = list(sys.argv[1:])
    for option, shown in _PLACES.items():
        if option in words:
            words[words.index(option) + 1] = shown
    return shlex.join(["python", f"benchmarks/{name}.py", *words])


def machine() -> dict[str, Any]:
    """Hardware, load and versions, without which the numbers mean nothing."""
    versions = {}
    for library in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[library] = importlib.metadata.version(library)
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / GIB, 1),
        "load_average_at_end": [round(load, 2) for load in os.getloadavg()],
        "system": platform.platform(),
        "python": platform.python_version(),
        "libraries": versions,
    }


def print_table(rows: list[dict[str, Any]]) -> None:
    """Prints rows of the same keys, words to the left and numbers to the right."""
    table = [[name.replace("_", " ") for name in rows[0]]]
    table += [[_shown(value) for value in row.values()] for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        first, *others = (cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
        print("  ".join([first.strip().ljust(widths[0]), *others]))


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4f}" if 0 <= value < 1 else f"{value:.2f}"
    return "" if value is None else str(value)


def _largest_of_tree(pid: int) -> int:
    sizes = [0]
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):  # ended meanwhile
                sizes.append(process.memory_info().rss)
    return max(sizes)


def _cpu() -> str:
    with contextlib.suppress(OSError):
        info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        if found := re.search(r"^model name\s*:\s*(.+)$", info, re.M):
            return found[1]
    return platform.processor() or platform.machine()
