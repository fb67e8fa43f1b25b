import itertools
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import keras_tuner
import psutil
import pytest
from PIL import Image

from darkroom.components.base import results
from darkroom.components.training.model_run import TrainingHistory
from darkroom.components.tuning.tuner_results import TunerResults
from tests.conftest import PATIENCE, SMALL_CONFIG, Project, command, environment

pytestmark = pytest.mark.slow

HYPERBAND = (
    SMALL_CONFIG.replace("epochs: 4", "epochs: 6")
    .replace("max_trials: 2", "algorithm: hyperband")
    .replace("epochs: 1", "epochs: 4")
    .replace("  space:", "  carry_over: checkpoint\n  keep_checkpoints: 2\n  space:")
)


def artifacts(project: Project, name: str) -> Path:
    """The newest artifact of a name of the Tuner's."""
    folders = (project.folder / "runs" / "small" / "artifacts" / "Tuner" / name).iterdir()
    return max(folders, key=lambda folder: int(folder.name))


def rows(project: Project) -> list[dict[str, Any]]:
    text = (artifacts(project, "tuner_results") / TunerResults.FILE).read_text()
    found: list[dict[str, Any]] = json.loads(text)
    return found


def test_what_the_node_leaves_is_what_tfx_promises_and_more(small: Project) -> None:
    best = json.loads(
        (artifacts(small, "best_hyperparameters") / "best_hyperparameters.txt").read_text()
    )
    hp = keras_tuner.HyperParameters.from_config(best)
    first, second = rows(small)
    for key in ("training.learning_rate", "training.batch_size"):
        assert hp.get(key) == first[key]
    assert first["score"] >= second["score"]
    for row in (first, second):
        assert row["status"] == "COMPLETED"
        assert (row["seed"], row["epochs"], row["best_epoch"], row["message"]) == (0, 1, 0, None)
        assert row["history"][0]["val_accuracy"] == [row["score"]]
        assert row["seconds"] > 0
    with Image.open(artifacts(small, "tuner_results") / TunerResults.PICTURE) as picture:
        assert picture.width > 500
    status = small.status()
    assert [trial["score"] for trial in status["trials"]] == [first["score"], second["score"]]
    assert status["best_trial"]["score"] == first["score"]


def test_images_are_kept_for_trials_and_trainer(small: Project) -> None:
    searches = small.folder / "runs" / "small" / "artifacts" / results.SEARCHES_FOLDER
    [place] = (searches / results.EXAMPLES_FOLDER).iterdir()
    assert (place / "train" / "inputs").stat().st_size == 1437 * 64  # bytes of 8 by 8


def state(home: Path) -> dict[str, Any]:
    for path in home.glob(f"artifacts/{results.SEARCHES_FOLDER}/*/oracle.json"):
        found: dict[str, Any] = json.loads(path.read_text())
        return found
    return {"end_order": [], "ongoing_trials": {}}


def test_a_killed_search_goes_on_and_trainer_goes_on_with_its_best_trial(tmp_path: Path) -> None:
    project = Project(tmp_path)
    (tmp_path / "config.yaml").write_text(HYPERBAND)
    home = tmp_path / "runs" / "small"
    killed = subprocess.Popen(
        command("run", *project.options), cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + PATIENCE
    while len(state(home)["end_order"]) < 3 or not state(home)["ongoing_trials"]:
        assert killed.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    processes = psutil.Process(killed.pid).children(recursive=True)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    _, alive = psutil.wait_procs(processes, timeout=20)
    assert processes
    assert not alive
    before = state(home)

    result = project.run()
    assert result.returncode == 0, result.stdout
    done = len(before["end_order"])
    assert f"goes on with a search of which {done} trials are done" in result.stdout
    trials = rows(project)
    assert len({trial["trial_id"] for trial in trials}) == len(trials) == 10
    assert {trial["status"] for trial in trials} == {"COMPLETED"}
    epochs = sorted((trial["initial_epoch"], trial["epochs"]) for trial in trials)
    assert epochs == [(0, 2)] * 5 + [(0, 4)] * 3 + [(2, 4)] * 2
    for trial in trials:
        assert len(trial["history"][0]["loss"]) == trial["epochs"]
    # Those that were done are as they were.
    after = state(home)
    assert after["end_order"][:done] == before["end_order"]
    assert len(list(home.glob(f"artifacts/{results.SEARCHES_FOLDER}/*/trial_*/*.npz"))) == 2

    [model_run] = (home / "artifacts" / "Trainer" / "model_run").iterdir()
    trained = json.loads((model_run / TrainingHistory.FILE).read_text())
    searched = trials[0]["history"][0]["loss"]
    assert trained["searched"] == len(searched)
    assert trained["history"]["loss"][: len(searched)] == searched
    assert len(trained["history"]["loss"]) == 6
    assert max(trained["history"]["loss"][len(searched) :]) < searched[0]
    assert f"6 epochs, the first {len(searched)} of them in the search" in result.stdout
    lines = [line for line in result.stdout.splitlines() if line.startswith("  trial ")]
    numbers = [int(line.split()[1]) for line in lines]
    assert sorted(numbers) == sorted(int(trial["trial_id"]) for trial in trials)
    assert all(a != b for a, b in itertools.pairwise(sorted(numbers)))
