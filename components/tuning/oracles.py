"""KerasTuner's oracles, which choose the values of trials, with a state that survives a kill."""

import contextlib
import itertools
import math
import os
from collections.abc import Iterator
from typing import NamedTuple

import keras_tuner
from keras_tuner import oracles
from keras_tuner.engine import hyperparameters as declarations
from keras_tuner.engine.trial import Trial, TrialStatus

from darkroom.components.base import sections
from darkroom.components.base.errors import DarkroomError
from darkroom.components.base.settings import TunerSettings, Value
from darkroom.components.compat import keras_tuner as compat
from darkroom.serving import files


class Durable(compat.Oracle):
    """An oracle whose state is one file, replaced in one step; KerasTuner writes many."""

    path = ""  # of the file
    trials: dict[str, Trial]
    ongoing_trials: dict[str, Trial]
    end_order: list[str]
    _holding = False

    def get_state(self) -> dict[str, object]:
        trials = [trial.get_state() for trial in self.trials.values()]
        return {**super().get_state(), "trials": trials}

    def save(self) -> None:
        """Replaces the file in one step."""
        if not self._holding:
            files.write_json(self.path, self.get_state())

    def reload(self) -> None:
        """Goes on from the file; trials that were running are the next to run."""
        state: compat.State = files.read_json(self.path)
        trials = map(Trial.from_state, state["trials"])
        self.trials = {trial.trial_id: trial for trial in trials}
        self.set_state(state)
        interrupted = [trial.trial_id for trial in self.ongoing_trials.values()]
        self.run_next(sorted(interrupted, key=self.start_order.index))
        self.ongoing_trials = {}

    @keras_tuner.synchronized
    def end_trial(self, trial: Trial) -> None:
        """Ends a trial, with one write; does nothing for one that ``lose_trial`` has taken back."""
        if all(ongoing.trial_id != trial.trial_id for ongoing in self.ongoing_trials.values()):
            return
        with self._one_write():
            super().end_trial(trial)

    @keras_tuner.synchronized
    def lose_trial(self, trial_id: str, message: str | None) -> None:
        """Takes back a running trial whose process is gone: it runs once again.

        ``message`` says why; None: it is not the trial's fault, and doesn't count.
        """
        trial = self.trials[trial_id]
        if message is not None:
            trial.status, trial.message = TrialStatus.INVALID, message
            self.end_trial(trial)
            return
        with self._one_write():
            self.run_next([trial_id])
            for tuner_id, ongoing in list(self.ongoing_trials.items()):
                if ongoing.trial_id == trial_id:
                    del self.ongoing_trials[tuner_id]

    @keras_tuner.synchronized
    def run_ended_again(self) -> None:
        """Makes trials that ended the next to run, as if they never had."""
        with self._one_write():
            for trial_id in self.end_order:
                self.trials[trial_id].status = TrialStatus.RUNNING
                self.forget_runs(trial_id)
            self.run_next(self.end_order)
            self.end_order = []

    def to_go_on_with(self) -> set[str]:
        """Ids of trials whose checkpoints a later trial may go on from."""
        return set()

    @contextlib.contextmanager
    def _one_write(self) -> Iterator[None]:
        held, self._holding = self._holding, True
        try:
            yield
        finally:
            self._holding = held
        self.save()


class _RandomSearch(Durable, oracles.RandomSearchOracle): ...


class _Bayesian(Durable, oracles.BayesianOptimizationOracle): ...


class _GridSearch(Durable, compat.GridSearchOracle):
    """Grid search that gives each trial at once; KerasTuner's waits until one has ended."""

    def populate_space(self, trial_id: str) -> dict[str, object]:
        # A trial gets the defaults of hyperparameters that a model has only asked for since.
        for trial in self.trials.values():
            space = self.get_space()
            space.values = trial.hyperparameters.values
            for entry in space.space:
                if space.is_active(entry):
                    space.values.setdefault(entry.name, entry.default)
        response: dict[str, object] = super().populate_space(trial_id)
        if response["status"] == TrialStatus.RUNNING:
            self.continue_after(trial_id)
        return response


class _Hyperband(Durable, oracles.HyperbandOracle):
    """Hyperband in which a failed trial is the worst of its round; KerasTuner's waits for it."""

    hyperband_iterations: int

    def populate_space(self, trial_id: str) -> dict[str, object]:
        failed = [trial for trial in self.trials.values() if trial.status == TrialStatus.FAILED]
        worst = -math.inf if self.objective.direction == "max" else math.inf
        for trial in failed:
            trial.status, trial.score = TrialStatus.COMPLETED, worst
        try:
            response: dict[str, object] = super().populate_space(trial_id)
        finally:
            for trial in failed:
                trial.status, trial.score = TrialStatus.FAILED, None
        return response

    def set_state(self, state: compat.State) -> None:
        wanted = self.hyperband_iterations
        super().set_state(state)
        # With fewer iterations than are done already the search would never end.
        self.hyperband_iterations = max(wanted, state["current_iteration"] + 1)

    @keras_tuner.synchronized
    def to_go_on_with(self) -> set[str]:
        brackets = oracles.HyperbandOracle.get_state(self)["brackets"]
        return {entry["id"] for b in brackets for trials in b["rounds"] for entry in trials}


class _List(Durable):
    def __init__(self, trials: list[dict[str, Value]], **options: object):
        super().__init__(max_trials=len(trials), **options)
        self._values = trials

    def populate_space(self, trial_id: str) -> dict[str, object]:
        # KerasTuner asks no further than ``max_trials``.
        return {"status": TrialStatus.RUNNING, "values": dict(self._values[len(self.trials)])}


def create(config: TunerSettings, folder: str) -> Durable:
    """The oracle of the ``tuner`` section, with its state in the folder of the search."""
    tuner = config.tuner
    common: dict[str, object] = {
        "objective": objective(tuner),
        "hyperparameters": space(config),
        # KerasTuner takes 0 for none, and draws one.
        "seed": config.training.seed + 1,
        # Only what ends with its process is run again, an error would be the same one.
        "max_retries_per_trial": 1,
        # An error that some values make says nothing about the others.
        "max_consecutive_failed_trials": None,
    }
    most: dict[str, object] = {"max_trials": tuner.max_trials}
    rounds: dict[str, object] = {
        "max_epochs": tuner.epochs or config.training.epochs,
        "factor": tuner.factor,
        "hyperband_iterations": tuner.iterations,
    }
    kinds: dict[str, tuple[type[Durable], dict[str, object]]] = {
        "random": (_RandomSearch, most),
        "bayesian": (_Bayesian, {**most, "num_initial_points": tuner.initial_trials}),
        "grid": (_GridSearch, most),
        "hyperband": (_Hyperband, rounds),
        "list": (_List, {"trials": listed(config)}),
    }
    kind, options = kinds[tuner.algorithm]
    oracle = kind(**options, **common)
    oracle.verbose = 0
    oracle.path = os.path.join(folder, "oracle.json")
    return oracle


def objective(tuner: sections.Tuner) -> keras_tuner.Objective:
    """The objective; raises a DarkroomError where its direction is neither set nor known."""
    if tuner.direction is not None:
        return keras_tuner.Objective(tuner.objective, tuner.direction)
    try:
        return keras_tuner.Oracle(tuner.objective, seed=1).objective  # draws no seed
    except ValueError as error:
        raise DarkroomError(
            "tuner.direction: empty, and it is not known whether more or less of "
            f"{tuner.objective} is better. Set it to max or to min."
        ) from error


def listed(config: TunerSettings) -> list[dict[str, Value]]:
    """``tuner.trials`` with the same keys in each: what one doesn't name is as configured."""
    trials = config.tuner.trials
    names = dict.fromkeys(itertools.chain.from_iterable(trials))
    configured = {name: config.value(name) for name in names if "." in name}
    defaults = {name: value for name, value in configured.items() if isinstance(value, Value)}
    floats = {name for name, value in defaults.items() if isinstance(value, float)}
    return [
        {n: float(v) if n in floats else v for n, v in {**defaults, **trial}.items()}
        for trial in trials
    ]


def space(config: TunerSettings) -> keras_tuner.HyperParameters:
    """KerasTuner's declaration of the hyperparameters; the configured values are the defaults."""
    hp = keras_tuner.HyperParameters()
    for key, values in config.tuner.space.items():
        default = config.value(key)
        if values.choices is not None:
            choices = [float(c) if isinstance(default, float) else c for c in values.choices]
            hp.Choice(key, choices, default=default if default in choices else choices[0])
        else:
            assert default is None or isinstance(default, int | float)
            # The default must be one of the values: in a grid another would be one more.
            exact = values.step is not None or config.tuner.algorithm == "grid"
            _declare(hp, key, values, default, exact)
    trials = listed(config)
    for key in trials[0] if trials else []:
        if all(key in trial for trial in trials):  # else KerasTuner would fill it in where it isn't
            hp.Choice(key, list(dict.fromkeys(trial[key] for trial in trials)))
    return hp


def _declare(
    hp: keras_tuner.HyperParameters,
    key: str,
    values: sections.Range,
    default: float | None,
    exact: bool,
) -> None:
    """Declares numbers, with the default as near as they allow: ``exact``, one of them."""
    # A whole number, or nothing where a whole number can stand, is an Int.
    kind: type[float]
    name, kind = ("Float", float) if isinstance(default, float) else ("Int", int)
    assert values.min is not None
    assert values.max is not None
    low, high = kind(values.min), kind(values.max)
    step = None if values.step is None else kind(values.step)
    numbers = {"min_value": low, "max_value": high, "step": step, "sampling": values.sampling}
    if default is not None:
        default = wanted = min(max(default, low), high)
        if exact:
            declared = getattr(declarations, name)("", **numbers)
            default = min(declared.values, key=lambda value: abs(value - wanted))
    getattr(hp, name)(key, **numbers, default=default)


class Plan(NamedTuple):
    """How much a search is, at most."""

    trials: int
    epochs: int  # of all trials together, with one fit each


def plan(oracle: Durable, config: TunerSettings) -> Plan | None:
    """The size of a search; None where it can't be known, as a model may ask for more."""
    tuner = config.tuner
    if isinstance(oracle, _Hyperband):
        times, trials, epochs = oracle.hyperband_iterations, 0, 0
        for rounds in compat.hyperband_brackets(oracle):
            before = [0, *(each.epochs for each in rounds[:-1])]
            for each, since in zip(rounds, before, strict=True):
                trials += each.trials
                epochs += each.trials * (each.epochs - since)
        return Plan(trials * times, epochs * times)
    most: float = oracle.max_trials or math.inf
    if tuner.algorithm != "list":
        # KerasTuner's grid takes ten values of an interval without steps.
        entries = oracle.get_space().space
        if tuner.algorithm == "grid" or all(isinstance(e, declarations.Choice) for e in entries):
            most = min(most, math.prod(len(list(entry.values)) for entry in entries))
    if most == math.inf:
        return None
    return Plan(int(most), int(most) * (tuner.epochs or config.training.epochs))


def epochs_of(hp: keras_tuner.HyperParameters, config: TunerSettings) -> int:
    """How many epochs a fit with these hyperparameters has, as far as they say."""
    if "tuner/epochs" in hp.values:
        return int(hp.values["tuner/epochs"]) - int(hp.values["tuner/initial_epoch"])
    return int(hp.values.get("training.epochs", config.tuner.epochs or config.training.epochs))


def still_needed(oracle: Durable) -> set[str]:
    """Ids of trials whose checkpoints must all stay: they run, or another may go on from them."""
    needed = oracle.to_go_on_with()
    for trial in list(oracle.trials.values()):  # another machine may add to them meanwhile
        if trial.status in (TrialStatus.RUNNING, TrialStatus.INVALID):
            before = str(trial.hyperparameters.values.get("tuner/trial_id"))
            needed |= {trial.trial_id, before}
    return needed
