"""A whole training: first weights, then one stage after the other, from wherever it stopped."""

from functools import partial
from typing import Any, NamedTuple

import keras
import keras_tuner
import numpy as np

from darkroom.components.base.errors import DarkroomError
from darkroom.components.base.settings import TrainerSettings
from darkroom.components.networks import models, parts
from darkroom.components.training import (
    checkpoint,
    dataset,
    devices,
    diagnosis,
    fitting,
    tensorboard,
    transfer,
)
from darkroom.components.training.callbacks import Diagnose, ReportEpochs
from darkroom.components.training.distribution import replicas
from darkroom.components.training.distribution.cluster import Cluster


class Stage(NamedTuple):
    """A fit of the whole network, or of parts of it."""

    name: str  # for people; empty where there is only one
    unfrozen: list[keras.Layer] | None  # layers of the backbone; None: nothing is frozen
    config: TrainerSettings


class Training:
    """One training of the Trainer node."""

    def __init__(
        self,
        hp: keras_tuner.HyperParameters,
        config: TrainerSettings,
        num_classes: int,
        splits: tuple[dataset.Examples, dataset.Examples],
        run_folder: str,
        checkpoint_folder: str,
        determined_by: dict[str, Any],
        begin_with: str | None = None,
        cluster: Cluster | None = None,
    ):
        """Prepares it.

        Args:
          hp: the best trial's hyperparameters, or none.
          config: the sections that Trainer gets, the best trial's values in them.
          num_classes: size of the label vocabulary.
          splits: train and eval, preprocessed.
          run_folder: for TensorBoard's logs and the weights of every n-th epoch.
          checkpoint_folder: where a later run finds this training, should it be interrupted.
          determined_by: facts without which a training is another one, for JSON.
          begin_with: a trial's checkpoint, to go on with.
          cluster: the machines that train together, of which all do the same; None: this alone.
        """
        self._hp, self._config, self._num_classes = hp, config, num_classes
        self._train, self._validation = splits
        self._strategy = (
            replicas.strategy(cluster) if cluster else devices.strategy(config.training)
        )
        writes = cluster is None or cluster.is_chief
        self._kind = checkpoint.Checkpoint if writes else checkpoint.ReadOnly
        self._run_folder = run_folder
        self._folder, self._determined_by = checkpoint_folder, determined_by
        self._checkpoint = self._checkpoint_of("training")
        self._begin_with = begin_with
        self.resumed_at = self.done()  # number of epochs that were done before
        self.searched = 0  # number of epochs that were done in the search
        self.notes: list[str] = []  # sentences for people
        self.stages: list[tuple[str, int]] = []  # with the number of the first epoch of each
        self.model = self._built(config)

    def done(self) -> int | None:
        """Number of epochs that the checkpoint has, over all stages; None where there is none."""
        state = self._checkpoint.read()
        return None if state is None else state.epoch + _length(state.earlier)

    def is_over(self) -> bool:
        """Whether the checkpoint has all epochs of all stages."""
        state = self._checkpoint.read()
        last = len(plan := _plan(self.model, self._config)) - 1
        if state is None or state.stage < last:
            return False
        return state.over or state.epoch >= plan[last].config.training.epochs

    def run(self) -> fitting.Fitted:
        """Trains ``model``, and returns its history over all stages."""
        config = self._config.training
        state = self._checkpoint.read()
        if self._begin_with is not None:
            trial = checkpoint.read(self._begin_with)
            if trial is None:
                raise DarkroomError(
                    f"The best trial's checkpoint, {self._begin_with}, can't be read. Run the "
                    "search again, or set tuner.carry_over to values."
                )
            self.searched = trial.epoch
            if state is None:
                # Also where it had ended early: it is to go on.
                stopping = {**trial.stopping, "wait": 0}
                self._checkpoint.write(trial._replace(over=False, stopping=stopping))
            state = self._written()
        elif state is None and config.starts > 1:
            self._best_start()
            state = self._written()
        elif state is None and config.warm_start_epochs:
            self._warm_start(self.model)
        # A file system may show a machine an old file for a while.
        replicas.agree(self._strategy, *_digest(state))
        curves = tensorboard.Curves(self._run_folder)
        earlier: dict[str, Any] = {}
        if state is not None:
            earlier = state.earlier
            for history, before in (
                (earlier.get("history", {}), 0),
                (state.history, _length(earlier)),
            ):
                curves.write(history, before)
        for number, stage in enumerate(_plan(self.model, self._config)):
            if state is None or number >= state.stage:
                earlier = self._fit_stage(number, stage, earlier, curves)
        self.notes, self.stages = earlier["notes"], earlier["stages"]
        return fitting.Fitted(earlier["history"], earlier["epoch"])

    def forget(self) -> None:
        """Removes the checkpoint: the training is over and its model is in place."""
        self._checkpoint.clear()

    def _fit_stage(
        self,
        number: int,
        stage: Stage,
        earlier: dict[str, Any],
        curves: tensorboard.Curves,
    ) -> dict[str, Any]:
        """Fits one stage; returns what it and those before it came to."""
        model, splits, config = self.model, (self._train, self._validation), stage.config
        frozen = stage.unfrozen == []
        if frozen:
            backbone = self.model.get_layer(parts.BACKBONE)
            splits = transfer.frozen_splits(backbone, splits, config)
        if stage.unfrozen is not None:
            transfer.unfreeze(self.model, stage.unfrozen)
            with self._strategy.scope():
                if frozen:
                    model = transfer.classifier(self.model, config)
                else:
                    models.compiled(self.model, config)
        curves.before = before = _length(earlier)
        accuracy = self._train.constant_accuracy()
        diagnose = partial(diagnosis.diagnose, constant_accuracy=accuracy)
        callbacks = [
            ReportEpochs("Trainer", f"{stage.name}, " if stage.name else ""),
            Diagnose("Trainer", diagnose),
            curves,
        ]
        if config.training.keep_every is not None:
            every = config.training.keep_every
            callbacks.append(checkpoint.KeepEvery(every, self.model, self._run_folder, before))
        fitted = fitting.fit(
            model,
            config,
            *splits,
            callbacks,
            augmented=not frozen,
            keep=lambda stopping: checkpoint.Keep(self._checkpoint, number, earlier, stopping),
        )
        joined = _joined(earlier, fitted, stage)
        if number == 0 and config.transfer.scratch_epochs:
            joined["notes"] += self._compared_with_scratch(fitted)
        return joined

    def _built(self, config: TrainerSettings) -> keras.Model:
        keras.utils.set_random_seed(config.training.seed)
        with self._strategy.scope(), devices.dtype_policy(config.training):
            return models.build_model(self._hp, config, self._num_classes)

    def _checkpoint_of(self, name: str) -> checkpoint.Checkpoint:
        return self._kind(self._folder, name=name, **self._determined_by)

    def _written(self) -> checkpoint.State | None:
        """The checkpoint once the chief has written it."""
        replicas.agree(self._strategy)
        return self._checkpoint.read()

    def _best_start(self) -> None:
        """Begins from several initial weights; the training's checkpoint becomes the best's."""
        best: tuple[float, checkpoint.Checkpoint] | None = None
        config = self._config
        for number in range(config.training.starts):
            seed = config.training.seed + number
            mine = self._checkpoint_of(f"start {number}")
            seeded = config.training.model_copy(update={"seed": seed})
            model = self._built(config.model_copy(update={"training": seeded}))
            if mine.read() is None and config.training.warm_start_epochs:
                self._warm_start(model)
            fitted = fitting.fit(
                model,
                config,
                self._train,
                self._validation,
                [ReportEpochs("Trainer", f"start {number + 1}, ")],
                keep=lambda stopping, mine=mine: checkpoint.Keep(mine, 0, {}, stopping),
                until=config.training.start_epochs,
            )
            losing = fitting.losing(fitted, config.training)
            if best is None or losing < best[0]:
                best = losing, mine
        assert best is not None
        self._checkpoint.take_over(best[1])

    def _warm_start(self, model: keras.Model) -> None:
        """A few epochs with strong regularisation, whose weights the model then begins with."""
        config, given = self._config, self._config.training
        regularised = {
            "epochs": given.warm_start_epochs,
            "weight_decay": given.warm_start_weight_decay,
            "schedule": "constant",
            "warmup_epochs": 0,
        }
        warm_config = config.model_copy(
            update={
                "model": config.model.model_copy(update={"dropout": given.warm_start_dropout}),
                "training": given.model_copy(update=regularised),
            }
        )
        warm = self._built(warm_config)
        warm.set_weights(model.get_weights())
        reporter = ReportEpochs("Trainer", "warm start, ")
        fitting.fit(warm, warm_config, self._train, self._validation, [reporter])
        model.set_weights(warm.get_weights())

    def _compared_with_scratch(self, fitted: fitting.Fitted) -> list[str]:
        """A sentence where random weights do better in the first epochs."""
        config = self._config
        epochs = config.transfer.scratch_epochs
        shorter = {"epochs": epochs, "export_epoch": "last"}
        scratch_config = config.model_copy(
            update={
                "model": config.model.model_copy(update={"weights": None}),
                "training": config.training.model_copy(update=shorter),
            }
        )
        scratch = self._built(scratch_config)
        reporter = ReportEpochs("Trainer", "from scratch, ")
        found = fitting.fit(scratch, scratch_config, self._train, self._validation, [reporter])
        return transfer.compared(fitted.history, found.history, epochs)


def prepared(
    facts: dict[str, Any],
    splits: tuple[dataset.Examples, dataset.Examples],
    run_folder: str,
    cluster: Cluster | None = None,
) -> Training:
    """A training of facts that are JSON, the same on each of its machines.

    Args:
      facts: ``hyperparameters``, KerasTuner's as plain data, perhaps with a ``checkpoint``;
        ``custom_config``, ``num_classes``, ``checkpoint_folder`` and ``determined_by``.
      splits, run_folder, cluster: as ``Training`` has them.
    """
    best = facts["hyperparameters"]
    return Training(
        keras_tuner.HyperParameters.from_config(best),
        TrainerSettings.unpack(facts["custom_config"]).with_values(best["values"]),
        facts["num_classes"],
        splits,
        run_folder,
        facts["checkpoint_folder"],
        facts["determined_by"],
        best.get("checkpoint"),
        cluster,
    )


def _plan(model: keras.Model, config: TrainerSettings) -> list[Stage]:
    """The stages of ``transfer.mode``."""
    plan = config.transfer
    if plan.mode == "none":
        return [Stage("", None, config)]
    stages = [Stage("classifier", [], config)]
    if plan.mode == "distinct":
        unfrozen: list[keras.Layer] = []
        of_groups = {
            "epochs": plan.group_epochs,
            "learning_rate": plan.group_learning_rate,
            "schedule": "constant",
            "warmup_epochs": 0,
        }
        later = config.model_copy(update={"training": config.training.model_copy(update=of_groups)})
        groups = transfer.groups(model.get_layer(parts.BACKBONE))[: plan.groups]
        for number, group in enumerate(groups, 1):
            unfrozen = [*unfrozen, *group]
            stages.append(Stage(f"group {number}/{len(groups)}", unfrozen, later))
    return stages


def _length(earlier: dict[str, Any]) -> int:
    return len(earlier.get("history", {}).get("loss", []))


def _digest(state: checkpoint.State | None) -> list[float]:
    """Numbers in which different states differ."""
    if state is None:
        return [0.0] * 3
    size = sum(float(np.abs(variable).sum(dtype=np.float64)) for variable in state.variables)
    return [1.0 + state.stage, state.epoch, size]


def _joined(earlier: dict[str, Any], fitted: fitting.Fitted, stage: Stage) -> dict[str, Any]:
    """The history of the stages before, and of one more."""
    before = earlier.get("history", {})
    done = _length(earlier)
    # A schedule's learning rate is not in every stage's history.
    names = [name for name in fitted.history if not before or name in before]
    # Keras's EarlyStopping may have gone back to what was there before the stage.
    epoch = earlier["epoch"] if fitted.epoch < 0 else done + fitted.epoch
    return {
        "history": {name: [*before.get(name, []), *fitted.history[name]] for name in names},
        "epoch": epoch,
        "stages": [*earlier.get("stages", []), [stage.name, done]],
        "notes": earlier.get("notes", []),
    }
