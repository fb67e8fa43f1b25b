"""The CrossValidation node: how well models do on train images that they haven't seen.

A score of few held-out images says little. So the train split is divided into folds, and for each
fold a model is trained as Trainer's was, without that fold, and answers for it: each image of the
train split is held out once. The eval split chooses the epoch, as it chose Trainer's.
"""

import os
import tempfile
from collections.abc import Iterator
from functools import partial
from typing import ClassVar

import keras
import numpy as np
import tensorflow_transform as tft
from tfx import types
from tfx.dsl.components.base import base_executor, executor_spec
from tfx.types import standard_artifacts

from darkroom.components.base import examples as base_examples
from darkroom.components.base import remote, results
from darkroom.components.base.component import Artifacts, Component, Properties, file_patterns
from darkroom.components.base.settings import CrossValidationSettings
from darkroom.components.evaluation import metrics
from darkroom.components.evaluation.artifacts import CrossValidation as Result
from darkroom.components.evaluation.artifacts import MetricRow
from darkroom.components.evaluation.metrics import Outcome
from darkroom.components.networks import export
from darkroom.components.training import calibration, dataset, folds, precision, stages
from darkroom.components.training.hand_over import HandOver
from darkroom.components.transform import vocabulary

_NODE = "CrossValidation"
_METRICS = ("accuracy", "loss", "macro_recall", "calibration_error")


class Executor(base_executor.BaseExecutor):
    """Trains the models one after the other, and goes on where it was interrupted."""

    def Do(self, inputs: Artifacts, outputs: Artifacts, properties: Properties) -> None:
        """Raises a DarkroomError where a class or the groups don't fill the folds."""
        settings = CrossValidationSettings.unpack(properties["custom_config"])
        [graph], [artifact] = inputs["transform_graph"], outputs["cross_validation"]
        transform = tft.TFTransformOutput(graph.uri)
        train_files, eval_files = (
            file_patterns(inputs["examples"], split) for split in ("train", "eval")
        )
        data = train_files, eval_files, transform
        best = _best(inputs.get("hyperparameters"))
        root, node_folder = settings.outliving(artifact.uri)
        examples = os.path.join(root, results.SEARCHES_FOLDER, results.EXAMPLES_FOLDER)
        training = settings.with_values(best.values).training
        place = dataset.place_for(examples, *data, training)
        train, evaluation = dataset.splits(*data, training, _NODE, place)
        train.groups = base_examples.groups(train_files)
        job = stages.TrainingJob(
            settings=settings.of_training,
            node=_NODE,
            hand_over=best,
            classes=vocabulary.class_names(transform),
            run_folder="",
            checkpoint_folder=remote.origin(os.path.join(node_folder, "checkpoints")),
            files=list(map(remote.origin, [*train_files, *eval_files])),
            transform=remote.origin(graph.uri),
        )
        cross_validated(job, (train, evaluation), settings).write(artifact.uri)


def _best(hyperparameters: list[types.Artifact] | None) -> HandOver:
    """The best trial's values. Its weights have seen all images: nothing begins with them."""
    if not hyperparameters:
        return HandOver()
    return HandOver.read(hyperparameters[0].uri).model_copy(update={"checkpoint": None})


def cross_validated(
    job: stages.TrainingJob, splits: dataset.Splits, settings: CrossValidationSettings
) -> Result:
    """Trains a model without each fold of train, and measures what all of them answer."""
    count, config = settings.folds, job.config
    assert count is not None
    train, evaluation = splits
    folds.check(train, count, "evaluation.folds")
    policy = precision.chosen(config, job.build, train, _NODE, job.checkpoint_folder)
    job = job.model_copy(update={"policy": policy})
    scores = np.zeros([len(train), len(job.classes)])
    of_folds, trainings, multi_label = [], [], train.labels.ndim > 1
    for number, (fitted, held_out) in enumerate(folds.split(train, count, config.training.seed)):
        keras.backend.clear_session(free_memory=False)
        of_fold = f"fold {number + 1} of {count}"
        with tempfile.TemporaryDirectory() as nowhere:  # for curves that nobody asks for
            mine = {"run_folder": nowhere, "files": [*job.files, of_fold], "words": f"{of_fold}, "}
            examples = train.part(fitted), evaluation
            training = stages.Training(job.model_copy(update=mine), examples)
            training.run()
        trainings.append(training)
        answers = _scores(training.exported(), train.part(held_out), evaluation, job)
        scores[held_out] = answers
        truth = _truth(train.labels[held_out], len(job.classes))
        outcome = Outcome(truth, answers, multi_label)
        of_folds.append(float(metrics.value(metrics.accuracy, outcome)))
    outcome = Outcome(_truth(train.labels, len(job.classes)), scores, multi_label)
    rows = list(_rows(outcome, job.classes, settings.confidence))
    for training in trainings:
        training.forget()
    return Result(folds=of_folds, examples=len(train), metrics=rows)


def _scores(
    model: keras.Model, held_out: dataset.Examples, evaluation: dataset.Examples,
    job: stages.TrainingJob,
) -> np.ndarray:  # fmt: skip
    """Scores as the export would give them, float64 [count, num_classes]."""
    config = job.config
    scored = partial(
        export.scores,
        head=config.model.head,
        are_scores=export.gives_scores(model, config.model.head),
        temperature=calibration.temperature(model, evaluation, config),
    )
    return calibration.outputs_of(model, held_out, config, scored)


def _truth(labels: np.ndarray, classes: int) -> np.ndarray:
    return labels if labels.ndim > 1 else np.eye(classes)[labels]


def _rows(outcome: Outcome, classes: list[str], confidence: float) -> Iterator[MetricRow]:
    """Metrics of all examples, and the recall of each class, with their intervals."""

    def measured(metric: metrics.Metric) -> tuple[np.ndarray, np.ndarray]:
        [drawn] = metrics.replicates(metric, [outcome], metrics.REPLICATES)
        return metrics.value(metric, outcome), drawn

    for name in _METRICS:
        value, drawn = measured(metrics.OVERALL[name])
        low, high = metrics.interval(drawn, confidence)
        yield MetricRow(metric=name, value=float(value), low=low, high=high, examples=len(outcome))
    values, drawn = measured(metrics.OF_CLASSES["recall"])
    for number, class_name in enumerate(classes):
        low, high = metrics.interval(drawn[:, number], confidence)
        yield MetricRow(
            metric="recall", class_name=class_name, value=float(values[number]), low=low,
            high=high, examples=int(outcome.truth[:, number].sum()),
        )  # fmt: skip


class CrossValidation(Component):
    """How well models trained as Trainer's do on folds of train that they haven't seen."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
    INPUTS: ClassVar = {
        "examples": standard_artifacts.Examples,
        "transform_graph": standard_artifacts.TransformGraph,
    }
    OPTIONAL: ClassVar = {"hyperparameters": standard_artifacts.HyperParameters}
    OUTPUTS: ClassVar = {"cross_validation": standard_artifacts.ModelEvaluation}
