"""A hyperparameter search: in a folder of its own, on many processes, from wherever it stopped."""

import contextlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import keras
import keras_tuner
import tensorflow as tf
from keras_tuner.engine.trial import Trial, TrialStatus
from pydantic import JsonValue

from darkroom.components.base import progress, results
from darkroom.components.base.errors import DarkroomError, closest
from darkroom.components.base.settings import NetworkSettings, TunerSettings
from darkroom.components.networks import models
from darkroom.components.training import aside, dataset, folds, precision
from darkroom.components.training.hand_over import without_notes
from darkroom.components.tuning import hparams, oracles, remote_trials
from darkroom.components.tuning.messages import SearchFile
from darkroom.components.tuning.process_pool import ProcessPool
from darkroom.components.tuning.trial import Candidate, Folder
from darkroom.components.tuning.tuner_results import FIELDS, TrialRow, TunerResults
from darkroom.serving import files

# Keys of the tuner section that may change between runs while a search goes on where it was.
_BUDGET = {
    *("enabled", "max_trials", "iterations", "workers"),
    *("keep_checkpoints", "carry_over", "carry_epochs"),
}
# Keys of the training section that don't change what a trial comes to.
_NO_MATTER = {"examples", "cache_budget", "strategy"}
_SHOWN_CHANGES = 3
_SECONDS_BETWEEN_TABLES = 1


class Source(NamedTuple):
    """What the examples are made of; with other data it is another search."""

    files: list[str]
    transform: str


class Search(keras_tuner.Tuner):
    """KerasTuner's Tuner, whose trials run in processes of their own under its oracle."""

    def __init__(
        self,
        candidate: Candidate,
        folder: str,
        source: Source,
        examples: str,
        prepare: Callable[[], None],
        frozen: bool = False,
    ):
        """Prepares a search, or goes on with what an earlier process has left of it.

        ``folder`` has all searches; ``prepare`` makes the ``examples`` where they aren't kept yet,
        or where ``frozen`` the outputs of a backbone for them.
        Raises a DarkroomError where there is nothing to search, or another process searches here.
        """
        self.config = candidate.settings
        self._candidate, self._examples, self._prepare = candidate, examples, prepare
        self._frozen = frozen
        self._determined_by = _determined_by(self.config, source)
        name = results.name_of(self._determined_by)
        self.folder = os.path.join(folder, name)
        os.makedirs(self.folder, exist_ok=True)
        remote_trials.check()
        with contextlib.ExitStack() as lock:
            try:
                lock.enter_context(files.locked(os.path.join(self.folder, "lock"), patience=0))
            except files.Locked as error:
                raise DarkroomError(
                    f"Another search is using {self.folder} (process {error.holder}). Wait for it, "
                    "or give this run another root or name."
                ) from None
            oracle = oracles.create(self.config, self.folder)
            begun = os.path.exists(oracle.path)
            super().__init__(oracle, candidate, directory=folder, project_name=name)
            if begun:
                oracle.reload()
            _check(oracle.get_space())
            if begun:
                self._go_on()
            else:
                _say_why_anew(folder, self._determined_by)
            self._lock = lock.pop_all()

    def _go_on(self) -> None:
        """Says so; trials run again if all failed, as the cause may have been mended since."""
        ended = list(self.oracle.end_order)
        words = f"goes on with a search of which {len(ended)} trials are done"
        if ended and not self._completed():
            for trial_id in ended:
                Folder(self.folder, trial_id).forget()
            self.oracle.run_ended_again()
            words = f"all {len(ended)} trials of this search have failed, and run again"
        progress.warn("Tuner", words)

    def _completed(self) -> list[Trial]:
        """Trials that ended well, the best first."""
        # end_order has only trials that have their score; another machine's may end just now.
        ended = set(self.oracle.end_order)
        done = [
            trial
            for trial in list(self.oracle.trials.values())
            if trial.trial_id in ended and trial.status == TrialStatus.COMPLETED
            # Hyperband passes failed ones off as the worst while it looks for the next.
            if trial.score is not None and math.isfinite(trial.score)
        ]
        return sorted(done, key=lambda trial: trial.score, reverse=self.maximize)

    def save(self) -> None:
        self.oracle.save()

    def search(self, *args: object, **kwargs: object) -> None:
        """Runs what is left; raises a DarkroomError where no trial finishes or has the metric."""
        gpus = len(tf.config.list_physical_devices("GPU"))
        # One for each GPU, or for each core that a trial's replicas leave.
        cores = len(os.sched_getaffinity(0)) // self.config.training.cpu_replicas
        most = self.config.tuner.workers or gpus or max(1, cores)
        plan, ended = oracles.plan(self.oracle, self.config), len(self.oracle.end_order)
        if plan is not None:
            most = min(most, max(1, plan.trials - ended))
        pool = ProcessPool(self.oracle, self.folder, most, gpus)
        with self._lock, pool, remote_trials.served(self.oracle, self.folder) as remote_at_work:
            if plan is None or plan.trials > ended:
                pool.start()
            self._prepare()
            self._begin()
            table = aside.module("tuning.live_table").LiveTable(self, plan, pool)
            looked = 0.0

            def look() -> None:
                nonlocal ended, looked
                before, ended = ended, len(self.oracle.end_order)
                if ended != before:
                    self._forget_checkpoints()
                if ended != before or time.monotonic() - looked > _SECONDS_BETWEEN_TABLES:
                    looked = time.monotonic()
                    table.report()

            pool.run(look, remote_at_work)
            self._forget_checkpoints()  # of an earlier process that was to keep more
        if not self._completed():
            failed = [self.oracle.trials[trial_id] for trial_id in self.oracle.start_order]
            cause = self.message(failed[0]) if failed else "There was none."
            raise DarkroomError(f"None of the {len(failed)} trials finished. The first: {cause}")

    def _begin(self) -> None:
        """Writes what trial processes need to know, having checked that there is such a metric."""
        own = "mae" if self.config.model.head == "regression" else "accuracy"
        metrics = [f"val_{own}", "val_loss", own, "loss"]
        if self.config.model.build_fn is not None:
            metrics = self._metrics()
        train, _ = dataset.kept(self._examples, budget=0)
        if self.config.tuner.folds is not None:
            folds.check(train, self.config.tuner.folds, "tuner.folds")
        objective = self.config.tuner.objective
        if objective not in metrics:
            raise DarkroomError(
                f"tuner.objective: the model has no metric {objective}; it has "
                f"{', '.join(metrics)}.{closest(objective, metrics)}"
            )
        self._candidate.policy = self._policy(train)
        logs = os.path.join(self.folder, "logs")
        hparams.experiment(logs, self.oracle.get_space(), metrics, objective)
        SearchFile(
            custom_config=self.config.pack(),
            classes=self._candidate.classes,
            policy=self._candidate.policy,
            maximize=self.maximize,
            examples=self._examples,
            frozen=self._frozen,
            determined_by=self._determined_by,
        ).write(self.folder)

    def _policy(self, train: dataset.Examples) -> str:
        first = self.oracle.get_space()

        def build(config: NetworkSettings) -> keras.Model:
            return models.build_model(first, config, self._candidate.classes)

        if self._frozen:  # a classifier is too small to gain
            return precision.FLOAT32
        return precision.chosen(self.config, build, train, "Tuner", self.folder)

    def _metrics(self) -> list[str]:
        """Names of the metrics of the user's model, which only shows them once it measures."""
        _, validation = dataset.kept(self._examples, self.config.training.cache_bytes)
        model = self._candidate.build(self.oracle.get_space())
        batch = dataset.batches(validation, self.config.training.batch_size).take(1)
        names = model.evaluate(batch, verbose=0, return_dict=True)
        return [f"{prefix}{name}" for prefix in ("val_", "") for name in names]

    def _forget_checkpoints(self) -> None:
        best = self._completed()[: self.config.tuner.keep_checkpoints]
        kept = {trial.trial_id: self.checkpoint(trial) for trial in best}
        for trial_id in set(self.oracle.trials) - oracles.still_needed(self.oracle):
            Folder(self.folder, trial_id).forget_checkpoints(kept.get(trial_id))

    def message(self, trial: Trial) -> str | None:
        """Why a trial failed; another machine only says so in the trial's folder."""
        result = Folder(self.folder, trial.trial_id).read()
        message: str | None = trial.message or (result.message if result else None)
        return message

    @property
    def maximize(self) -> bool:
        return bool(self.oracle.objective.direction == "max")

    def results(self) -> TunerResults:
        """What each trial came to, the best first, failed ones last."""
        ended = [self.oracle.trials[trial_id] for trial_id in self.oracle.end_order]
        failed = [trial for trial in ended if trial.status != TrialStatus.COMPLETED]
        return TunerResults([self.row(trial) for trial in [*self._completed(), *failed]])

    def row(self, trial: Trial) -> TrialRow:
        result = Folder(self.folder, trial.trial_id).read()
        fits = result.fits if result else []
        values = trial.hyperparameters.values
        return TrialRow(
            trial.trial_id,
            trial.score,
            without_notes(values),
            trial.status,
            seconds=sum(fit.seconds for fit in fits),
            seed=self.config.training.seed,
            initial_epoch=values.get("tuner/initial_epoch", 0),
            epochs=max((len(fit.history["loss"]) for fit in fits), default=0),
            best_epoch=result.step if result else None,
            message=self.message(trial),
            history=[fit.history for fit in fits],
        )

    def best(self) -> Trial:
        """The best trial; of several as good ones the first."""
        return self._completed()[0]

    def checkpoint(self, trial: Trial) -> str:
        """The file of a trial's checkpoint, of its best fit."""
        folder = Folder(self.folder, trial.trial_id)
        result = folder.read()
        assert result is not None
        scores = [fit.metrics[self.config.tuner.objective] for fit in result.fits]
        number = scores.index(max(scores) if self.maximize else min(scores))
        return folder.checkpoint(number).path


def _determined_by(config: TunerSettings, source: Source) -> dict[str, JsonValue]:
    """All that determines what a trial comes to, in the words of the configuration."""
    epochs = config.tuner.epochs or config.training.epochs
    lasting = config.with_values({"tuner.epochs": epochs, "training.epochs": epochs})
    tree = lasting.model_dump(
        mode="json",
        # What matters of the code to trials is ``source``.
        exclude={"code": True, "unfinished": True, "tuner": _BUDGET, "training": _NO_MATTER},
    )
    return {**tree, **source._asdict()}


def _check(space: keras_tuner.HyperParameters) -> None:
    if not space.space:
        raise DarkroomError(
            "There is nothing to search: tuner.space is empty, and model.build_fn asks for no "
            "hyperparameter. Call hp.Float, hp.Int or hp.Choice in it, or fill tuner.space."
        )
    taken = sorted({entry.name for entry in space.space} & FIELDS)
    if taken:
        raise DarkroomError(
            f"model.build_fn: a hyperparameter can't be named {taken[0]}, which is what "
            f"{TunerResults.FILE} says of a trial. Give it another name."
        )


def _say_why_anew(folder: str, determined_by: dict[str, JsonValue]) -> None:
    earlier = list(Path(folder).glob(f"*/{SearchFile.FILE}"))
    if not earlier:
        return
    newest = max(earlier, key=os.path.getmtime).parent
    before = SearchFile.read(str(newest)).determined_by
    if before == determined_by:
        return  # killed before its first trial
    changed = sorted(key for key, _ in set(_flat("", before)) ^ set(_flat("", determined_by)))
    names = list(dict.fromkeys(_WORDS.get(key.split(".")[0], key) for key in changed))
    words = ", ".join(names[:_SHOWN_CHANGES]) + " and more" * (len(names) > _SHOWN_CHANGES)
    progress.warn("Tuner", f"a new search begins: {words} changed. The one before is {newest}")


# What isn't a key of the configuration.
_WORDS = {"files": "the examples", "transform": "the transform graph", "source": "the code"}


def _flat(prefix: str, tree: JsonValue) -> Iterator[tuple[str, str]]:
    if isinstance(tree, dict):
        for name, branch in tree.items():
            yield from _flat(f"{prefix}.{name}" if prefix else name, branch)
    else:
        yield prefix, json.dumps(tree)
