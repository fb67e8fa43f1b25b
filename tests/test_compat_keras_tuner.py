"""What we use of KerasTuner that is private: an upgrade that changes it fails here by name."""

from concurrent import futures
from pathlib import Path

import grpc
import keras_tuner
import pytest
from keras_tuner import oracles

from darkroom.components.compat import keras_tuner as compat


class _Oracle(compat.Oracle, oracles.RandomSearchOracle):
    def save(self) -> None: ...


def space() -> keras_tuner.HyperParameters:
    hp = keras_tuner.HyperParameters()
    hp.Choice("size", [1, 2, 3])
    hp.Choice("kind", ["a", "b"])
    return hp


def oracle() -> _Oracle:
    return _Oracle("val_loss", max_trials=9, hyperparameters=space(), max_retries_per_trial=1)


def end(searched: keras_tuner.Oracle, trial: keras_tuner.engine.trial.Trial, status: str) -> None:
    if status == "COMPLETED":
        searched.update_trial(trial.trial_id, {"val_loss": 1.0})
    trial.status = status
    searched.end_trial(trial)


def test_trials_have_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    searched = oracle()
    end(searched, searched.create_trial("a"), "COMPLETED")
    assert list(tmp_path.iterdir()) == [], "KerasTuner no longer writes trials by _save_trial"


def test_the_next_trials_can_be_chosen() -> None:
    searched = oracle()
    for _ in range(3):
        end(searched, searched.create_trial("a"), "COMPLETED")
    searched.run_next(["2", "0"])
    order = [searched.create_trial(name).trial_id for name in "abc"]
    assert order == ["2", "0", "3"], "KerasTuner no longer takes the last of _retry_queue first"


def test_a_trial_can_get_its_retries_back() -> None:
    searched = oracle()
    for _ in range(2):
        end(searched, searched.create_trial("a"), "INVALID")
    assert searched.end_order == ["0"]
    searched.end_order = []
    searched.forget_runs("0")
    searched.run_next(["0"])
    end(searched, searched.create_trial("a"), "INVALID")
    assert searched.end_order == [], "KerasTuner no longer counts runs in _run_times"


def grid() -> compat.GridSearchOracle:
    return compat.GridSearchOracle("val_loss", hyperparameters=space())


def test_a_grid_goes_on_in_a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("save", "_save_trial"):
        monkeypatch.setattr(compat.GridSearchOracle, name, lambda *_: None)
    first, values = grid(), []
    for _ in range(3):
        trial = first.create_trial("a")
        values.append(trial.hyperparameters.values)
        end(first, trial, "COMPLETED")
    second = grid()
    second.trials = first.trials
    second.set_state(first.get_state())
    while (trial := second.create_trial("a")).status == "RUNNING":
        values.append(trial.hyperparameters.values)
        end(second, trial, "COMPLETED")
    combinations = {(each["size"], each["kind"]) for each in values}
    assert len(values) == len(combinations) == 6, "the grid keeps its place differently"


def test_a_grid_needn_t_wait_for_a_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("save", "_save_trial"):
        monkeypatch.setattr(compat.GridSearchOracle, name, lambda *_: None)
    searched = grid()
    for name in "abc":
        trial = searched.create_trial(name)
        assert trial.status == "RUNNING", "KerasTuner no longer goes on from _populate_next"
        searched.continue_after(trial.trial_id)


def test_hyperband_says_how_large_it_is() -> None:
    searched = oracles.HyperbandOracle("val_loss", max_epochs=4, factor=3, hyperparameters=space())
    assert compat.hyperband_brackets(searched) == [[(3, 4)], [(5, 2), (2, 4)]], (
        "KerasTuner's Hyperband computes its rounds differently"
    )


def test_the_environment_names_the_chief(monkeypatch: pytest.MonkeyPatch) -> None:
    assert compat.is_chief() is None
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", "1")
    with pytest.raises(RuntimeError, match="KERASTUNER_TUNER_ID"):
        compat.is_chief()
    for name, expected in (("chief", True), ("far-0", False)):
        monkeypatch.setenv("KERASTUNER_TUNER_ID", name)
        assert compat.is_chief() is expected


def test_a_server_answers_kerastuners_clients(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=1))
    searched = oracle()
    compat.serve(searched, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", str(port))
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "far-0")
    try:
        tuner = keras_tuner.engine.base_tuner.BaseTuner(oracle(), directory=str(tmp_path))
        client = tuner.oracle
        trial = client.create_trial("far-0")
    finally:
        server.stop(grace=None)
    assert trial.trial_id in searched.trials
