"""The evaluation of one model: what TFMA's pipeline writes, and what is made of it."""

import os
from collections.abc import Iterator, Sequence
from functools import cached_property

import apache_beam as beam
import tensorflow_model_analysis as tfma
from tfx import types
from tfx.components.util import tfxio_utils
from tfx.types import artifact_utils
from tfx.utils import io_utils

from darkroom.components.base import examples as base_examples
from darkroom.components.base import remote, sections
from darkroom.components.evaluation import (
    cost,
    faults,
    metric_names,
    metrics,
    predictions,
    tfma_metrics,
)
from darkroom.components.evaluation.artifacts import Baseline, Evaluation, Latency, MetricRow
from darkroom.components.evaluation.gate import Gate
from darkroom.components.evaluation.measurements import Measurements, row
from darkroom.components.evaluation.metric_names import Group
from darkroom.components.evaluation.tfma_metrics import TfmaMetrics
from darkroom.serving.contract import Contract

TIMED_IMAGES = 8  # that take turns in the requests that are timed
# Metrics that have an interval whatever the thresholds: of the whole and of slices, of classes.
_WITH_INTERVAL = ("accuracy", "recall", *metric_names.OF_NUMBERS)


class Candidate:
    """A model that is to be judged, perhaps beside a baseline, on the examples of a split."""

    def __init__(
        self,
        model: str,
        baselines: Sequence[str],
        examples: types.Artifact,
        evaluation: sections.Evaluation,
        folder: str,
    ):
        """Prepares TFMA; models are folders of SavedModels, ``folder`` is for what is written."""
        self._model, self._evaluation, self._folder = model, evaluation, folder
        self._examples = examples
        self._predictions_path = os.path.join(folder, "predictions.parquet")
        self._files = [
            io_utils.all_files_pattern(artifact_utils.get_split_uri([examples], evaluation.split))
        ]
        contracts = [
            Contract.parse(remote.read(os.path.join(path, Contract.FILE)))
            for path in (model, *baselines)
        ]
        self._multi_label, self._of_numbers = contracts[0].multi_label, contracts[0].numbers
        self._eval_config = tfma.utils.update_eval_config_with_defaults(
            tfma_metrics.eval_config(
                evaluation,
                self._multi_label,
                contracts[0].classes,
                contracts[1].classes if baselines else None,
                of_numbers=self._of_numbers,
            ),
            has_baseline=bool(baselines),
            rubber_stamp=True,
        )
        paths = dict(
            zip((tfma.CANDIDATE_KEY, tfma.BASELINE_KEY), (model, *baselines), strict=False)
        )
        models = [
            tfma.default_eval_shared_model(
                eval_saved_model_path=paths[spec.name or tfma.CANDIDATE_KEY],
                model_name=spec.name,
                eval_config=self._eval_config,
            )
            for spec in self._eval_config.model_specs
        ]
        self._shared = models[0] if len(models) == 1 else models

    def evaluate(self, pipeline: beam.Pipeline, most: int | None = None) -> None:
        """Adds the evaluation of the split, or of its first ``most`` examples, to a pipeline."""
        slices = self._evaluation.slices
        shared = {"eval_shared_model": self._shared, "eval_config": self._eval_config}
        features_first, *others = tfma.default_extractors(**shared)
        evaluators = tfma.default_evaluators(**shared)
        writers = tfma.default_writers(output_path=self._folder, **shared)
        _ = self._records(pipeline, most) | tfma.ExtractEvaluateAndWriteResults(
            **shared,
            extractors=[features_first, predictions.cut(slices), *others],
            evaluators=[*evaluators, predictions.evaluator(list(slices))],
            writers=[*writers, predictions.writer(self._predictions_path)],
            output_path=self._folder,
        )

    @cached_property
    def measurements(self) -> Measurements | None:
        """What the predictions that the pipeline wrote come to; None where there are none."""
        slices = list(self._evaluation.slices)
        read = predictions.read(self._predictions_path, self._multi_label, slices)
        return None if read is None else Measurements(read, self._evaluation.confidence)

    def judge(self, trained: faults.Trained | None) -> Evaluation:
        """Reads what the pipeline wrote, and has the gate judge it, by Trainer's accuracy if known.

        Raises a DarkroomError where a threshold's class doesn't exist, or a metric is no number.
        """
        evaluation, size = self._evaluation, cost.size_mib(self._model)
        measurements = self.measurements
        if measurements is None:
            return Evaluation(
                split=evaluation.split,
                multi_label=self._multi_label,
                reasons=[f"the {evaluation.split} split gave no predictions"],
                confidence=evaluation.confidence,
                size_mib=size,
            )
        read = measurements.predictions
        images = base_examples.sample_images(self._files, TIMED_IMAGES)
        latency = Latency(**cost.latency(self._model, images)._asdict())
        others = TfmaMetrics(self._folder, read.classes, evaluation.confidence)
        others.require(evaluation.metrics)
        costs = dict(zip(cost.METRICS, (latency.p50_ms, latency.p99_ms, size), strict=True))
        judgement = Gate(evaluation, measurements, others, costs).judge(trained)
        baseline = None
        if read.baseline is not None:
            apart = set(read.classes) ^ set(read.baseline_classes)
            baseline = Baseline(other_classes=sorted(apart))
        return Evaluation(
            split=evaluation.split,
            examples=len(read.outcome),
            multi_label=self._multi_label,
            numbers=self._of_numbers,
            classes=read.classes,
            blessed=judgement.blessed,
            reasons=judgement.reasons,
            remarks=judgement.remarks,
            thresholds=judgement.checks,
            metrics=list(self._rows(measurements, others)),
            confidence=evaluation.confidence,
            confusion=measurements.shown_confusion(),
            calibration=[] if self._of_numbers else list(metrics.calibration(read.outcome)),
            residuals=measurements.residuals(),
            mistakes=measurements.mistakes(),
            uncertain=measurements.uncertain(),
            latency=latency,
            size_mib=size,
            baseline=baseline,
        )

    def _rows(self, measurements: Measurements, others: TfmaMetrics) -> Iterator[MetricRow]:
        classes = measurements.classes
        overall = metric_names.meaningful(len(classes), self._multi_label, self._of_numbers)
        of_each = metric_names.OF_NUMBERS if self._of_numbers else metric_names.OF_CLASSES
        own = self._evaluation.metrics
        groups = [(Group(), overall), *((group, overall) for group in measurements.slices())]
        if not self._of_numbers or len(classes) > 1:
            groups += [(Group(name), list(of_each)) for name in classes]
        for group, standard in groups:
            per_class = group.class_name is not None
            for name in [*standard, *(key for key in own if own[key].per_class == per_class)]:
                source = others if name in own else measurements
                measured = source.measure(name, group, with_interval=name in _WITH_INTERVAL)
                difference = source.difference(name, group, with_interval=False)
                measured = measured._replace(examples=measurements.examples(group))
                yield MetricRow(**row(name, group, measured, difference))

    def _records(self, pipeline: beam.Pipeline, most: int | None) -> beam.PCollection:
        make = tfxio_utils.get_tfxio_factory_from_artifact(
            examples=[self._examples],
            telemetry_descriptors=["Evaluator"],
            raw_record_column_name=tfma.ARROW_INPUT_COLUMN,
        )
        [pattern] = self._files
        if most is None:
            return pipeline | "Read" >> make(pattern).BeamSource()
        first = base_examples.records(self._files).take(most)
        few = [record.numpy() for record in first]
        return pipeline | "Few" >> beam.Create(few) | make(pattern).RawRecordToRecordBatch(most)
