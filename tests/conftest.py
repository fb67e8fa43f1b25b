"""Shared by all tests: small real data, and the command line as a user calls it."""

import atexit
import contextlib
import fcntl
import functools
import gc
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import psutil
import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from sklearn.datasets import load_sample_images

from darkroom.components.base import features, tfrecord
from darkroom.components.base.processes import Forked, ForkServer
from darkroom.pipeline.config import Config, load
from darkroom.pipeline.history import status
from darkroom.pipeline.ingest import digits
from darkroom.pipeline.running import lock
from tests import databases, model_servers

REPOSITORY = Path(__file__).resolve().parent.parent

# As serving/imports.py does; what the tests import takes a process half a minute else.
gc.disable()

# How long a check takes says nothing on a shared machine.
hypothesis.settings.register_profile("darkroom", deadline=None)
hypothesis.settings.load_profile("darkroom")

# Seconds after which what hangs fails its test; no statement about speed, also of a busy machine.
PATIENCE = 1800
# Seconds for which a command and all that it started may use no processor.
IDLE = 180


# What takes minutes begins first, or it would end alone.
LONGEST = (
    "airflow", "run_local", "pipeline", "multi_worker", "benchmarks", "stages", "search", "tuner",
    "beam",
)  # fmt: skip


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Orders the tests, and keeps those that share a module's fixtures in one process."""

    def rank(item: pytest.Item) -> int:
        name = item.path.stem.removeprefix("test_")
        return LONGEST.index(name) if name in LONGEST else len(LONGEST)

    items.sort(key=rank)
    for item in items:
        fixtures = item._fixtureinfo.name2fixturedefs
        shared = sorted(name for name, made in fixtures.items() if made[-1].scope == "module")
        # Tests of a long module that share nothing go by themselves, but for those of the run that
        # is made once for all: elsewhere they would only wait for it.
        alone = not shared and rank(item) < len(LONGEST) and "small" not in fixtures
        group = [item.path.stem, *shared, *([item.name] if alone else [])]
        item.add_marker(pytest.mark.xdist_group(":".join(group)))


def pytest_collection_finish() -> None:
    """Collects garbage again, now that all modules are imported."""
    gc.freeze()
    gc.enable()


def show_as(page: webdriver.Chrome, width: int, scheme: str) -> None:
    """Has a page in a window of so many pixels, where the system's colours are light or dark."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "darkroom", *arguments]


def environment(source: Path = REPOSITORY) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(source), "COLUMNS": "100", "NO_COLOR": "1"}


def darkroom(*arguments: str, cwd: Path, source: Path = REPOSITORY) -> Any:
    """Runs a command to its end; stdout and stderr together in ``stdout``.

    A run of these sources is forked from a process that has imported TensorFlow and TFX.
    """
    if arguments[:1] != ("run",) or source != REPOSITORY:
        return python(*command(*arguments)[1:], cwd=cwd, source=source)
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        process = fork_server().start(
            "darkroom.__main__",
            arguments,
            environment=environment(),
            folder=str(cwd),
            stdout=output.fileno(),
        )
        wait(process)
        output.seek(0)
        return subprocess.CompletedProcess(arguments, process.wait(), output.read())


@functools.cache
def fork_server() -> ForkServer:
    """It has imported TensorFlow and TFX."""
    with open(os.devnull, "wb") as nowhere:
        modules = ("darkroom.pipeline.pipeline", "darkroom.__main__")
        server = ForkServer.importing(modules, environment(), nowhere.fileno())
    atexit.register(server.close)
    return server


def python(
    *words: str, cwd: Path | None = None, source: Path = REPOSITORY, **variables: str
) -> Any:
    """The same of anything that Python runs."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=cwd,
            env={**environment(source), **variables},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        wait(process)
        output.seek(0)
        return subprocess.CompletedProcess(words, process.returncode, output.read())


def wait(process: subprocess.Popen[Any] | Forked) -> None:
    """Until it ends; one that has stopped working is killed, and fails the test."""
    used, last = 0.0, time.monotonic()
    while time.monotonic() - last < IDLE:
        if _has_ended(process):
            return
        now = _processor_seconds(process.pid)
        if now != used:
            used, last = now, time.monotonic()
    os.kill(process.pid, signal.SIGKILL)
    pytest.fail(f"{process} hangs: it has used no processor for {IDLE} s")


def _has_ended(process: subprocess.Popen[Any] | Forked) -> bool:
    """Waits for it, a second at most."""
    try:
        if isinstance(process, Forked):  # a child of the fork server
            psutil.Process(process.pid).wait(timeout=1)
        else:
            process.wait(timeout=1)
    except (subprocess.TimeoutExpired, psutil.TimeoutExpired):
        return False
    except psutil.NoSuchProcess:
        pass
    return True


def _processor_seconds(pid: int) -> float:
    """Of a process and its children, also theirs."""
    seconds = 0.0
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                seconds += sum(each.cpu_times())
    return seconds


@dataclass
class Project:
    """A folder of a user's, with a configuration file in it."""

    folder: Path
    options: tuple[str, ...] = ("--config", "config.yaml")

    def run(self, *overrides: str, source: Path = REPOSITORY) -> Any:
        return darkroom("run", *self._with(overrides), cwd=self.folder, source=source)

    def status(self) -> dict[str, Any]:
        """What ``darkroom status --json`` prints, without a process for it."""
        config = load(self.folder / "config.yaml", [f"root={self.folder / 'runs'}"])
        found = status.latest(config, lock.alive(config)).as_dict()
        read: dict[str, Any] = json.loads(json.dumps(found))
        return read

    def copied(self, folder: Path) -> list[Path]:
        """Copies what is in it to another folder; pictures there, of its report's examples."""
        shutil.copytree(self.folder / "runs", folder / "runs")
        shutil.copy(self.folder / "config.yaml", folder)
        reports = folder / "runs" / "small" / "artifacts" / "Report" / "report"
        return sorted(reports.glob("*/pictures/example-*.png"))

    def states(self) -> dict[str, str]:
        return {node["id"]: node["state"] for node in self.status()["nodes"]}

    def _with(self, overrides: Sequence[str]) -> list[str]:
        return [*self.options, *(word for o in overrides for word in ("--set", o))]


# A search of two trials and a training of a few epochs on the real digits.
SMALL_CONFIG = """
name: small
data: {bundled: digits}
preprocessing: {height: 8, width: 8, channels: 1}
model: {filters: [16], units: [32]}
training: {recipe: none, epochs: 4, batch_size: 32, learning_rate: 3e-3}
tuner:
  enabled: true
  max_trials: 2
  epochs: 1
  space:
    training.learning_rate: {min: 1e-3, max: 1e-2, sampling: log}
    training.batch_size: {choices: [32, 64]}
evaluation: {min_accuracy: 0.5}
serving: {validation: {enabled: false}}
"""
# Where the model is tried on a server before it is pushed.
TRIED_CONFIG = SMALL_CONFIG.replace("{enabled: false}", "{requests: 5}")


@pytest.fixture(scope="session", autouse=True)
def _as_in_a_run() -> None:
    from darkroom.components.compat import beam

    beam.remember_signatures()


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Project:
    """A project whose pipeline has run once, for all processes; nobody may change it."""
    base = tmp_path_factory.getbasetemp()
    project = Project((base if worker_id == "master" else base.parent) / "small")
    output = project.folder / "first_run.txt"
    project.folder.mkdir(exist_ok=True)
    with open(project.folder / "first_run.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # whoever comes second waits for the first one's run
        if not output.exists():
            (project.folder / "config.yaml").write_text(TRIED_CONFIG)
            result = project.run()
            assert result.returncode == 0, result.stdout
            output.write_text(result.stdout, encoding="utf-8")
    return project


@pytest.fixture
def small_config(small: Project) -> Config:
    """Its configuration, from wherever."""
    return load(small.folder / "config.yaml", [f"root={small.folder / 'runs'}"])


@pytest.fixture(scope="session")
def digit_records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the bundled digits' TFRecords."""
    folder = tmp_path_factory.mktemp("digits") / "data"
    digits.write(folder)
    return folder


@pytest.fixture(scope="session")
def digit_images(digit_records: Path) -> list[bytes]:
    """The encoded images of the digits' eval split."""
    [file] = (digit_records / "eval").iterdir()
    examples = map(tfrecord.decode_example, tfrecord.read(file))
    return [example[features.IMAGE_KEY][1][0] for example in examples]


def encoded(pixels: np.ndarray, file_format: str = "PNG") -> bytes:
    """An image file of pixels."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=file_format)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def write_photos() -> Callable[..., None]:
    """Writes TFRecords of JPEG patches, cut from scikit-learn's two photographs."""
    photos = dict(zip(("china", "flower"), load_sample_images().images, strict=True))

    def write(path: Path, classes: dict[str, str], count: int, seed: int) -> None:
        generator = np.random.default_rng(seed)
        records = []
        for number in range(count):
            label, photo = list(classes.items())[number % len(classes)]
            pixels = photos[photo]
            y, x = (generator.integers(0, size - 48) for size in pixels.shape[:2])
            height, width = generator.integers(24, 48, size=2)
            values = {
                features.IMAGE_KEY: encoded(pixels[y : y + height, x : x + width], "JPEG"),
                features.LABEL_KEY: label.encode(),
            }
            records.append(tfrecord.encode_example(values))
        path.parent.mkdir(parents=True, exist_ok=True)
        tfrecord.write(path, records)

    return write


@pytest.fixture
def examples() -> Any:
    """96 points in three classes, as the network takes them."""
    from tests.arrays import of_arrays  # TensorFlow only where it is needed

    generator = np.random.default_rng(0)
    labels = np.arange(96) % 3
    points = generator.normal(size=(96, 6)) + np.eye(3)[labels].repeat(2, axis=1)
    return of_arrays(points.astype("float32"), labels)


@pytest.fixture(scope="session")
def served_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the models half_plus_two, every and images; nobody may change it."""
    from tests import serving_models

    folder = tmp_path_factory.mktemp("models")
    serving_models.half_plus_two(folder / "half_plus_two" / "00000123", warmup=True)
    serving_models.every(folder / "every" / "1")
    serving_models.images(folder / "images" / "1")
    return folder


@pytest.fixture(scope="session")
def server(
    served_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator["model_servers.Server"]:
    """A server of these models, with batching and metrics; nobody may reconfigure it."""
    folder = tmp_path_factory.mktemp("server")
    names = sorted(path.name for path in served_models.iterdir())
    models = "".join(
        f'config {{ name: "{name}" base_path: "{served_models / name}" '
        f'model_platform: "tensorflow" version_labels {{ key: "stable" value: {version} }} }}\n'
        for name in names
        for version in [int(next((served_models / name).iterdir()).name)]
    )
    (folder / "models.config").write_text(f"model_config_list {{ {models} }}")
    (folder / "batching.config").write_text("max_batch_size { value: 32 }")
    (folder / "monitoring.config").write_text(
        'prometheus_config { enable: true path: "/monitoring/prometheus/metrics" }'
    )
    with model_servers.running(
        folder,
        f"--model_config_file={folder / 'models.config'}",
        "--enable_batching",
        f"--batching_parameters_file={folder / 'batching.config'}",
        f"--monitoring_config_file={folder / 'monitoring.config'}",
        "--max_request_bytes=4000000",
        "--rest_api_timeout_in_ms=20000",
    ) as running:
        yield running


@pytest.fixture(scope="session")
def mysql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[databases.Server]:
    with databases.running(tmp_path_factory.mktemp("mysql")) as server:
        yield server


@pytest.fixture(scope="session")
def browser() -> Iterator[webdriver.Chrome]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.fail("There is no Chromium: make browser, or apt-get install chromium-driver.")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    # In a container there is neither a user to confine it to nor much of /dev/shm.
    for option in ("headless=new", "hide-scrollbars", "no-sandbox", "disable-dev-shm-usage"):
        options.add_argument(f"--{option}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with webdriver.Chrome(options=options, service=Service(driver)) as started:
        yield started
