"""The LearningRateScan node: a few short epochs at each of many learning rates."""

import os
from collections.abc import Sequence
from typing import ClassVar

import keras
import keras_tuner
import numpy as np
import tensorflow_transform as tft
from matplotlib.figure import Figure
from tfx.dsl.components.base import base_executor, executor_spec
from tfx.types import standard_artifacts

from darkroom.components.base.component import Artifacts, Component, Properties, file_patterns
from darkroom.components.base.settings import NetworkSettings, ScanSettings
from darkroom.components.networks import models, parts
from darkroom.components.training import dataset, devices, fitting, precision, transfer
from darkroom.components.training.callbacks import ReportEpochs
from darkroom.components.training.model_run import LearningRates, ScannedRate
from darkroom.components.transform import vocabulary

# A rate is nearly as good as the best where its value is off by less than this share.
_AS_GOOD = 0.1


class Executor(base_executor.BaseExecutor):
    """Scans, and writes what was found."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Properties
    ) -> None:
        """Writes the points, the best rate and a sentence as JSON, and a picture."""
        config = ScanSettings.unpack(exec_properties["custom_config"])
        [graph] = input_dict["transform_graph"]
        transform = tft.TFTransformOutput(graph.uri)
        train, evaluation = (
            file_patterns(input_dict["examples"], split) for split in ("train", "eval")
        )
        splits = dataset.splits(train, evaluation, transform, config.training, "LearningRateScan")
        points = scan(config, vocabulary.class_names(transform), splits)
        best, words = suggestion(points, config.training.monitor)
        [run] = output_dict["model_run"]
        LearningRates(points=points, suggestion=best, words=words).write(run.uri)
        picture(points, best, os.path.join(run.uri, LearningRates.PICTURE))


class LearningRateScan(Component):
    """A few short epochs at each of many learning rates."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
    INPUTS: ClassVar = {
        "examples": standard_artifacts.Examples,
        "transform_graph": standard_artifacts.TransformGraph,
    }
    OUTPUTS: ClassVar = {"model_run": standard_artifacts.ModelRun}


def scan(config: ScanSettings, classes: Sequence[str], splits: dataset.Splits) -> list[ScannedRate]:
    """Fits the model, or a transferred model's classifier, from the same weights at each rate."""
    scanned, training = config.lr_scan, config.training
    rates = np.geomspace(scanned.min, scanned.max, scanned.points).tolist()
    frozen = None
    points = []

    def build(at_rate: NetworkSettings) -> keras.Model:
        return models.build_model(keras_tuner.HyperParameters(), at_rate, classes)

    policy = precision.chosen(config, build, splits[0], "LearningRateScan")
    short = {"training.epochs": scanned.epochs, "training.export_epoch": "last"}
    for number, rate in enumerate(rates):
        changed = {"training.learning_rate": rate, **short, **fitting.CONSTANT_RATE}
        at_rate = config.with_values(changed)
        keras.utils.set_random_seed(training.seed)
        with devices.strategy(training).scope(), precision.computing(policy):
            model = build(at_rate)
            if config.transfer.mode != "none":
                backbone = model.get_layer(parts.BACKBONE)
                frozen = frozen or transfer.frozen_splits(
                    backbone, splits, config, "LearningRateScan"
                )
                model = transfer.classifier(model.get_layer(parts.CLASSIFIER), at_rate)
        reporter = ReportEpochs(
            "LearningRateScan", f"rate {rate:.2g}, ", number / len(rates), 1 / len(rates)
        )
        try:
            fitted = fitting.fit(
                model,
                at_rate,
                *(frozen or splits),
                [reporter],
                augmented=frozen is None,
                classes=classes,
            )
            metrics = {name: values[-1] for name, values in fitted.history.items()}
            points.append(ScannedRate(rate=rate, metrics=metrics))
        except fitting.Diverged:
            points.append(ScannedRate(rate=rate, metrics=None))
    return points


def suggestion(points: list[ScannedRate], monitor: str) -> tuple[float | None, str]:
    """The rate of the best ``monitor``, and a sentence; None where no rate learnt anything."""
    sign = -1.0 if monitor == "val_accuracy" else 1.0
    values = [
        (sign * p.metrics[monitor], p.rate)
        for p in points
        if p.metrics is not None and np.isfinite(p.metrics[monitor])
    ]
    if not values:
        return None, (
            "The loss was no number at any rate: look for images that are all one value, and try "
            "a lower lr_scan.min."
        )
    best, rate = min(values)
    good = [r for value, r in values if value <= best + _AS_GOOD * abs(best)]
    words = f"{rate:.2g} gives the best {monitor}, {sign * best:.4f}"
    if len(good) > 1:
        words += f"; {min(good):.2g} to {max(good):.2g} are nearly as good"
    broken = [p.rate for p in points if p.metrics is None]
    if broken:
        words += f"; from {min(broken):.2g} on the loss is no number"
    words += "."
    rates = [p.rate for p in points]
    if rate == rates[0]:
        words += " It is the lowest rate of all: try a lower lr_scan.min."
    elif rate == rates[-1]:
        words += " It is the highest rate of all: try a higher lr_scan.max."
    return rate, words


def picture(points: list[ScannedRate], best: float | None, path: str) -> None:
    """Losses by learning rate as a PNG."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot(xscale="log", xlabel="training.learning_rate", ylabel="loss")
    kept = {p.rate: p.metrics for p in points if p.metrics is not None}
    for name, label in (("loss", "train"), ("val_loss", "eval")):
        values = [metrics.get(name, np.nan) for metrics in kept.values()]
        axes.plot(list(kept), values, marker="o", label=label)
    # Rates that don't learn have the lowest rate's loss, or a far higher one, which is cut off.
    first = next(iter(kept.values()), {})
    axes.set_ylim(0, 2 * max(filter(np.isfinite, first.values()), default=1.0))
    for point in points:
        if point.metrics is None:
            axes.axvline(point.rate, color="tab:red", linestyle=":")
    if best is not None:
        axes.axvline(best, color="tab:green", linestyle="--", label=f"best: {best:.2g}")
    axes.legend()
    figure.savefig(path, dpi=120)
