"""One trial of a search: the configuration with the trial's values in it, built and fitted."""

import math
import os
import shutil
import time
from pathlib import Path
from typing import NamedTuple

import keras
import keras_tuner
import numpy as np

from darkroom.components.base import progress
from darkroom.components.base.errors import DarkroomError, explain
from darkroom.components.base.settings import TunerSettings
from darkroom.components.networks import models, parts
from darkroom.components.training import (
    checkpoint,
    dataset,
    devices,
    fitting,
    folds,
    precision,
    transfer,
)
from darkroom.components.training.callbacks import Curves, ReportEpochs
from darkroom.components.tuning import hparams
from darkroom.serving import files


class Fit(NamedTuple):
    """What one of a trial's fits came to."""

    seed: int
    fold: int | None  # which part was held out; None: the eval split
    seconds: float
    best_epoch: int  # from 0
    metrics: dict[str, float]  # of that epoch
    history: dict[str, list[float]]  # as Keras has it


class Result(NamedTuple):
    """What a trial came to; a file in its folder."""

    status: str  # RUNNING, COMPLETED or FAILED, as in KerasTuner
    metrics: dict[str, float]  # of the epoch with the best objective, the mean over all fits
    fits: list[Fit]
    message: str | None = None  # why it failed
    hyperparameters: dict[str, object] | None = None  # with those that the model asked for

    @property
    def step(self) -> int:
        """The best epoch, from 0: the mean over all fits, rounded up."""
        return math.ceil(np.mean([fit.best_epoch for fit in self.fits])) if self.fits else 0


class Folder:
    """Where a trial leaves what outlives its process, in the folder of its search."""

    def __init__(self, search: str, trial_id: str):
        self.path = os.path.join(search, f"trial_{trial_id}")
        self.logs = os.path.join(search, "logs", f"trial_{trial_id}")
        self._result = os.path.join(self.path, "result.json")

    def checkpoint(self, fit: int) -> checkpoint.Checkpoint:
        return checkpoint.Checkpoint(self.path, fit=fit)

    def read(self) -> Result | None:
        """The result, with the fits done so far where the trial isn't done; None before any."""
        result = files.read_json(self._result)
        return result and Result(**{**result, "fits": [Fit(**fit) for fit in result["fits"]]})

    def write(self, result: Result) -> None:
        os.makedirs(self.path, exist_ok=True)
        fits = [fit._asdict() for fit in result.fits]
        files.write_json(self._result, {**result._asdict(), "fits": fits})

    def forget(self) -> None:
        """Removes all of it: the trial is to run again."""
        for path in (self.path, self.logs):
            shutil.rmtree(path, ignore_errors=True)

    def forget_checkpoints(self, but: str | None = None) -> None:
        """Removes all of them but one, unfinished ones too."""
        for path in Path(self.path).glob("*.npz*"):
            if str(path) != but:
                path.unlink()


class Candidate(keras_tuner.HyperModel):
    """The network of a trial."""

    def __init__(
        self, settings: TunerSettings, classes: list[str], policy: str = precision.FLOAT32
    ):
        """``policy`` is Keras's dtype policy that it computes in."""
        super().__init__()
        self.settings, self.classes, self.policy = settings, classes, policy

    def config(self, hp: keras_tuner.HyperParameters) -> TunerSettings:
        config = self.settings.with_values(hp.values)
        training, tuner = config.training, config.tuner
        epochs, patience = tuner.epochs or training.epochs, tuner.patience or training.patience
        return config.with_values({"training.epochs": epochs, "training.patience": patience})

    def build(self, hp: keras_tuner.HyperParameters, seed: int | None = None) -> keras.Model:
        """The compiled model, its initial weights drawn by ``training.seed`` or by ``seed``."""
        config = self.config(hp)
        keras.utils.set_random_seed(config.training.seed if seed is None else seed)
        with devices.share(config.training).scope(), precision.computing(self.policy):
            return models.build_model(hp, config, self.classes)

    def classifier(
        self, hp: keras_tuner.HyperParameters, seed: int, shape: tuple[int, ...]
    ) -> keras.Model:
        """What follows a frozen backbone with outputs [batch, *shape], compiled."""
        config = self.config(hp)
        keras.utils.set_random_seed(seed)
        with devices.share(config.training).scope():
            return transfer.classifier(models.classifier(shape, config, len(self.classes)), config)


class Trials:
    """Runs trials on the same examples, in a process that has a device or some cores."""

    def __init__(
        self,
        candidate: Candidate,
        splits: dataset.Splits,
        folder: str,
        maximize: bool,
        frozen: bool = False,
    ):
        """Trials write to ``folder``, that of the search; ``maximize`` the objective or not.

        ``frozen``: the inputs are outputs of a frozen backbone.
        """
        self._candidate, self._folder, self._maximize = candidate, folder, maximize
        self._frozen = frozen
        self._splits, config = splits, candidate.settings
        self._tuner, self._seed = config.tuner, config.training.seed
        count = self._tuner.folds
        self._folds = [None] if count is None else [*folds.pairs(splits[0], count, self._seed)]

    def run(self, trial_id: str, hp: keras_tuner.HyperParameters) -> Result:
        """Runs a trial to its end, from wherever an earlier process had come."""
        folder = Folder(self._folder, trial_id)
        result = folder.read() or Result("RUNNING", {}, [])
        if result.status != "RUNNING":
            return result  # it ended, and whoever was to know of it did not
        count, logs = self._tuner.executions_per_trial * len(self._folds), folder.logs
        try:
            for number in range(len(result.fits), count):
                if count > 1:
                    logs = os.path.join(folder.logs, f"fit-{number + 1}")
                hparams.begin(logs, trial_id, hp.values)
                fit = self._fit(folder, hp, number, count, logs)
                hparams.end(logs, fit.metrics[self._tuner.objective])
                result = result._replace(fits=[*result.fits, fit])
                folder.write(result)
            result = result._replace(status="COMPLETED", metrics=_mean(result.fits))
        except Exception as error:
            progress.LOGGER.info("trial %s failed", trial_id, exc_info=True)
            result = result._replace(status="FAILED", message=explain(error))
            hparams.end(logs, None)
        result = result._replace(hyperparameters=hp.get_config())
        folder.write(result)
        return result

    def _fit(
        self, folder: Folder, hp: keras_tuner.HyperParameters, number: int, count: int, logs: str
    ) -> Fit:
        execution, fold = divmod(number, len(self._folds))
        seed = self._seed + execution
        # Names of layers begin anew; memory is freed as ever, which would take 0.3 s if forced.
        keras.backend.clear_session(free_memory=False)
        config = self._candidate.config(hp).with_values({"training.seed": seed})
        model, splits = self._model(hp, config, self._folds[fold] or self._splits)
        curves = Curves(logs)
        kept = folder.checkpoint(number)
        if (earlier := hp.values.get("tuner/trial_id")) and kept.read() is None:
            # Hyperband goes on with another trial, which ended with fewer epochs.
            state = Folder(self._folder, str(earlier)).checkpoint(number).read()
            if state is None:
                raise DarkroomError(f"Trial {earlier}, to go on with, has left no checkpoint.")
            kept.write(state)
            curves.write(state.history, 0)
        words = f"fit {number + 1}/{count}, " if count > 1 else ""
        begin = time.monotonic()
        history = fitting.fit(
            model,
            config,
            *splits,
            [ReportEpochs("Tuner", words, number / count, 1 / count), curves],
            augmented=config.transfer.mode == "none",
            keep=lambda stopping: checkpoint.Keep(kept, stopping),
            until=hp.values.get("tuner/epochs"),
            classes=self._candidate.classes,
        ).history
        best = best_epoch(history, self._tuner.objective, self._maximize)
        metrics = {name: values[best] for name, values in history.items()}
        held_out, seconds = fold if self._tuner.folds else None, time.monotonic() - begin
        return Fit(seed, held_out, seconds, best, metrics, history)

    def _model(
        self, hp: keras_tuner.HyperParameters, config: TunerSettings, splits: dataset.Splits
    ) -> tuple[keras.Model, dataset.Splits]:
        """What the trial fits, and on what: a classifier alone where its backbone is frozen."""
        seed = config.training.seed
        if self._frozen:
            return self._candidate.classifier(hp, seed, splits[0].inputs.shape), splits
        model = self._candidate.build(hp, seed)
        if config.transfer.mode == "none":
            return model, splits
        splits = transfer.frozen_splits(model.get_layer(parts.BACKBONE), splits, config, "Tuner")
        return transfer.classifier(model.get_layer(parts.CLASSIFIER), config), splits


def best_epoch(history: dict[str, list[float]], objective: str, maximize: bool) -> int:
    """The epoch, from 0, with the best objective; raises a DarkroomError where it has no number."""
    if objective not in history:
        raise DarkroomError(
            f"tuner.objective: the model has no metric {objective!r}, it has {', '.join(history)}."
        )
    values = np.array(history[objective])
    if not np.isfinite(values).any():
        raise DarkroomError(f"{objective} is {values[-1]} in every epoch.")
    return int(np.nanargmax(values) if maximize else np.nanargmin(values))


def _mean(fits: list[Fit]) -> dict[str, float]:
    return {name: float(np.mean([fit.metrics[name] for fit in fits])) for name in fits[0].metrics}
