"""The Evaluator node: metrics of the candidate and the baseline, the gate, its verdict in words."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import apache_beam as beam
import tensorflow_model_analysis as tfma
from tfx import types
from tfx.components.evaluator import constants
from tfx.components.util import tfxio_utils
from tfx.dsl.components.base import base_beam_component, base_beam_executor, executor_spec
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_artifacts, standard_component_specs
from tfx.types.component_spec import ExecutionParameter
from tfx.utils import io_utils, path_utils

from darkroom.components.base import remote, results, settings
from darkroom.components.evaluation import cost, metrics, predictions
from darkroom.components.evaluation import tfma_metrics as named
from darkroom.components.evaluation.gate import Gate, Verdict, described
from darkroom.components.evaluation.measurements import Group, Measurements, number_or_none
from darkroom.components.runs import last_statistics
from darkroom.components.training import dataset
from darkroom.serving import description, files, signatures
from darkroom.serving.predictor import read_json

_PREDICTIONS = "predictions.parquet"
_TELEMETRY = ["Evaluator"]
TIMED_IMAGES = 8  # that take turns
# Metrics of the whole and of slices, and of classes, with an interval whatever the thresholds.
_WITH_INTERVAL = ("accuracy", "recall")


class Executor(base_beam_executor.BaseBeamExecutor):
    """Evaluates with TFMA, keeps every prediction, and blesses or says why not."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the evaluation, and puts the verdict on the blessing."""
        self._log_startup(input_dict, output_dict, exec_properties)
        config = settings.unpack(json.loads(exec_properties["custom_config"]))
        [examples], [model] = input_dict["examples"], input_dict["model"]
        baselines = last_statistics.found(input_dict.get("baseline_model"))
        [evaluation], [blessing] = output_dict["evaluation"], output_dict["blessing"]
        folder = path_utils.serving_model_path(model.uri)
        split = artifact_utils.get_split_uri([examples], config.evaluation.split)
        judged = Evaluated(
            folder,
            [path_utils.serving_model_path(baseline.uri) for baseline in baselines],
            examples,
            config.evaluation,
            evaluation.uri,
        )
        with self._make_beam_pipeline() as pipeline:
            judged.evaluate(pipeline)
        images = dataset.sample_images([io_utils.all_files_pattern(split)], TIMED_IMAGES)
        verdict, found = judged.judge(images, _trained_accuracy(folder, config))
        for baseline in baselines:
            found["baseline"] = {
                "model": baseline.id,
                "uri": remote.origin(baseline.uri),
                **(found["baseline"] or {}),
            }
        files.write_json(os.path.join(evaluation.uri, results.EVALUATION_FILE), found)
        _bless(blessing, verdict, found, model, baselines, exec_properties)


class Evaluated:
    """One evaluation: what TFMA's pipeline writes, and what is made of it."""

    def __init__(
        self,
        model: str,
        baselines: Sequence[str],
        examples: types.Artifact,
        evaluation: SimpleNamespace,
        folder: str,
    ):
        """Prepares TFMA.

        Args:
          model: folder of the SavedModel.
          baselines: folder of the one to beat, if there is one.
          examples: the artifact.
          evaluation: the section, with all thresholds of the gate in ``thresholds``.
          folder: for what is written.
        """
        self._model, self._evaluation, self._folder = model, evaluation, folder
        self._examples = examples
        contracts = [_contract(path) for path in (model, *baselines)]
        self._multi_label: bool = contracts[0]["multi_label"]
        classes = [contract["classes"] for contract in contracts]
        self._eval_config = tfma.utils.update_eval_config_with_defaults(
            named.eval_config(evaluation, self._multi_label, *classes),
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
        """Adds the evaluation of the split to a Beam pipeline.

        Args:
          pipeline: to add to.
          most: of its first examples alone.
        """
        slices = vars(self._evaluation.slices)
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

    def judge(
        self, images: Sequence[bytes], trained_accuracy: float | None
    ) -> tuple[Verdict, dict[str, Any]]:
        """The verdict, and all that was found, for ``evaluation.json``.

        Args:
          images: some encoded images, to time requests with.
          trained_accuracy: what Trainer measured on this split; None where it isn't known.

        Raises:
          DarkroomError: a threshold names a class that doesn't exist.
        """
        slices = list(vars(self._evaluation.slices))
        read = predictions.read(self._predictions_path, self._multi_label, slices)
        size = cost.size_mib(self._model)
        found: dict[str, Any] = {
            "split": self._evaluation.split,
            "examples": 0,
            "multi_label": self._multi_label,
            "classes": [],
            "blessed": False,
            "reasons": [f"the {self._evaluation.split} split gave no predictions"],
            "remarks": [],
            "thresholds": [],
            "metrics": [],
            "confidence": self._evaluation.confidence,
            "confusion": None,
            "calibration": [],
            "mistakes": [],
            "uncertain": [],
            "latency": None,
            "size_mib": size,
            "baseline": None,
        }
        if read is None:
            return Verdict(reasons=found["reasons"]), found
        latency = cost.latency(self._model, images)
        costs = {
            "size_mib": size,
            **{f"latency_{key}": latency[key] for key in ("p50_ms", "p99_ms")},
        }
        measurements = Measurements(read, self._evaluation.confidence)
        others = named.TfmaMetrics(self._folder, read.classes, self._evaluation.confidence)
        others.require(vars(self._evaluation.metrics))
        verdict = Gate(self._evaluation, measurements, others, costs).judge(trained_accuracy)
        found |= {
            "examples": len(read.outcome),
            "classes": read.classes,
            "blessed": verdict.blessed,
            "reasons": verdict.reasons,
            "remarks": verdict.remarks,
            "thresholds": [check.as_dict() for check in verdict.checks],
            "metrics": list(self._rows(measurements, others)),
            "confusion": measurements.described_confusion(),
            "calibration": list(metrics.calibration(read.outcome)),
            "mistakes": measurements.mistakes(),
            "uncertain": measurements.uncertain(),
            "latency": latency,
        }
        if read.baseline is not None:
            apart = set(read.classes) ^ set(read.baseline_classes)
            found["baseline"] = {"other_classes": sorted(apart)}
        return verdict, found

    def _rows(
        self, measurements: Measurements, others: named.TfmaMetrics
    ) -> Iterator[dict[str, Any]]:
        """Every metric of the whole, of each class and of each slice."""
        classes = measurements.classes
        overall = metrics.names(len(classes), self._multi_label)
        own = vars(self._evaluation.metrics)
        groups = [(Group(), overall), *((group, overall) for group in measurements.slices())]
        groups += [(Group(name), list(metrics.OF_CLASSES)) for name in classes]
        for group, standard in groups:
            per_class = group.class_name is not None
            for name in [*standard, *(key for key in own if own[key].per_class == per_class)]:
                source: Any = others if name in own else measurements
                measured = source.measure(name, group, with_interval=name in _WITH_INTERVAL)
                difference = source.difference(name, group, with_interval=False)
                yield {
                    "metric": name,
                    "class": group.class_name,
                    "slice": dict(group.slice) or None,
                    "value": number_or_none(measured.value),
                    "low": number_or_none(measured.low),
                    "high": number_or_none(measured.high),
                    **described(difference),
                    "examples": measurements.examples(group),
                }

    @property
    def _predictions_path(self) -> str:
        return os.path.join(self._folder, _PREDICTIONS)

    def _records(self, pipeline: beam.Pipeline, most: int | None) -> beam.PCollection:
        """Arrow batches of the split's examples, as TFMA takes them."""
        uri = artifact_utils.get_split_uri([self._examples], self._evaluation.split)
        make = tfxio_utils.get_tfxio_factory_from_artifact(
            examples=[self._examples],
            telemetry_descriptors=_TELEMETRY,
            raw_record_column_name=tfma.ARROW_INPUT_COLUMN,
        )
        pattern = io_utils.all_files_pattern(uri)
        if most is None:
            return pipeline | "Read" >> make(pattern).BeamSource()
        first = dataset.records([pattern]).take(most)
        few = [record.numpy() for record in first]
        return pipeline | "Few" >> beam.Create(few) | make(pattern).RawRecordToRecordBatch(most)


def _contract(model: str) -> dict[str, Any]:
    with fileio.open(os.path.join(model, signatures.CONTRACT_PATH)) as file:
        contract: dict[str, Any] = {"multi_label": False, **json.load(file)}
    return contract


def _trained_accuracy(model: str, config: SimpleNamespace) -> float | None:
    """What Trainer measured of the exported epoch, where that was on the same examples."""
    if config.evaluation.split != "eval":
        return None
    facts = read_json(Path(model) / description.FACTS_PATH)
    found: float | None = facts.get("metrics", {}).get("val_accuracy")
    return found


def _bless(
    blessing: types.Artifact,
    verdict: Verdict,
    found: dict[str, Any],
    model: types.Artifact,
    baselines: list[types.Artifact],
    exec_properties: dict[str, Any],
) -> None:
    """Marks the blessing as TFX's Evaluator does, and adds why."""
    text, number = blessing.set_string_custom_property, blessing.set_int_custom_property
    text(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY, model.uri)
    number(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, model.id)
    for baseline in baselines:
        text(constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY, baseline.uri)
        number(constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY, baseline.id)
    if "current_component_id" in exec_properties:
        text("component_id", exec_properties["current_component_id"])
    name = constants.BLESSED_FILE_NAME if verdict.blessed else constants.NOT_BLESSED_FILE_NAME
    io_utils.write_string_file(os.path.join(blessing.uri, name), "")
    blessed = constants.BLESSED_VALUE if verdict.blessed else constants.NOT_BLESSED_VALUE
    number(constants.ARTIFACT_PROPERTY_BLESSED_KEY, blessed)
    whole = [row for row in found.get("metrics", []) if not row["class"] and not row["slice"]]
    values = {row["metric"]: row["value"] for row in whole}
    values["example_count"] = found.get("examples", 0)
    text(
        results.VERDICT_PROPERTY,
        json.dumps({"metrics": values, "reasons": verdict.reasons, "remarks": verdict.remarks}),
    )


class EvaluatorSpec(standard_component_specs.EvaluatorSpec):
    """TFX's contract of Evaluator, with darkroom's ``evaluation`` section in EvalConfig's place."""

    PARAMETERS: ClassVar[dict[str, ExecutionParameter]] = {
        "custom_config": ExecutionParameter(type=str)
    }


class Evaluator(base_beam_component.BaseBeamComponent):
    """The gate of the models.

    Outputs ``evaluation`` in TFMA's own form, with the predictions and ``evaluation.json`` beside
    it, and ``blessing``, with the verdict on it.
    """

    SPEC_CLASS = EvaluatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        model: types.BaseChannel,
        baseline_model: types.BaseChannel,
        custom_config: dict[str, Any],
    ):
        """Judges ``model``; ``baseline_model`` may be empty, ``custom_config`` is the section."""
        spec = EvaluatorSpec(
            examples=examples,
            model=model,
            baseline_model=baseline_model,
            custom_config=json.dumps(custom_config, sort_keys=True),
            evaluation=types.Channel(type=standard_artifacts.ModelEvaluation),
            blessing=types.Channel(type=standard_artifacts.ModelBlessing),
        )
        super().__init__(spec=spec)
