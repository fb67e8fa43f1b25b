import itertools
import json
from pathlib import Path
from typing import Any

import keras_tuner
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from darkroom.components.base.errors import DarkroomError
from darkroom.components.base.settings import TunerSettings
from darkroom.components.tuning import oracles
from tests import settings as node_settings

SPACE = (
    "tuner.space.training.learning_rate={min: 1e-4, max: 1e-2, sampling: log}",
    "tuner.space.model.activation={choices: [tanh, relu]}",
)
GRID = (
    "tuner.space.training.learning_rate={choices: [1e-3, 3e-3, 1e-2]}",
    "tuner.space.model.activation={choices: [tanh, relu]}",
)
LISTED = "tuner.trials=[{training.learning_rate: 0.01}, {training.batch_size: 32}]"


def configured(*overrides: str) -> TunerSettings:
    common = ("tuner.enabled=true", "tuner.space={}", "tuner.epochs=3")
    return node_settings.configured(TunerSettings, *common, *overrides)


CONFIGS = {
    "random": configured("tuner.max_trials=5", *SPACE),
    "bayesian": configured(
        "tuner.algorithm=bayesian", "tuner.max_trials=5", "tuner.initial_trials=3", *SPACE
    ),
    "grid": configured("tuner.algorithm=grid", "tuner.max_trials=null", *GRID),
    "hyperband": configured("tuner.algorithm=hyperband", "tuner.epochs=4", *SPACE),
    "list": configured("tuner.algorithm=list", LISTED),
}
PLANNED = {"random": 5, "bayesian": 5, "grid": 6, "hyperband": 10, "list": 2}


def opened(config: TunerSettings, folder: Path) -> oracles.Durable:
    """The oracle as a new process has it."""
    folder.mkdir(exist_ok=True)
    oracle = oracles.create(config, str(folder))
    if Path(oracle.path).exists():
        oracle.reload()
    return oracle


def score(values: dict[str, Any]) -> float:
    """Of a search that trains nothing."""
    return sum(value for value in values.values() if isinstance(value, float)) % 1


def end(oracle: oracles.Durable, trial: Any) -> None:
    oracle.update_trial(trial.trial_id, {"val_accuracy": score(trial.hyperparameters.values)})
    trial.status = "COMPLETED"
    oracle.end_trial(trial)


def fail(oracle: oracles.Durable, trial: Any) -> None:
    trial.status, trial.message = "FAILED", "no such layer"
    oracle.end_trial(trial)


def run(
    config: TunerSettings, folder: Path, kills: list[bool], failing: frozenset[int] = frozenset()
) -> oracles.Durable:
    """A whole search with two workers; before every step the process may be killed."""
    waiting = iter(kills)
    oracle = opened(config, folder)
    running: dict[str, Any] = {}
    for turn in itertools.count():
        if next(waiting, False):
            oracle, running = opened(config, folder), {}
        worker = f"worker-{turn % 2}"
        if worker in running:
            trial = running.pop(worker)
            if int(trial.trial_id) in failing:
                fail(oracle, trial)
            else:
                end(oracle, trial)
            continue
        trial = oracle.create_trial(worker)
        if trial.status == "RUNNING":
            running[worker] = trial
        elif not running:
            return oracle
    raise AssertionError


def asked(oracle: oracles.Durable) -> list[dict[str, Any]]:
    return [oracle.trials[trial_id].hyperparameters.values for trial_id in oracle.start_order]


@pytest.mark.parametrize("algorithm", CONFIGS)
def test_as_many_trials_as_planned(algorithm: str, tmp_path: Path) -> None:
    config = CONFIGS[algorithm]
    oracle = run(config, tmp_path, [])
    plan = oracles.plan(oracle, config)
    assert plan is not None
    assert plan.trials == len(oracle.trials) == PLANNED[algorithm]
    trials = oracle.trials.values()
    assert plan.epochs == sum(oracles.epochs_of(trial.hyperparameters, config) for trial in trials)


@pytest.mark.parametrize("algorithm", CONFIGS)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kills=st.lists(st.booleans(), max_size=40), failing=st.frozensets(st.integers(0, 9)))
def test_kills_cost_no_trial_and_repeat_none(
    algorithm: str,
    kills: list[bool],
    failing: frozenset[int],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    config = CONFIGS[algorithm]
    oracle = run(config, tmp_path_factory.mktemp("killed"), kills, failing)
    assert len(oracle.trials) == PLANNED[algorithm]
    assert sorted(oracle.end_order) == sorted(oracle.start_order) == sorted(oracle.trials)
    failed = {int(i) for i, trial in oracle.trials.items() if trial.status == "FAILED"}
    assert failed == {number for number in failing if number < PLANNED[algorithm]}
    assert all(trial.score is None for trial in oracle.trials.values() if trial.status == "FAILED")
    if algorithm in ("random", "grid", "list"):  # the others look at what was found
        undisturbed = run(config, tmp_path_factory.mktemp("undisturbed"), [])
        key = {json.dumps(values, sort_keys=True) for values in asked(oracle)}
        assert key == {json.dumps(values, sort_keys=True) for values in asked(undisturbed)}


@pytest.mark.parametrize("algorithm", ["random", "bayesian", "grid"])
def test_as_many_workers_as_ask_get_a_trial(algorithm: str, tmp_path: Path) -> None:
    oracle = opened(CONFIGS[algorithm], tmp_path)
    trials = [oracle.create_trial(f"worker-{number}") for number in range(4)]
    assert {trial.status for trial in trials} == {"RUNNING"}
    for trial in trials:
        end(oracle, trial)
    assert oracle.create_trial("worker-0").status == "RUNNING"


def test_a_grid_has_every_combination_once(tmp_path: Path) -> None:
    keys = ("training.learning_rate", "model.activation")
    found = [tuple(v[key] for key in keys) for v in asked(run(CONFIGS["grid"], tmp_path, []))]
    assert sorted(found) == sorted(itertools.product([1e-3, 3e-3, 1e-2], ["relu", "tanh"]))


@pytest.mark.parametrize(("algorithm", "planned"), [("random", 8), ("hyperband", 20)])
def test_a_longer_budget_goes_on(algorithm: str, planned: int, tmp_path: Path) -> None:
    first = run(CONFIGS[algorithm], tmp_path, [])
    longer = {
        "random": configured("tuner.max_trials=8", *SPACE),
        "hyperband": configured(
            "tuner.algorithm=hyperband", "tuner.epochs=4", "tuner.iterations=2", *SPACE
        ),
    }[algorithm]
    second = run(longer, tmp_path, [])
    assert len(second.trials) == planned
    assert asked(second)[: len(first.trials)] == asked(first)


def test_what_was_given_up_is_ended_by_whoever_runs_it_then(tmp_path: Path) -> None:
    oracle = opened(CONFIGS["random"], tmp_path)
    given = oracle.create_trial("a").get_state()
    late = keras_tuner.engine.trial.Trial.from_state(given)  # as by the network
    oracle.lose_trial(late.trial_id, None)
    fail(oracle, late)
    assert oracle.end_order == []
    again = oracle.create_trial("b")
    end(oracle, again)
    fail(oracle, late)
    assert oracle.end_order == [late.trial_id]
    assert oracle.trials[late.trial_id].status == "COMPLETED"


def test_with_fewer_iterations_than_are_done_hyperband_ends(tmp_path: Path) -> None:
    twice = configured("tuner.algorithm=hyperband", "tuner.epochs=4", "tuner.iterations=2", *SPACE)
    run(twice, tmp_path, [])
    assert len(run(CONFIGS["hyperband"], tmp_path, []).trials) == 20


def test_a_lost_trial_runs_once_more_and_then_has_failed(tmp_path: Path) -> None:
    oracle = opened(CONFIGS["random"], tmp_path)
    trial = oracle.create_trial("a")
    oracle.lose_trial(trial.trial_id, "its process died")
    again = oracle.create_trial("b")
    assert again.trial_id == trial.trial_id
    oracle.lose_trial(trial.trial_id, "its process died again")
    assert oracle.trials[trial.trial_id].status == "FAILED"
    assert opened(CONFIGS["random"], tmp_path).trials[trial.trial_id].message.endswith("again")
    assert oracle.create_trial("b").trial_id != trial.trial_id


def test_a_trial_that_was_stopped_for_others_sake_keeps_its_chances(tmp_path: Path) -> None:
    oracle = opened(CONFIGS["random"], tmp_path)
    for _ in range(5):
        trial = oracle.create_trial("a")
        assert trial.trial_id == "0"
        oracle.lose_trial(trial.trial_id, None)
    assert oracle.trials["0"].status == "RUNNING"


def test_failed_trials_don_t_end_a_search_and_are_never_best(tmp_path: Path) -> None:
    oracle = opened(CONFIGS["random"], tmp_path)
    for number in range(5):
        trial = oracle.create_trial("a")
        if number == 1:
            end(oracle, trial)
        else:
            fail(oracle, trial)
    assert oracle.create_trial("a").status == "STOPPED"
    assert oracle.get_best_trials(1)[0].trial_id == "1"


def test_what_hyperband_may_go_on_with_is_needed(tmp_path: Path) -> None:
    assert oracles.still_needed(run(CONFIGS["random"], tmp_path / "random", [])) == set()

    oracle = opened(CONFIGS["hyperband"], tmp_path / "hyperband")
    while (trial := oracle.create_trial("a")).status == "RUNNING":
        earlier = trial.hyperparameters.values.get("tuner/trial_id")
        assert {trial.trial_id, earlier or trial.trial_id} <= oracles.still_needed(oracle)
        end(oracle, trial)
    assert oracles.still_needed(oracle) == set()


def test_the_space_is_kerastuners() -> None:
    config = configured(
        "tuner.max_trials=1",
        "tuner.space.training.learning_rate={min: 1e-4, max: 1e-2, sampling: log}",
        "tuner.space.training.batch_size={min: 32, max: 128, step: 32}",
        "tuner.space.model.activation={choices: [tanh, sigmoid]}",
        "tuner.space.model.dropout={choices: [0, 0.5]}",
        "tuner.space.training.patience={min: 2, max: 4}",
        "tuner.space.model.units.0={min: 100, max: 256, step: 50}",
    )
    space = {hp.name: hp for hp in oracles.space(config).space}
    rate = space["training.learning_rate"]
    assert isinstance(rate, keras_tuner.engine.hyperparameters.Float)
    assert (rate.min_value, rate.max_value, rate.sampling) == (1e-4, 1e-2, "log")
    assert rate.default == config.training.learning_rate
    size = space["training.batch_size"]
    assert isinstance(size, keras_tuner.engine.hyperparameters.Int)
    assert list(size.values) == [32, 64, 96, 128]
    # What is configured can't be had here: 128 units, and relu.
    assert space["model.units.0"].default == 150
    assert space["model.activation"].default == "tanh"


def test_trials_of_a_list_have_the_same_keys() -> None:
    assert oracles.listed(CONFIGS["list"]) == [
        {"training.learning_rate": 0.01, "training.batch_size": 64},
        {"training.learning_rate": 0.001, "training.batch_size": 32},
    ]
    # Of whole and other numbers KerasTuner would say that they are of two types; what is empty in
    # the configuration has no value to be listed with.
    mixed = configured(
        "tuner.algorithm=list",
        "tuner.trials=[{model.dropout: 0, training.patience: 3}, {model.dropout: 0.2}]",
    )
    space = oracles.space(mixed).space
    assert [(entry.name, list(entry.values)) for entry in space] == [("model.dropout", [0.0, 0.2])]
    assert oracles.listed(mixed)[1] == {"model.dropout": 0.2}


def test_the_direction_of_an_unknown_metric_is_the_users_to_say() -> None:
    own = "model.build_fn=tests.searched_models.fixed"
    options = (own, "tuner.max_trials=1", "tuner.objective=val_sharpness", SPACE[0])
    with pytest.raises(DarkroomError, match="Set it to max or to min"):
        oracles.create(configured(*options), "")
    said = configured(*options, "tuner.direction=min")
    assert oracles.create(said, "").objective.direction == "min"
