import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from darkroom.components.base import processes, progress
from darkroom.components.base.errors import DarkroomError
from darkroom.components.base.settings import TunerSettings
from darkroom.components.training import dataset, devices
from darkroom.components.training.distribution import shared_work
from darkroom.components.tuning import process_pool, tuner
from darkroom.components.tuning.messages import Progress, SearchFile
from darkroom.components.tuning.search import Search, Source
from darkroom.components.tuning.trial import Candidate
from tests.arrays import of_arrays
from tests.conftest import PATIENCE, environment, fork_server
from tests.settings import configured

SMALL = (
    "preprocessing.height=4",
    "preprocessing.width=4",
    "model.name=dense",
    "model.units=[8]",
    "training.batch_size=16",
    "tuner.epochs=2",
    "tuner.max_trials=3",
    "tuner.workers=2",
)
SPACE = "tuner.space={training.learning_rate: {min: 1e-3, max: 1e-2, sampling: log}}"


@pytest.fixture(autouse=True)
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a run, trials' processes are forked."""
    monkeypatch.setattr(processes, "server", fork_server())


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where preprocessed examples are kept."""
    generator = np.random.default_rng(0)
    labels = np.arange(96) % 3
    images = generator.normal(size=(96, 4, 4, 1)) + np.eye(4)[labels][:, :, None, None]
    split = of_arrays(images.astype("float32"), labels)
    place = str(tmp_path_factory.mktemp("kept") / "examples")
    dataset.keep((split, split), place)
    return place


def search(folder: Path, examples: str, *overrides: str) -> Search:
    candidate = Candidate(
        configured(TunerSettings, *SMALL, SPACE, *overrides), classes=["a", "b", "c"]
    )
    return Search(candidate, str(folder), Source(["a"], "b"), examples, lambda: None)


def done(found: Search) -> list[str]:
    return [row.trial_id for row in found.results().rows if row.status == "COMPLETED"]


def test_trials_run_in_processes_of_their_own_and_the_best_is_known(
    tmp_path: Path, examples: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger=progress.LOGGER.name)
    found = search(tmp_path, examples)
    found.search()
    rows = found.results().rows
    assert [row.status for row in rows] == ["COMPLETED"] * 3
    scores = [row.score for row in rows]
    assert scores == sorted(scores, reverse=True)
    for row in rows:
        assert row.score == max(row.history[0]["val_accuracy"])
        assert (row.epochs, row.seed, row.message) == (2, 0, None)
        assert row.seconds > 0
    best = found.get_best_hyperparameters()[0].values
    assert best["training.learning_rate"] == rows[0].hyperparameters["training.learning_rate"]
    assert os.path.exists(found.checkpoint(found.best()))

    tables = [record.trials for record in caplog.records if hasattr(record, "trials")]
    assert tables[0]["planned"] == 3
    assert max(len(table["running"]) for table in tables) == 2
    assert [len(tables[-1][name]) for name in ("running", "ended")] == [0, 3]
    assert tables[-1]["best"].score == rows[0].score
    assert (tables[0]["fraction"], tables[-1]["fraction"], tables[-1]["remaining"]) == (0, 1, 0)

    # A longer budget goes on, an equal one has nothing to do.
    caplog.clear()
    longer = search(
        tmp_path,
        examples,
        "tuner.max_trials=4",
        "tuner.keep_checkpoints=1",
        "tuner.carry_epochs=true",
    )
    longer.search()
    assert len(done(longer)) == 4
    handed = tuner.hand_over(longer, str(tmp_path)).values
    row = longer.results().rows[0]
    assert handed["training.learning_rate"] == row.hyperparameters["training.learning_rate"]
    assert handed["training.epochs"] == row.best_epoch + 1
    assert "goes on with a search of which 3 trials are done" in caplog.text
    assert len(list(Path(longer.folder).rglob("*.npz"))) == 1

    # Other values are another search, which says so.
    caplog.clear()
    search(tmp_path, examples, "tuner.space.training.batch_size={choices: [8, 16]}")
    assert "a new search begins: tuner.space.training.batch_size.choices" in caplog.text


def test_of_equal_trials_the_first_is_the_best_everywhere(tmp_path: Path, examples: str) -> None:
    found = search(tmp_path, examples)
    first, second = (found.oracle.create_trial(name) for name in "ab")
    for trial in (second, first):
        found.oracle.update_trial(trial.trial_id, {"val_accuracy": 0.9})
        trial.status = "COMPLETED"
        found.oracle.end_trial(trial)
    assert found.best().trial_id == found.results().rows[0].trial_id == first.trial_id == "0"


def test_a_search_that_was_killed_before_its_first_trial_is_the_same_one(
    tmp_path: Path, examples: str, caplog: pytest.LogCaptureFixture
) -> None:
    killed = search(tmp_path, examples)
    killed._begin()
    killed._lock.close()
    search(tmp_path, examples)
    assert not caplog.messages


def test_workers_share_the_gpus_that_are_to_be_used(
    tmp_path: Path, examples: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[str] = []

    def start(*args: Any, environment: dict[str, str], **kwargs: Any) -> None:  # there is no GPU
        given.append(environment["CUDA_VISIBLE_DEVICES"])

    monkeypatch.setattr(process_pool.shared_work, "start", start)
    for visible, expected in (("5,7", ["5", "7", "5"]), ("", ["0", "1", "0"])):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        process_pool.ProcessPool(search(tmp_path / visible, examples).oracle, "", 3, gpus=2).start()
        assert given == expected
        given.clear()


def killing(found: Search, monkeypatch: pytest.MonkeyPatch, times: dict[str, int]) -> list[str]:
    """Kills the processes that run these trials, so often each; says which trials were hit."""
    hit: list[str] = []
    take_in = process_pool.TrialProcess.hear

    def hear(process: process_pool.TrialProcess, answer: Progress) -> None:
        take_in(process, answer)
        trial_id = process.trial.trial_id if process.trial is not None else None
        if trial_id is not None and hit.count(trial_id) < times.get(trial_id, 0):
            hit.append(trial_id)
            os.kill(process._process.pid, signal.SIGKILL)

    monkeypatch.setattr(process_pool.TrialProcess, "hear", hear)
    return hit


@pytest.mark.slow
def test_a_trial_whose_process_is_killed_has_a_retry_and_has_failed_when_that_is_killed_too(
    tmp_path: Path, examples: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = search(tmp_path, examples)
    hit = killing(found, monkeypatch, times={"0": 2, "1": 1})
    found.search()
    assert sorted(hit) == ["0", "0", "1"]
    assert sorted(done(found)) == ["1", "2"]
    failed = found.results().rows[-1]
    assert (failed.trial_id, failed.status, failed.score) == ("0", "FAILED", None)
    assert "killed by signal 9" in failed.message
    assert found.oracle.get_best_trials(1)[0].trial_id != "0"


@pytest.mark.slow
def test_where_memory_is_short_fewer_run_at_a_time(
    tmp_path: Path,
    examples: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    free = iter([(50, 100), (1, 100)])
    monkeypatch.setattr(devices, "free_memory", lambda: next(free, (50, 100)))
    caplog.set_level(logging.INFO, logger=progress.LOGGER.name)
    found = search(tmp_path, examples, "tuner.max_trials=4")
    found.search()
    assert sorted(done(found)) == ["0", "1", "2", "3"]
    assert "from now on 1 at a time" in caplog.text
    said = next(n for n, r in enumerate(caplog.records) if "from now on" in r.getMessage())
    tables = [r.trials for r in caplog.records[said:] if hasattr(r, "trials")]
    assert max(len(table["running"]) for table in tables) == 1


def test_processes_that_can_t_even_begin_end_the_search(
    tmp_path: Path, examples: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "server", None)
    monkeypatch.setattr(shared_work, "_CODE", "raise SystemExit(3)")
    with pytest.raises(DarkroomError, match="before they can run one: the last ended with code 3"):
        search(tmp_path, examples).search()


def test_a_folder_that_another_search_is_using(tmp_path: Path, examples: str) -> None:
    first = search(tmp_path, examples)
    with pytest.raises(DarkroomError, match=f"Another search is using .*process {os.getpid()}"):
        search(tmp_path, examples)
    first._lock.close()
    search(tmp_path, examples)


OWN = ("tuner.space={}", "tuner.algorithm=grid", "tuner.max_trials=null", "tuner.workers=1")


def test_values_with_which_nothing_can_be_built_are_failed_trials(
    tmp_path: Path, examples: str
) -> None:
    own = "model.build_fn=tests.searched_models.broken_for_some"
    found = search(tmp_path, examples, own, *OWN)
    found.search()
    good, bad = found.results().rows
    assert (good.hyperparameters["units"], good.status) == (4, "COMPLETED")
    assert (bad.hyperparameters["units"], bad.status) == (8, "FAILED")
    assert "8 units are too many" in bad.message


@pytest.mark.slow
def test_hyperparameters_that_a_model_asks_for_in_a_trial_are_searched_too(
    tmp_path: Path, examples: str
) -> None:
    found = search(tmp_path, examples, "model.build_fn=tests.searched_models.layered", *OWN)
    assert [entry.name for entry in found.oracle.get_space().space] == ["layers", "units_0"]
    found.search()
    two = [values for row in found.results().rows if (values := row.hyperparameters)["layers"] == 2]
    assert {(v["units_0"], v["units_1"]) for v in two} == {(4, 4), (4, 8), (8, 4), (8, 8)}


def test_a_hyperparameter_that_is_named_as_what_is_said_of_trials(
    tmp_path: Path, examples: str
) -> None:
    own = "model.build_fn=tests.searched_models.named_badly"
    for _ in range(2):  # the folder is free again
        with pytest.raises(DarkroomError, match="can't be named score"):
            search(tmp_path, examples, own, *OWN)


def test_examples_that_are_gone_are_the_cause(tmp_path: Path, examples: str) -> None:
    found = search(tmp_path, examples, "tuner.workers=1")
    begin = found._begin

    def begin_and_lose() -> None:
        begin()
        path = Path(found.folder) / SearchFile.FILE
        facts = json.loads(path.read_text())
        path.write_text(json.dumps({**facts, "examples": str(tmp_path / "nowhere")}))

    found._begin = begin_and_lose  # type: ignore[method-assign]
    with pytest.raises(DarkroomError, match=r"None of the 3 trials finished.*nowhere"):
        found.search()


@pytest.mark.slow
def test_when_every_trial_fails_the_first_cause_is_said(
    tmp_path: Path,
    examples: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    own, broken = "model.build_fn=tests.searched_models.broken_for_all", tmp_path / "broken"
    monkeypatch.setenv("DARKROOM_TEST_BROKEN", str(broken))
    found = search(tmp_path, examples, own, *OWN)
    begin = found._begin

    def begin_and_break() -> None:
        begin()
        broken.touch()

    monkeypatch.setattr(found, "_begin", begin_and_break)
    with pytest.raises(DarkroomError, match=r"None of the 2 trials finished.*(?s:.*)no units are"):
        found.search()

    # With what made them fail out of the way they run again.
    broken.unlink()
    again = search(tmp_path, examples, own, *OWN)
    assert "all 2 trials of this search have failed, and run again" in caplog.text
    again.search()
    assert sorted(done(again)) == ["0000", "0001"]


def test_a_model_that_asks_for_nothing_can_t_be_searched(tmp_path: Path, examples: str) -> None:
    own = "model.build_fn=tests.searched_models.fixed"
    with pytest.raises(DarkroomError, match="There is nothing to search"):
        search(tmp_path, examples, own, *OWN)


def test_an_objective_that_the_users_model_doesn_t_measure(tmp_path: Path, examples: str) -> None:
    own = "model.build_fn=tests.searched_models.broken_for_some"
    found = search(
        tmp_path, examples, own, *OWN, "tuner.objective=val_acuracy", "tuner.direction=max"
    )
    with pytest.raises(
        DarkroomError, match=r"no metric val_acuracy; .*Did you mean 'val_accuracy'"
    ):
        found.search()


def test_whether_more_is_better_must_be_said_of_an_unknown_metric(
    tmp_path: Path, examples: str
) -> None:
    own = "model.build_fn=tests.searched_models.broken_for_some"
    with pytest.raises(DarkroomError, match="Set it to max or to min"):
        search(tmp_path, examples, own, *OWN, "tuner.objective=val_sharpness")


@pytest.mark.slow
def test_another_machine_takes_trials_and_may_be_lost(
    tmp_path: Path, examples: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    from darkroom.components.tuning import remote_trials

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", port)
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "chief")
    monkeypatch.setattr(remote_trials, "_SECONDS_OF_PATIENCE", 20)
    found = search(tmp_path, examples, "tuner.max_trials=8", "tuner.workers=1", "tuner.epochs=20")
    path = str(tmp_path / "current.json")
    code = (
        "from darkroom.components.training.distribution import shared_work; "
        f"shared_work.take_part({path!r}, 'darkroom.components.tuning.remote_trials', rejoin=True)"
    )
    command = [sys.executable, "-c", code]
    others = [
        subprocess.Popen(command, env={**environment(), "KERASTUNER_TUNER_ID": f"far-{number}"})
        for number in range(2)
    ]
    lost: list[str] = []
    at_work = remote_trials._at_work

    def watched(oracle: Any, folder: str) -> bool:
        running = oracle.ongoing_trials.get("far-0")
        if running is not None and not lost:
            lost.append(running.trial_id)
            others[0].kill()
        return at_work(oracle, folder)

    give = process_pool.ProcessPool._give_trials

    def give_once_one_is_lost(own: process_pool.ProcessPool) -> bool:
        """The chief leaves the first trials to the others, however long they take to start."""
        return give(own) if lost or len(found.oracle.end_order) > 4 else True

    monkeypatch.setattr(remote_trials, "_at_work", watched)
    monkeypatch.setattr(process_pool.ProcessPool, "_give_trials", give_once_one_is_lost)
    found.search()
    assert others[1].wait(PATIENCE) == 0
    assert lost
    assert len(done(found)) == 8
    assert lost[0] in done(found)
    by_folder = {
        json.loads(p.read_text())["status"] for p in Path(found.folder).rglob("result.json")
    }
    assert by_folder == {"COMPLETED"}


def test_a_machine_that_isn_t_the_chief_is_told_what_to_run(
    tmp_path: Path, examples: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    with pytest.raises(DarkroomError, match='"KERASTUNER_ORACLE_PORT" was not'):
        search(tmp_path, examples)
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", "1")
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "far-0")
    with pytest.raises(
        DarkroomError, match=r"KERASTUNER_TUNER_ID is far-0, .* start darkroom worker"
    ):
        search(tmp_path, examples)
