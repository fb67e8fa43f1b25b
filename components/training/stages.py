"""A whole training: first weights, then one stage after the other, from wherever it stopped."""

import json
from functools import partial
from typing import NamedTuple

import keras
import keras_tuner
import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import Self

from darkroom.components.base.errors import DarkroomError
from darkroom.components.base.settings import NetworkSettings, TrainerSettings
from darkroom.components.networks import models, parts
from darkroom.components.training import (
    aside,
    calibration,
    checkpoint,
    clock,
    dataset,
    devices,
    fitting,
    precision,
    transfer,
)
from darkroom.components.training.callbacks import Curves, Diagnose, ReportEpochs
from darkroom.components.training.distribution import replicas
from darkroom.components.training.distribution.cluster import Cluster
from darkroom.components.training.hand_over import HandOver
from darkroom.components.training.model_run import Comparison, TrainingHistory


class TrainingJob(BaseModel):
    """One training of the Trainer node as plain data, the same on each of its machines."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    settings: TrainerSettings = Field(alias="custom_config")
    hand_over: HandOver = Field(HandOver(), alias="hyperparameters")
    classes: list[str]
    """The label vocabulary."""
    run_folder: str
    """The folder for TensorBoard's logs and the weights of every n-th epoch."""
    checkpoint_folder: str
    """Where a later run finds this training, should it be interrupted; it may be a URI."""
    policy: str = precision.FLOAT32
    """Keras's dtype policy that it computes in."""
    examples: str = ""
    """Where ``dataset.keep`` puts the preprocessed examples for other processes."""
    files: list[str] = Field([])
    """What the examples were made of."""
    node: str = "Trainer"
    """The node that reports."""
    words: str = ""
    """What its reports begin with, where this isn't its only training."""
    evaluated: int = 0
    """How many images Evaluator will see, for ``training.minutes``."""
    transform: str = ""
    """The transform graph."""

    @classmethod
    def unpack(cls, facts: object) -> Self:
        return cls.model_validate_json(json.dumps(facts))

    def pack(self) -> dict[str, object]:
        return self.model_dump(mode="json", by_alias=True)

    @property
    def config(self) -> TrainerSettings:
        """The settings with the best trial's values in them."""
        return self.settings.with_values(self.hand_over.values)

    @property
    def determined_by(self) -> dict[str, object]:
        """The facts that name the checkpoint: where one differs, it is another training."""
        return {
            "custom_config": self.settings.pack(),
            "hyperparameters": self.hand_over.values,
            "files": self.files,
            "transform": self.transform,
            "begin_with": self.hand_over.checkpoint,
        }

    def build(self, config: NetworkSettings) -> keras.Model:
        """The compiled model, its initial weights drawn by ``training.seed``."""
        keras.utils.set_random_seed(config.training.seed)
        hp = keras_tuner.HyperParameters.from_config(self.hand_over.keras_tuner_config)
        return models.build_model(hp, config, self.classes)


class Stage(NamedTuple):
    """A fit of the whole network, or of parts of it."""

    name: str  # for people; empty where there is only one
    unfrozen: list[keras.Layer] | None  # layers of the backbone; None: nothing is frozen
    config: TrainerSettings


class Training:
    """One training of the Trainer node."""

    def __init__(self, job: TrainingJob, splits: dataset.Splits, cluster: Cluster | None = None):
        """Prepares it; ``cluster`` are the machines that train together, None: this one alone."""
        self._job, self._config, self._splits = job, job.config, splits
        training = self._config.training
        self._strategy = replicas.strategy(cluster) if cluster else devices.strategy(training)
        self._writes = cluster is None or cluster.is_chief
        self._checkpoint = self._checkpoint_of("training")
        self._resumed_at = self.done()  # number of epochs that were done before
        self._searched = 0  # number of epochs that were done in the search
        self.model = self._built(self._config)
        self._clock, self._forward = self._timed()

    def _timed(self) -> tuple[clock.Clock | None, float]:
        """The clock of the whole training, and the seconds that an image takes in the network."""
        training = self._config.training
        if training.minutes is None:
            return None, 0.0
        forward = clock.forward_seconds(self.model, self._splits[1], training.batch_size)
        calibrated = calibration.images(training, len(self._splits[1]))
        evaluated = self._job.evaluated
        return clock.of_training(training.minutes, forward, evaluated, calibrated), forward

    def done(self) -> int | None:
        """Number of epochs that the checkpoint has, over all stages; None where there is none."""
        state = self._checkpoint.read()
        return None if state is None else state.epoch + state.earlier.epochs

    def is_over(self) -> bool:
        """Whether the checkpoint has all epochs of all stages."""
        state, plan = self._checkpoint.read(), _plan(self.model, self._config)
        if state is None or state.stage < len(plan) - 1:
            return False
        return state.over or state.epoch >= plan[-1].config.training.epochs

    def run(self) -> TrainingHistory:
        """Trains ``model``, and returns what all stages came to."""
        state = self._begin()
        # A file system may show a machine an old file for a while.
        replicas.agree(self._strategy, *_digest(state))
        curves = Curves(self._job.run_folder)
        earlier = TrainingHistory()
        if state is not None:
            earlier = state.earlier
            curves.write(earlier.history, 0)
            curves.write(state.history, earlier.epochs)
        plan = _plan(self.model, self._config)
        for number, stage in enumerate(plan):
            if state is None or number >= state.stage:
                left = 1 / (len(plan) - number)
                earlier = self._fit_stage(number, stage, earlier, curves, left)
        facts = {
            "resumed_at": self._resumed_at,
            "searched": self._searched,
            "constant_accuracy": self._constant_accuracy(),
        }
        return earlier.model_copy(update=facts)

    def _begin(self) -> checkpoint.State | None:
        """The checkpoint to go on from, perhaps of a trial or of the best start."""
        config, trial_path = self._config.training, self._job.hand_over.checkpoint
        state = self._checkpoint.read()
        if trial_path is not None:
            trial = checkpoint.read(trial_path)
            if trial is None:
                raise DarkroomError(
                    f"The best trial's checkpoint, {trial_path}, can't be read. Run the "
                    "search again, or set tuner.carry_over to values."
                )
            self._searched = trial.epoch
            if state is None:
                # A trial that had ended early goes on, too.
                stopping = trial.stopping._replace(wait=0)
                self._checkpoint.write(trial._replace(over=False, stopping=stopping))
        elif state is None and config.starts > 1:
            self._best_start()
        elif state is None and config.warm_start_epochs:
            self._warm_start(self.model)
            return None
        else:
            return state
        replicas.agree(self._strategy)  # until the chief has written it
        return self._checkpoint.read()

    def forget(self) -> None:
        """Removes the checkpoint: the training is over and its model is in place."""
        self._checkpoint.clear()

    def _fit_stage(
        self,
        number: int,
        stage: Stage,
        earlier: TrainingHistory,
        curves: Curves,
        share: float,
    ) -> TrainingHistory:
        model, splits, config = self.model, self._splits, stage.config
        frozen = stage.unfrozen == []
        if frozen:
            if self._clock is not None:
                images = len(splits[0]) * config.augmentation.copies + len(splits[1])
                work = f"a pass of {images:,} images through the backbone"
                self._clock.check(images * self._forward, work)
            splits = transfer.frozen_splits(
                model.get_layer(parts.BACKBONE), splits, config, self._job.node
            )
        if stage.unfrozen is not None:
            transfer.unfreeze(self.model, stage.unfrozen)
            with self._strategy.scope():
                if frozen:
                    model = transfer.classifier(self.model.get_layer(parts.CLASSIFIER), config)
                else:
                    models.compiled(self.model, config, transfer.rates(self.model, config))
        curves.before = before = earlier.epochs
        part = self._clock and self._clock.part(share)
        diagnose = aside.module("training.diagnosis").diagnose
        accuracy = self._constant_accuracy()
        callbacks = [
            self._reporter(f"{stage.name}, " if stage.name else "", part),
            Diagnose(self._job.node, partial(diagnose, constant_accuracy=accuracy)),
            curves,
        ]
        if (every := config.training.keep_every) is not None:
            folder = self._job.run_folder
            callbacks.append(checkpoint.keep_every(every, self.model, folder, before))
        fitted = fitting.fit(
            model,
            config,
            *splits,
            callbacks,
            augmented=not frozen,
            keep=lambda stopping: checkpoint.Keep(self._checkpoint, stopping, number, earlier),
            clock=part,
            classes=self._job.classes,
        )
        joined = _joined(earlier, fitted, stage)
        if number == 0 and config.transfer.scratch_epochs:
            comparison = self._compared_with_scratch(fitted)
            joined = joined.model_copy(update={"comparison": comparison})
        return joined

    def _reporter(self, words: str, part: clock.Clock | None = None) -> ReportEpochs:
        return ReportEpochs(self._job.node, f"{self._job.words}{words}", clock=part)

    def _constant_accuracy(self) -> float:
        is_of_numbers = self._config.model.head == "regression"
        return 0.0 if is_of_numbers else self._splits[0].constant_accuracy()

    def _built(self, config: TrainerSettings) -> keras.Model:
        with self._strategy.scope(), precision.computing(self._job.policy):
            return self._job.build(config)

    def exported(self) -> keras.Model:
        """The model in float32, in which any server computes well."""
        if self._job.policy == precision.FLOAT32:
            return self.model
        model = self._job.build(self._config)
        model.set_weights(self.model.get_weights())
        return model

    def _checkpoint_of(self, name: str) -> checkpoint.Checkpoint:
        folder, facts = self._job.checkpoint_folder, self._job.determined_by
        return checkpoint.Checkpoint(folder, self._writes, name=name, **facts)

    def _best_start(self) -> None:
        """Begins from several initial weights; the training's checkpoint becomes the best's."""
        losses: dict[checkpoint.Checkpoint, float] = {}
        config = self._config
        for number in range(config.training.starts):
            mine, seed = self._checkpoint_of(f"start {number}"), config.training.seed + number
            model = self._built(config.with_values({"training.seed": seed}))
            if mine.read() is None and config.training.warm_start_epochs:
                self._warm_start(model)
            fitted = fitting.fit(
                model,
                config,
                *self._splits,
                [self._reporter(f"start {number + 1}, ")],
                keep=partial(checkpoint.Keep, mine),
                until=config.training.start_epochs,
                classes=self._job.classes,
            )
            losses[mine] = fitting.as_loss(fitted, config.training)
        if best := min(losses, key=lambda start: losses[start]).read():
            self._checkpoint.write(best)

    def _warm_start(self, model: keras.Model) -> None:
        """A few epochs with strong regularisation, whose weights the model then begins with."""
        training = self._config.training
        values = {
            "model.dropout": training.warm_start_dropout,
            "training.epochs": training.warm_start_epochs,
            "training.weight_decay": training.warm_start_weight_decay,
        }
        config = self._config.with_values({**values, **fitting.CONSTANT_RATE})
        warm = self._built(config)
        warm.set_weights(model.get_weights())
        reporter = self._reporter("warm start, ")
        fitting.fit(warm, config, *self._splits, [reporter], classes=self._job.classes)
        model.set_weights(warm.get_weights())

    def _compared_with_scratch(self, fitted: fitting.Fitted) -> Comparison:
        epochs = self._config.transfer.scratch_epochs
        shorter = {"training.epochs": epochs, "training.export_epoch": "last"}
        config = self._config.with_values({"model.weights": None, **shorter})
        reporter = self._reporter("from scratch, ")
        scratch = fitting.fit(
            self._built(config), config, *self._splits, [reporter], classes=self._job.classes
        )
        return transfer.compared(fitted.history, scratch.history, epochs)


def _plan(model: keras.Model, config: TrainerSettings) -> list[Stage]:
    plan = config.transfer
    if plan.mode == "none":
        return [Stage("", None, config)]
    stages = [Stage("classifier", [], config)]
    if plan.mode == "distinct":
        unfrozen: list[keras.Layer] = []
        of_groups = {
            "training.epochs": plan.group_epochs,
            "training.learning_rate": plan.group_learning_rate,
        }
        groups = transfer.groups(model.get_layer(parts.BACKBONE))[: plan.groups]
        if plan.unfreezing == "together":
            name, layers = f"{len(groups)} groups", [layer for group in groups for layer in group]
            return [*stages, Stage(name, layers, config.with_values(of_groups))]
        later = config.with_values({**of_groups, **fitting.CONSTANT_RATE})
        for number, group in enumerate(groups, 1):
            unfrozen = [*unfrozen, *group]
            stages.append(Stage(f"group {number}/{len(groups)}", unfrozen, later))
    return stages


def _digest(state: checkpoint.State | None) -> list[float]:
    """Numbers in which different states differ."""
    if state is None:
        return [0.0] * 3
    size = sum(float(np.abs(variable).sum(dtype=np.float64)) for variable in state.variables)
    return [1.0 + state.stage, state.epoch, size]


def _joined(earlier: TrainingHistory, fitted: fitting.Fitted, stage: Stage) -> TrainingHistory:
    before = earlier.history
    # A schedule's learning rate is not in every stage's history.
    names = [name for name in fitted.history if not before or name in before]
    # Keras's EarlyStopping may have gone back to what was there before the stage.
    epoch = earlier.exported_epoch if fitted.epoch < 0 else earlier.epochs + fitted.epoch
    facts = {
        "history": {name: [*before.get(name, []), *fitted.history[name]] for name in names},
        "exported_epoch": epoch,
        "stages": [*earlier.stages, (stage.name, earlier.epochs)],
    }
    return earlier.model_copy(update=facts)
