"""What the benchmarks share: options, processes and pipelines, figures of turns, and the report."""

import argparse
import atexit
import contextlib
import hashlib
import itertools
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psutil
from provenance import GIB, REPOSITORY, commit, machine
from tables import flat, print_table, shown
from turns import Turns as Turns

from darkroom.components.base import tfrecord
from darkroom.serving import files

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"

# Of each split, in the smoke size; more than a batch of any configuration.
SMOKE_IMAGES = 160
# What makes a run of any configuration as short as it can be.
SMOKE_OVERRIDES = (
    "training.epochs=1", "training.warmup_epochs=0", "model.filters=[4]",
    "evaluation.min_accuracy=0", "evaluation.min_class_recall=0",
    "serving.validation.enabled=false",
)  # fmt: skip
# Of a run that others measure on, however good its model is.
BRIEF = ("training.epochs=2", "evaluation.min_accuracy=0", "evaluation.min_class_recall=0")

# Of MNIST where what is beyond the training is measured.
ONE_EPOCH = ("training.epochs=1", "training.warmup_epochs=0", "evaluation.min_accuracy=0.5")

# Nodes that run anew each time, as they only look things up.
RESOLVERS = ("Baseline", "LastStatistics")

_SECONDS_BETWEEN_POLLS = 0.2
_SECONDS_FOR_A_RUN = 7200.0  # by another benchmark, which this one waits for


class Parser(argparse.ArgumentParser):
    """The options that all benchmarks have, and sizes that ``--smoke`` makes small.

    Its options also have ``smaller``: overrides of the configuration, for the smoke size alone.
    """

    def __init__(self, description: str | None):
        """``description``: the script's docstring."""
        super().__init__(
            description=description, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        self._smoke_sizes: dict[str, int] = {}
        data = REPOSITORY.parent / "shared" / "data"
        self.add_place("--data", "FOLDER", "folder that holds mnist/ and cifar10/", data)
        self.add_place("--results", "FOLDER", "for the figures as JSON", RESULTS)
        self.add_place("--runs", "FOLDER", "keeps finished runs that several benchmarks measure on")
        self.add_argument(
            "--smoke", action="store_true",
            help="few images, small networks, one turn: shows that it runs, and measures nothing",
        )  # fmt: skip

    def add_size(self, flag: str, full: int, smoke: int, words: str) -> None:
        """A number that is smaller in the smoke size, where it isn't given."""
        self.add_argument(
            flag, type=int, default=full, metavar="N", help=f"{words} (default: {full})"
        )
        self._smoke_sizes[flag.strip("-").replace("-", "_")] = smoke

    def add_place(self, flag: str, metavar: str, words: str, default: Path | None = None) -> None:
        """A path, which the report shows by its ``metavar``."""
        shown = f"{words} (default: {os.path.relpath(default)})" if default else words
        self.add_argument(flag, type=_absolute, default=default, metavar=metavar, help=shown)

    def parse_args(self, *arguments: Any) -> Any:
        """The options; ``data`` and ``runs`` are folders that may be used as they are."""
        options = super().parse_args(*arguments)
        options.command = self._command(options)
        options.commit = commit()
        options.smaller = []
        if options.smoke:
            if options.results.resolve().is_relative_to(RESULTS):
                self.error("--smoke measures nothing: --results has to name another folder")
            for name, size in self._smoke_sizes.items():
                if getattr(options, name) == self.get_default(name):
                    setattr(options, name, size)
            options.smaller = list(SMOKE_OVERRIDES)
            options.data = _first_images(options.data)
        options.runs = options.runs or _until_exit()
        return options

    def _command(self, options: argparse.Namespace) -> str:
        """The command to repeat it, without this machine's folders."""
        words = ["python", f"benchmarks/{Path(sys.argv[0]).name}"]
        for action in self._actions:
            value = getattr(options, action.dest, action.default)
            if action.dest in ("results", "runs"):
                continue  # where it's written changes no figure
            if value != action.default or action.dest == "data":
                words += action.option_strings[-1:]
                if isinstance(value, Path):
                    words.append(str(action.metavar))
                elif value is not True:
                    words += map(str, value if isinstance(value, list) else [value])
        return shlex.join(words)


def _absolute(text: str) -> Path:
    return Path(text).absolute()  # an environment's interpreter may be a link: not resolved


def _first_images(data: Path) -> Path:
    """The same sets with a few images of each split."""
    small = _until_exit()
    for file in (*data.glob("mnist/*/*00000-of-*"), *data.glob("cifar10/*/*00000-of-*")):
        target = small / file.relative_to(data)
        target.parent.mkdir(parents=True, exist_ok=True)
        tfrecord.write(target, list(itertools.islice(tfrecord.read(file), SMOKE_IMAGES)))
    return small


def _until_exit() -> Path:
    path = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return Path(path)


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A temporary folder."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        yield Path(name)


@dataclass(frozen=True)
class Run:
    """A process that ended well."""

    seconds: float
    peak_rss_bytes: int  # of the largest single process of the tree, at any poll
    stdout: str

    @property
    def peak_gib(self) -> float:
        """The peak in GiB."""
        return self.peak_rss_bytes / GIB

    def result(self) -> Any:
        """The JSON in the last line of the output, where our own scripts put their figures."""
        return json.loads(self.stdout.splitlines()[-1])


@dataclass(frozen=True)
class Pipeline:
    """A finished ``darkroom run``, and the answer of ``darkroom status --json``."""

    run: Run
    status: dict[str, Any]
    folder: str
    config: str
    overrides: list[str]

    @property
    def accuracy(self) -> float:
        """On the eval split, by the Evaluator."""
        return float(self.status["metrics"]["accuracy"])

    @property
    def home(self) -> Path:
        """The pipeline's own folder below its root."""
        return Path(self.status["home"])

    @property
    def pushed(self) -> Path:
        """The folder of the version that it pushed."""
        [version] = Path(self.status["push_path"]).iterdir()
        return version

    @property
    def training_seconds(self) -> float:
        """From the begin of the Trainer's first epoch to the end of its last."""
        return training_seconds(self.status)

    @property
    def all_cached(self) -> bool:
        """Whether nothing ran anew; resolvers always do."""
        nodes = self.status["nodes"]
        return all(node["state"] == "cached" for node in nodes if node["id"] not in RESOLVERS)

    @property
    def trials(self) -> list[dict[str, Any]]:
        """The Tuner's rows, best first, with histories; none where nothing was searched."""
        paths = self.home.glob("artifacts/Tuner/tuner_results/*/tuner_results.json")
        newest = max(paths, key=lambda path: path.stat().st_mtime, default=None)
        return json.loads(newest.read_text(encoding="utf-8")) if newest else []

    def again(self) -> "Pipeline":
        """Runs it once more in the same folder."""
        return pipeline(Path(self.folder), self.config, self.overrides)

    def node_seconds(self, node_id: str) -> float | None:
        """Of a node; None where the pipeline has none of that name."""
        seconds = {node["id"]: node["seconds"] for node in self.status["nodes"]}
        return seconds.get(node_id)


@contextlib.contextmanager
def started(command: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process in ``folder`` and in a session of its own, of which nothing is left afterwards.

    Its output is in stdout.txt and stderr.txt, and what it leaves in TMPDIR stays in the folder.
    """
    temporary = folder / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(REPOSITORY)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # users have compiled modules
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


def python(name: str, *words: object) -> list[str]:
    """The command that runs a script of ``processes/``."""
    return [sys.executable, str(HERE / "processes" / f"{name}.py"), *map(str, words)]


def side(name: str, *words: object) -> Run:
    """Runs a script of ``processes/`` in a folder of its own."""
    with folder() as own:
        return run(python(name, *words), own)


def darkroom_command(command: str, config: str, overrides: Iterable[str], *more: str) -> list[str]:
    """A command of darkroom that takes a configuration, such as ``run``."""
    words = [word for override in overrides for word in ("--set", override)]
    return [sys.executable, "-m", "darkroom", command, "--config", config, *words, *more]


def darkroom(folder: Path, command: str, config: str, overrides: Iterable[str], *more: str) -> Run:
    """Runs a command of darkroom that takes a configuration, such as ``run``."""
    return run(darkroom_command(command, config, overrides, *more), folder)


def pipeline(folder: Path, config: str, overrides: Iterable[str]) -> Pipeline:
    """Runs the whole pipeline, with everything that it writes below ``folder``."""
    rooted = [*overrides, f"root={folder / 'runs'}"]
    measured = darkroom(folder, "run", config, rooted)
    return Pipeline(measured, status(folder, config, rooted), str(folder), config, [*overrides])


def status(folder: Path, config: str, overrides: Iterable[str]) -> dict[str, Any]:
    """The answer of ``darkroom status --json``."""
    answer: dict[str, Any] = json.loads(
        darkroom(folder, "status", config, overrides, "--json").stdout
    )
    return answer


def training_seconds(status: dict[str, Any]) -> float:
    """From the begin of the Trainer's first epoch to the end of its last, validation included.

    Taken from the time stamps of the progress lines in the log: Keras's own lines have whole
    seconds only, and don't say whether a trial of the Tuner or the Trainer printed them.
    """
    log = Path(status["log"]).read_text(encoding="utf-8", errors="replace")
    stamps = re.findall(r"^(\S+ \S+),(\d{3}) INFO darkroom\.progress: Trainer: ", log, re.M)
    first, *_, last = (datetime.fromisoformat(f"{second}.{ms}") for second, ms in stamps)
    return (last - first).total_seconds()


def kept(options: argparse.Namespace, config: str, overrides: Iterable[str]) -> Pipeline:
    """A finished run that lies in ``--runs`` for all that measure on it; made where it isn't."""
    words = [*overrides, *options.smaller]
    key = hashlib.sha256(repr([options.commit, *words]).encode()).hexdigest()[:8]
    path = options.runs / f"{config}-{key}"
    path.mkdir(parents=True, exist_ok=True)
    facts = path / "run.json"
    with files.locked(path / "lock", patience=_SECONDS_FOR_A_RUN):
        if not facts.exists():
            data = [] if config == "digits" else [f"data.path={data_of(options, config)}"]
            done = pipeline(path, config, [*data, *words])
            facts.write_text(json.dumps(asdict(done)), encoding="utf-8")
    values = json.loads(facts.read_text(encoding="utf-8"))
    return Pipeline(**{**values, "run": Run(**values["run"])})


def data_of(options: argparse.Namespace, config: str) -> Path:
    """The images of a shipped configuration."""
    path: Path = options.data / config.partition("_")[0]
    return path


def report(options: argparse.Namespace, rows: list[dict[str, Any]], **facts: Any) -> None:
    """Prints rows and facts, and writes them to ``--results`` under the script's name."""
    print_table(rows)
    for name, value in flat(facts):
        print(f"{name}: {shown(value)}")
    results = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": options.commit,
        "command": options.command,
        "machine": machine(),
        "rows": rows,
        "facts": facts,
    }
    options.results.mkdir(parents=True, exist_ok=True)
    path = options.results / f"{Path(sys.argv[0]).stem}.json"
    path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(f"written to {os.path.relpath(path)}")


def _largest_of_tree(pid: int) -> int:
    sizes = [0]
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):  # ended meanwhile
                sizes.append(process.memory_info().rss)
    return max(sizes)
