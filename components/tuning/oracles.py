"""KerasTuner's oracles, which choose the values of trials, with a state that survives a kill."""

import contextlib
import itertools
import json
import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

import keras_tuner
from keras_tuner import oracles
from keras_tuner.src.engine.objective import create_objective as objective_of

from darkroom.components.base import settings
from darkroom.components.base.errors import DarkroomError
from darkroom.serving import files

_Status = keras_tuner.engine.trial.TrialStatus


class Durable(keras_tuner.Oracle):
    """An oracle whose state is one file, whole at any moment: nothing is lost, nothing done twice.

    KerasTuner writes the state and each trial to files of their own, one after the other and not
    in one step: a process that is killed in between leaves a trial that nobody runs, one that is
    run again, or a file that can't be read.
    """

    _holding = False
    trials: dict[str, Any]
    ongoing_trials: dict[str, Any]
    end_order: list[str]

    def get_state(self) -> dict[str, Any]:
        """KerasTuner's own state, and all trials."""
        trials = [trial.get_state() for trial in self.trials.values()]
        return {**super().get_state(), "trials": trials}

    def save(self) -> None:
        """Replaces the file in one step."""
        if not self._holding:
            files.write_json(self._get_oracle_fname(), self.get_state())

    def _save_trial(self, trial: Any) -> None:
        """Trials are in the state."""

    def reload(self) -> None:
        """Goes on from the file; trials that were running are the next to run."""
        with open(self._get_oracle_fname(), encoding="utf-8") as file:
            state = json.load(file)
        trials = map(keras_tuner.engine.trial.Trial.from_state, state["trials"])
        self.trials = {trial.trial_id: trial for trial in trials}
        self.set_state(state)
        interrupted = [trial.trial_id for trial in self.ongoing_trials.values()]
        # KerasTuner takes the last of the queue first.
        self._retry_queue += sorted(interrupted, key=self.start_order.index, reverse=True)
        self.ongoing_trials = {}

    @keras_tuner.synchronized
    def end_trial(self, trial: Any) -> None:
        """As in KerasTuner, with one write; a trial that was given up is for others to end."""
        if all(ongoing.trial_id != trial.trial_id for ongoing in self.ongoing_trials.values()):
            return
        with self._one_write():
            super().end_trial(trial)

    @keras_tuner.synchronized
    def lose_trial(self, trial_id: str, message: str | None) -> None:
        """Takes back a trial whose worker is gone: it runs once again.

        Args:
          trial_id: of a running trial.
          message: why; None: it is not the trial's fault, and doesn't count.
        """
        trial = self.trials[trial_id]
        if message is not None:
            trial.status, trial.message = _Status.INVALID, message
            self.end_trial(trial)
            return
        with self._one_write():
            self._retry_queue.append(trial_id)
            for tuner_id, ongoing in list(self.ongoing_trials.items()):
                if ongoing.trial_id == trial_id:
                    del self.ongoing_trials[tuner_id]

    @keras_tuner.synchronized
    def run_ended_again(self) -> None:
        """Makes trials that ended the next to run, as if they never had."""
        with self._one_write():
            for trial_id in self.end_order:
                self.trials[trial_id].status = _Status.RUNNING
                self._run_times[trial_id] = 0
            self._retry_queue += reversed(self.end_order)
            self.end_order = []

    @contextlib.contextmanager
    def _one_write(self) -> Iterator[None]:
        held, self._holding = self._holding, True
        try:
            yield
        finally:
            self._holding = held
        self.save()


class _RandomSearch(Durable, oracles.RandomSearchOracle):
    pass


class _BayesianOptimization(Durable, oracles.BayesianOptimizationOracle):
    pass


class _GridSearch(Durable, oracles.GridSearchOracle):
    """KerasTuner's, which forgets in a new process where in the grid it was.

    And which waits, but for the first trial, until one has ended before it gives the next.
    """

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The next combination, whether or not the one before has ended."""
        # What a model asked for since a trial was given out has its default in that trial.
        for trial in self.trials.values():
            space = self.get_space()
            space.values = trial.hyperparameters.values
            for entry in space.space:
                if space.is_active(entry):
                    space.values.setdefault(entry.name, entry.default)
        response: dict[str, Any] = super().populate_space(trial_id)
        if response["status"] == _Status.RUNNING:
            self._populate_next.append(trial_id)
        return response

    def get_state(self) -> dict[str, Any]:
        order: list[str] = []
        place = self._ordered_ids._next_index[None]
        while place is not None:
            order.append(self._ordered_ids._memory[place])
            place = self._ordered_ids._next_index[place]
        return {**super().get_state(), "order": order, "populate_next": self._populate_next}

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        for trial_id in state["order"]:
            self._ordered_ids.insert(trial_id)
        self._populate_next = state["populate_next"]


class _Hyperband(Durable, oracles.HyperbandOracle):
    """KerasTuner's, which can be given more iterations when it is done.

    And for which a trial that failed is the worst of its round: KerasTuner itself waits for it for
    ever, and nothing of the bracket gets to its full epochs.
    """

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The next trial."""
        failed = [trial for trial in self.trials.values() if trial.status == _Status.FAILED]
        worst = -math.inf if self.objective.direction == "max" else math.inf
        for trial in failed:
            trial.status, trial.score = _Status.COMPLETED, worst
        try:
            response: dict[str, Any] = super().populate_space(trial_id)
        finally:
            for trial in failed:
                trial.status, trial.score = _Status.FAILED, None
        return response

    hyperband_iterations: int

    def set_state(self, state: dict[str, Any]) -> None:
        wanted = self.hyperband_iterations
        super().set_state(state)
        # With fewer than are done it would never end.
        self.hyperband_iterations = max(wanted, self._current_iteration + 1)


class _List(Durable, keras_tuner.Oracle):
    """The trials that the user has written down."""

    def __init__(self, trials: list[dict[str, Any]], **options: Any):
        super().__init__(max_trials=len(trials), **options)
        self._values = trials

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The next one; KerasTuner asks no further than ``max_trials``."""
        return {"status": _Status.RUNNING, "values": dict(self._values[len(self.trials)])}


def create(config: SimpleNamespace) -> Durable:
    """The oracle of the ``tuner`` section.

    Args:
      config: all sections that can be searched, and ``tuner``.
    """
    tuner = config.tuner
    common: dict[str, Any] = {
        "objective": objective(tuner),
        "hyperparameters": space(config),
        # KerasTuner takes 0 for none, and draws one.
        "seed": config.training.seed + 1,
        # Only what ends with its process is run again, an error would be the same one.
        "max_retries_per_trial": 1,
        # An error that some values make says nothing about the others.
        "max_consecutive_failed_trials": None,
    }
    oracle: Durable
    if tuner.algorithm == "random":
        oracle = _RandomSearch(max_trials=tuner.max_trials, **common)
    elif tuner.algorithm == "bayesian":
        oracle = _BayesianOptimization(
            max_trials=tuner.max_trials, num_initial_points=tuner.initial_trials, **common
        )
    elif tuner.algorithm == "grid":
        oracle = _GridSearch(max_trials=tuner.max_trials, **common)
    elif tuner.algorithm == "hyperband":
        oracle = _Hyperband(
            max_epochs=tuner.epochs or config.training.epochs,
            factor=tuner.factor,
            hyperband_iterations=tuner.iterations,
            **common,
        )
    else:
        oracle = _List(listed(config), **common)
    oracle.verbose = 0
    return oracle


def objective(tuner: SimpleNamespace) -> keras_tuner.Objective:
    """The objective; KerasTuner knows the direction of Keras's own metrics.

    Raises:
      DarkroomError: it doesn't know this one's.
    """
    if tuner.direction is not None:
        return keras_tuner.Objective(tuner.objective, tuner.direction)
    try:
        return objective_of(tuner.objective)
    except ValueError as error:
        raise DarkroomError(
            "tuner.direction: empty, and it is not known whether more or less of "
            f"{tuner.objective} is better. Set it to max or to min."
        ) from error


def listed(config: SimpleNamespace) -> list[dict[str, Any]]:
    """``tuner.trials`` with the same keys in each: what one doesn't name is as configured."""
    trials = [vars(trial) for trial in config.tuner.trials]
    names = dict.fromkeys(itertools.chain.from_iterable(trials))
    given = {name: settings.look_up(config, name) for name in names if "." in name}
    listed = []
    for trial in trials:
        values = {name: value for name, value in {**given, **trial}.items() if value is not None}
        for name in values:
            if isinstance(given.get(name), float):
                values[name] = float(values[name])
        listed.append(values)
    return listed


def space(config: SimpleNamespace) -> keras_tuner.HyperParameters:
    """KerasTuner's declaration of the hyperparameters; the configured values are the defaults."""
    hp = keras_tuner.HyperParameters()
    for key, values in vars(config.tuner.space).items():
        default = settings.look_up(config, key)
        if values.choices is not None:
            choices = [float(c) if isinstance(default, float) else c for c in values.choices]
            hp.Choice(key, choices, default=default if default in choices else choices[0])
            continue
        # A whole number, or nothing where a whole number can stand, is an Int.
        name, kind = ("Float", float) if isinstance(default, float) else ("Int", int)
        step = None if values.step is None else kind(values.step)
        numbers = {"min_value": kind(values.min), "max_value": kind(values.max), "step": step}
        if default is not None:
            default = min(max(default, numbers["min_value"]), numbers["max_value"])
            if step is not None or config.tuner.algorithm == "grid":
                # Of what it can be: in a grid another value would be one more.
                default = _nearest(default, name, **numbers, sampling=values.sampling)
        getattr(hp, name)(key, **numbers, sampling=values.sampling, default=default)
    trials = listed(config)
    for key in trials[0] if trials else []:
        if all(key in trial for trial in trials):  # else KerasTuner would fill it in where it isn't
            hp.Choice(key, list(dict.fromkeys(trial[key] for trial in trials)))
    return hp


def _nearest(default: float, kind: str, **declaration: Any) -> float:
    """The value nearest to the configured one that KerasTuner's Int or Float can have."""
    hp = keras_tuner.HyperParameters()
    getattr(hp, kind)("", **declaration)
    nearest: float = min(hp.space[0].values, key=lambda value: abs(value - default))
    return nearest


class Plan(NamedTuple):
    """How much a search is, at most."""

    trials: int
    epochs: int  # of all trials together, with one fit each


def plan(oracle: Durable, config: SimpleNamespace) -> Plan | None:
    """The size of a search; None where it can't be known, as a model may ask for more."""
    tuner = config.tuner
    epochs = tuner.epochs or config.training.epochs
    trials: float = 0
    if tuner.algorithm == "hyperband":
        rounds = 0
        for bracket in range(oracle._get_num_brackets()):
            before = 0
            for number in range(bracket + 1):
                size = oracle._get_size(bracket, number)
                until = oracle._get_epochs(bracket, number)
                trials, rounds = trials + size, rounds + size * (until - before)
                before = until
        times = oracle.hyperband_iterations
        return Plan(int(trials) * times, rounds * times)
    trials = oracle.max_trials or math.inf
    if tuner.algorithm != "list":
        # Of an interval without steps KerasTuner's grid takes ten values.
        sizes = [
            len(list(entry.values))
            for entry in oracle.get_space().space
            if _countable(entry, tuner)
        ]
        if len(sizes) == len(oracle.get_space().space):
            trials = min(trials, math.prod(sizes))
    return None if trials == math.inf else Plan(int(trials), int(trials) * epochs)


def _countable(entry: Any, tuner: SimpleNamespace) -> bool:
    return tuner.algorithm == "grid" or isinstance(entry, keras_tuner.engine.hyperparameters.Choice)


def epochs_of(hp: keras_tuner.HyperParameters, config: SimpleNamespace) -> int:
    """How many epochs a fit of these values has, as far as the values say."""
    if "tuner/epochs" in hp.values:
        return int(hp.values["tuner/epochs"]) - int(hp.values["tuner/initial_epoch"])
    return int(hp.values.get("training.epochs", config.tuner.epochs or config.training.epochs))


def still_needed(oracle: Durable) -> set[str]:
    """Ids of trials that run, or with which another one may go on: they need all checkpoints."""
    trials = list(oracle.trials.values())  # another machine may add to them meanwhile
    running = [t for t in trials if t.status in (_Status.RUNNING, _Status.INVALID)]
    needed = {trial.trial_id for trial in running}
    needed |= {str(t.hyperparameters.values.get("tuner/trial_id")) for t in running}
    for bracket in getattr(oracle, "_brackets", []):
        needed |= {entry["id"] for entries in bracket["rounds"] for entry in entries}
    return needed
