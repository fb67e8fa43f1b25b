"""What is shown of a search while it goes on."""

import time
from typing import TYPE_CHECKING

from keras_tuner.engine.trial import Trial, TrialStatus

from darkroom.components.base import progress
from darkroom.components.training.hand_over import without_notes
from darkroom.components.tuning import oracles, trial_table
from darkroom.components.tuning.process_pool import ProcessPool, TrialProcess
from darkroom.components.tuning.tuner_results import TrialRow

if TYPE_CHECKING:
    from darkroom.components.tuning.search import Search


class LiveTable:
    """The trials of a search, and how long it may take."""

    def __init__(self, search: "Search", plan: oracles.Plan | None, pool: ProcessPool):
        self._search, self._plan, self._pool = search, plan, pool
        self._begin = time.monotonic()
        self._ended: dict[str, TrialRow] = {}

    def report(self) -> None:
        """Says how far the search is: a line in the log, which has the table attached."""
        table = self._read()
        progress.trials("Tuner", trial_table.headline(table), table)

    def _read(self) -> trial_table.SearchProgress:
        oracle, now = self._search.oracle, time.monotonic()
        for trial_id in oracle.end_order:
            if trial_id not in self._ended:
                self._ended[trial_id] = self._search.row(oracle.trials[trial_id])
        busy = self._pool.busy
        running: list[trial_table.RunningTrial] = [
            {
                "trial": str(int(trial.trial_id)),
                "values": without_notes(trial.hyperparameters.values),
                "words": process.words if process.ready else "loading TensorFlow",
                "seconds": 0.0 if process.begin is None else now - process.begin,
            }
            for process, trial in busy
        ]
        fraction, remaining = self._progress(busy)
        ended, maximize = list(self._ended.values()), self._search.maximize
        completed = [row for row in ended if row.status == TrialStatus.COMPLETED]
        return {
            "names": [entry.name for entry in oracle.get_space().space],
            "running": running,
            "ended": ended,
            "maximize": maximize,
            "best": next(iter(trial_table.best_first(completed, maximize)), None),
            "objective": oracle.objective.name,
            "planned": self._plan.trials if self._plan else None,
            "elapsed": now - self._begin,
            "fraction": fraction,
            "remaining": remaining,
        }

    def _progress(
        self, busy: list[tuple[TrialProcess, Trial]]
    ) -> tuple[float | None, float | None]:
        """The share that is done, and the seconds that remain if epochs take as long as before."""
        if self._plan is None:
            return None, None
        ended = sum(self._epochs(self._search.oracle.trials[i]) for i in self._ended)
        done = ended + sum(process.fraction * self._epochs(trial) for process, trial in busy)
        fraction = min(1.0, done / self._plan.epochs)
        seconds = sum(row.seconds or 0.0 for row in self._ended.values())
        if not seconds:
            return fraction, None
        left = max(0.0, self._plan.epochs - done)
        return fraction, left * seconds / ended / max(1, len(busy))

    def _epochs(self, trial: Trial) -> int:
        return oracles.epochs_of(trial.hyperparameters, self._search.config)
