"""What is private of KerasTuner."""

from collections.abc import Iterable
from typing import NamedTuple, TypedDict

import grpc
import keras_tuner
from keras_tuner import oracles
from keras_tuner.src import protos
from keras_tuner.src.distribute import oracle_chief
from keras_tuner.src.distribute import utils as environment


class State(TypedDict, total=False):
    """What we read of an oracle's state."""

    trials: list[object]
    current_iteration: int
    order: list[str]
    populate_next: list[str]


class Oracle(keras_tuner.Oracle):
    """An oracle without files for trials, which can be told what is to run next."""

    def _save_trial(self, trial: keras_tuner.engine.trial.Trial) -> None:
        """KerasTuner writes a file at each change of a trial, and can't be told not to."""

    def run_next(self, trial_ids: Iterable[str]) -> None:
        """Has trials run before any new one, in this order: only KerasTuner itself fills the queue.

        It takes the last of the queue first.
        """
        self._retry_queue += reversed(list(trial_ids))

    def forget_runs(self, trial_id: str) -> None:
        """Gives a trial all its retries back: KerasTuner only counts them up."""
        self._run_times[trial_id] = 0


class GridSearchOracle(oracles.GridSearchOracle):
    """KerasTuner's grid search, which otherwise forgets in a new process how far it was."""

    def continue_after(self, trial_id: str) -> None:
        """Makes the combination after a trial's the next one, before that trial has ended."""
        self._populate_next.append(trial_id)

    def get_state(self) -> dict[str, object]:
        order = self.start_order[:1]  # the first combination is that of the first trial
        while order and (following := self._ordered_ids.next(order[-1])) is not None:
            order.append(following)
        return {**super().get_state(), "order": order, "populate_next": self._populate_next}

    def set_state(self, state: State) -> None:
        super().set_state(state)
        for trial_id in state["order"]:
            self._ordered_ids.insert(trial_id)
        self._populate_next = state["populate_next"]


class Round(NamedTuple):
    """A round of one of Hyperband's brackets."""

    trials: int
    epochs: int  # that each of the trials has at the end of the round


def hyperband_brackets(oracle: oracles.HyperbandOracle) -> list[list[Round]]:
    """The rounds of an iteration's brackets: KerasTuner says nowhere how large a search will be."""
    return [
        [Round(oracle._get_size(bracket, n), oracle._get_epochs(bracket, n))
         for n in range(bracket + 1)]
        for bracket in range(oracle._get_num_brackets())
    ]  # fmt: skip


def is_chief() -> bool | None:
    """Whether KerasTuner takes this machine for the chief; None where it is the only one.

    KerasTuner decides by the environment when a tuner is made, and tells it to nobody.

    Raises:
      RuntimeError: the environment lacks something.
    """
    return bool(environment.is_chief_oracle()) if environment.has_chief_oracle() else None


def serve(oracle: keras_tuner.Oracle, server: grpc.Server) -> None:
    """Has a server answer to KerasTuner's clients.

    KerasTuner's own ``start_server`` can't be stopped, and waits up to 20 s at its end.
    """
    service = oracle_chief.OracleServicer(oracle)
    protos.get_service_grpc().add_OracleServicer_to_server(service, server)
