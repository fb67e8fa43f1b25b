"""Training and searching on several machines, here as processes."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import keras_tuner
import psutil
import pytest

from darkroom.components.base import results
from darkroom.components.training import checkpoint, dataset, multi_worker, stages
from darkroom.components.training.distribution import shared_work
from darkroom.components.training.model_run import TrainingHistory
from darkroom.components.training.stages import TrainingJob
from darkroom.components.tuning import trial
from darkroom.components.tuning.messages import SearchFile
from darkroom.serving import files
from tests import model_servers
from tests.conftest import PATIENCE, Project, command, darkroom, environment

pytestmark = pytest.mark.slow

# The search goes on for longer than a helper takes to start.
EPOCHS, TRIALS = 7, 8
# Batch normalisation belongs to it; dropout would draw otherwise on each machine.
CONFIG = f"""
name: several
data: {{bundled: digits}}
preprocessing: {{height: 8, width: 8, channels: 1}}
model: {{filters: [8], units: [16], dropout: 0.0}}
training: {{recipe: none, epochs: {EPOCHS}, batch_size: 32, strategy: multi_worker}}
tuner:
  enabled: true
  max_trials: {TRIALS}
  epochs: 20
  workers: 1
  space: {{training.learning_rate: {{min: 2e-3, max: 4e-3}}}}
evaluation: {{min_accuracy: 0.5, min_class_recall: 0.0}}
serving: {{validation: {{enabled: false}}}}
"""


class Machines:
    """A chief and others that see the same folder."""

    def __init__(self, folder: Path):
        self.project = Project(folder)
        (folder / "config.yaml").write_text(CONFIG)
        self.artifacts = folder / "runs" / "several" / "artifacts"
        chief, worker, oracle = (model_servers.free_port() for _ in range(3))
        self._cluster = {"chief": [f"127.0.0.1:{chief}"], "worker": [f"127.0.0.1:{worker}"]}
        self._oracle = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": str(oracle)}
        self.running: dict[str, subprocess.Popen] = {}

    def start(self, name: str) -> None:
        """The chief, ``worker``, which helps to train, or another, which helps to search."""
        kind = "chief" if name == "chief" else "worker"
        task = {"cluster": self._cluster, "task": {"type": kind, "index": 0}}
        given = {}
        if name in ("chief", "worker"):
            given |= {"TF_CONFIG": json.dumps(task)}
        if name != "worker":
            given |= {**self._oracle, "KERASTUNER_TUNER_ID": name}
        verb = "run" if name == "chief" else "worker"
        with (self.project.folder / f"{name}.txt").open("a") as log:
            self.running[name] = subprocess.Popen(
                command(verb, *self.project.options),
                cwd=self.project.folder,
                env={**environment(), **given},
                stdout=log,
                stderr=log,
            )

    def said(self, name: str) -> str:
        return (self.project.folder / f"{name}.txt").read_text(encoding="utf-8")

    def wait(self, until: Callable[[], Any], *names: str) -> None:
        end = time.monotonic() + PATIENCE
        while not until():
            assert time.monotonic() < end
            for name in names:
                assert self.running[name].poll() is None, self.said(name)
            time.sleep(0.05)

    def kill(self, name: str) -> list[psutil.Process]:
        """As a machine that is lost; returns the processes that it had started."""
        started = psutil.Process(self.running[name].pid).children(recursive=True)
        os.kill(self.running[name].pid, signal.SIGKILL)
        self.running[name].wait()
        return started

    def end(self, name: str) -> None:
        assert self.running.pop(name).wait(PATIENCE) == 0, self.said(name)

    def epochs(self) -> int:
        """How many the checkpoint has."""
        for path in self.artifacts.glob("Trainer/checkpoints/*.npz"):
            if (state := checkpoint.read(str(path))) is not None:
                return state.epoch
        return 0

    def search(self) -> Path | None:
        """Its folder, once other machines can take part."""
        found = files.read_json(str(self.artifacts / results.SEARCH_FILE))
        return found and Path(found["folder"])

    def ongoing(self) -> dict[str, str]:
        """Trials by who runs them."""
        return dict(self._oracle_state().get("ongoing_trials", {}))

    def helping(self) -> list[tuple[str, str]]:
        """Machines that run a trial for the chief, and that trial."""
        return [(name, trial) for name, trial in self.ongoing().items() if name in ("b", "c")]

    def ended(self) -> list[str]:
        """Trials that are done."""
        return list(self._oracle_state().get("end_order", []))

    def _oracle_state(self) -> dict[str, Any]:
        folder = self.search()
        return (folder and files.read_json(str(folder / "oracle.json"))) or {}


class Run(NamedTuple):
    """What there is to look at when all is over."""

    machines: Machines
    left: list[psutil.Process]  # what killed machines had started
    lost_trial: str
    epochs: tuple[int, int]  # that were done when the worker was killed, and when the chief was


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A search and a training, in both a worker and the chief killed and started again."""
    several = Machines(tmp_path_factory.mktemp("several"))
    try:
        for name in ("worker", "b", "c", "chief"):  # before there is anything to help with
            several.start(name)
        everybody = list(several.running)
        # Whichever of both comes first: on a busy machine the other may find nothing left to do.
        several.wait(lambda: several.helping(), *everybody)
        helper, lost_trial = several.helping()[0]
        left = several.kill(helper)
        several.start(helper)
        several.wait(lambda: len(several.ended()) >= 2, *everybody)
        left += several.kill("chief")
        several.start("chief")
        several.wait(lambda: several.epochs() >= 2, "chief", "worker")
        left += several.kill("worker")
        first = several.epochs()
        several.start("worker")
        several.wait(lambda: several.epochs() >= first + 2, "chief", "worker")
        left += several.kill("chief")
        second = several.epochs()
        several.start("chief")
        for name in ("b", "c", "chief", "worker"):
            several.end(name)
        yield Run(several, left, lost_trial, (first, second))
    finally:
        for process in several.running.values():
            process.kill()


def test_a_model_is_pushed_and_nothing_is_left_running(run: Run) -> None:
    assert len(run.machines.project.status()["versions"]) == 1
    assert len(run.left) >= 3
    assert psutil.wait_procs(run.left, timeout=PATIENCE)[1] == []


def test_all_trials_are_done_once_and_come_to_what_they_would_alone(
    run: Run, tmp_path: Path
) -> None:
    folder = run.machines.search()
    assert folder is not None
    oracle = files.read_json(str(folder / "oracle.json"))
    assert sorted(oracle["end_order"]) == [f"{number}" for number in range(TRIALS)]
    assert {t["status"] for t in oracle["trials"]} == {"COMPLETED"}
    assert {path.name for path in (folder / "alive").iterdir()} >= {"b", "c"}

    search = SearchFile.read(str(folder))
    splits = dataset.kept(search.examples, 2**30)
    candidate = trial.Candidate(search.settings, search.classes)
    [state] = [t for t in oracle["trials"] if t["trial_id"] == run.lost_trial]
    hp = keras_tuner.HyperParameters.from_config(state["hyperparameters"])
    alone = trial.Trials(candidate, splits, str(tmp_path), maximize=True).run("0", hp)
    found = trial.Folder(str(folder), run.lost_trial).read()
    assert found is not None
    assert found.metrics == pytest.approx(alone.metrics, abs=1e-6)


def test_the_losses_are_those_of_one_machine(run: Run, tmp_path: Path) -> None:
    [path] = run.machines.artifacts.glob(f"Trainer/model_run/*/{TrainingHistory.FILE}")
    written = files.read_json(str(path))
    first, second = run.epochs
    assert written["resumed_at"] == second
    assert 2 <= first < first + 2 <= second < EPOCHS
    history = written["history"]
    # On the worker, which writes nothing but its log: each epoch once, in whichever process.
    lines = re.findall(r" - loss: ([\d.]+) .*val_loss: ([\d.]+)", run.machines.said("worker"))
    said = [
        (f"{a:.4f}", f"{b:.4f}") for a, b in zip(history["loss"], history["val_loss"], strict=True)
    ]
    assert lines == [pair for pair in said if pair in lines]
    # A kill may come between the chief's checkpoint of an epoch and the worker's line of it.
    assert set(said) - set(lines) <= {said[first - 1], said[second - 1]}

    work = shared_work.Work.read(str(run.machines.artifacts / multi_worker.FILE))
    assert work is not None
    assert (work.state, work.number) == ("done", 3)
    job = TrainingJob.unpack(work.facts)
    alone = job.model_copy(
        update={
            "settings": job.settings.with_values({"training.strategy": "mirrored"}),
            "checkpoint_folder": str(tmp_path / "checkpoints"),
            "run_folder": str(tmp_path / "run"),
        }
    )
    splits = dataset.kept(job.examples, job.config.training.cache_bytes)
    expected = stages.Training(alone, splits).run().history
    assert set(history) == set(expected)
    for name, values in expected.items():
        assert history[name] == pytest.approx(values, abs=1e-3), name


def test_what_was_lost_is_told(run: Run) -> None:
    said = run.machines.said("chief")
    first, second = run.epochs
    assert re.search(r"goes on with a search of which \d trials are done", said)
    assert f"The connection to worker 0 was lost. The training goes on after epoch {first}" in said
    assert f"{EPOCHS} epochs, the first {second} of them in an interrupted run" in said
    assert "other machines take part with: darkroom worker" in said
    for name in ("worker", "b", "c"):
        assert "takes part, number 1" in run.machines.said(name)


def test_what_a_stopped_run_left_is_not_meant(tmp_path: Path) -> None:
    """As when a TFJob is deleted, and applied again with other machines."""
    several = Machines(tmp_path)
    path = several.artifacts / multi_worker.FILE
    others = {"chief": ["10.0.0.1:2222"], "worker": ["10.0.0.2:2222", "10.0.0.3:2222"]}
    shared_work.announce(str(path), cluster=others)
    several.start("worker")
    try:
        several.wait(lambda: "names other machines here" in several.said("worker"), "worker")
        shared_work.announce(str(path), cluster={**others, "worker": []})
        told = "takes part, number 2"
        several.wait(lambda: told in several.said("worker"), "worker")
    finally:
        several.running["worker"].kill()
        several.running["worker"].wait()


@pytest.mark.parametrize(
    ("given", "overrides", "expected"),
    [
        ({}, [], "There is nothing to help with: TF_CONFIG isn't set"),
        ({"TF_CONFIG": "{"}, [], "TF_CONFIG is not valid JSON"),
        ({"TF_CONFIG": "chief"}, [], "is chief 0, the chief. Start darkroom run"),
        ({"TF_CONFIG": "worker"}, ["training.strategy=mirrored"], "Set it to multi_worker, here"),
        ({"TF_CONFIG": "worker", "KERASTUNER_TUNER_ID": "b"}, [], "Start a darkroom worker for"),
        ({"KERASTUNER_TUNER_ID": "b"}, [], "KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT must"),
        (
            {"KERASTUNER_TUNER_ID": "chief", "KERASTUNER_ORACLE_IP": "a",
             "KERASTUNER_ORACLE_PORT": "1"}, [], "KERASTUNER_TUNER_ID is chief, the chief",
        ),
    ],
)  # fmt: skip
def test_a_worker_that_can_t_help_says_so(
    given: dict[str, str],
    overrides: list[str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    several = Machines(tmp_path)
    for name, value in given.items():
        if value in ("chief", "worker") and name == "TF_CONFIG":
            task = {"cluster": several._cluster, "task": {"type": value, "index": 0}}
            value = json.dumps(task)
        monkeypatch.setenv(name, value)
    options = [word for override in overrides for word in ("--set", override)]
    result = darkroom("worker", *several.project.options, *options, cwd=tmp_path)
    assert result.returncode == 1
    assert expected in result.stdout


def test_a_run_on_several_machines_is_refused_before_anything_heavy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = Machines(tmp_path)
    result = darkroom("run", *several.project.options, cwd=tmp_path)
    assert result.returncode == 1
    assert "TF_CONFIG, which names the machines, isn't set" in result.stdout
    assert "loading TFX" not in result.stdout
