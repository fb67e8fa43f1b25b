"""One side of evaluation.py: ``stock``, ``stock-per-class`` or ``darkroom``, timed in this process.

Prints JSON of the seconds, all of them and those of each node.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import keras  # noqa: F401  # before tensorflow_transform, which would choose tf_keras
import tensorflow_model_analysis as tfma
from tfx.components.evaluator import executor as stock
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from darkroom.components.base import features
from darkroom.components.base.settings import ReportSettings
from darkroom.components.evaluation import evaluator
from darkroom.components.report import collector, files
from darkroom.components.runs import lineage
from darkroom.components.runs.metadata import Store
from darkroom.serving import signatures


def main() -> None:
    """Runs a side on the artifacts of the newest run below a pipeline's folder."""
    side, home, folder = sys.argv[1], Path(sys.argv[2]), Path.cwd()
    store = Store(backend="sqlite", path=str(home / "metadata.sqlite")).open()
    run = lineage.runs(store, home.name)[0]
    nodes = lineage.nodes(store, home.name, run)
    made = {
        key: artifact
        for node in nodes
        if not node.is_resolver
        for key, artifact in node.made.items()
    }
    inputs = {
        "examples": [_artifact(standard_artifacts.Examples, made["examples"])],
        "model": [_artifact(standard_artifacts.Model, made["model"])],
    }
    outputs = {
        "evaluation": [standard_artifacts.ModelEvaluation()],
        "blessing": [standard_artifacts.ModelBlessing()],
    }
    for key, [artifact] in outputs.items():
        artifact.uri = str(folder / key)
    parts: dict[str, float] = {}
    if side == "darkroom":
        given = {node.id: node.execution.custom_properties for node in nodes}
        report = ReportSettings.unpack(given["Report"]["custom_config"].string_value)
        properties = {"custom_config": given["Evaluator"]["custom_config"].string_value}
        began = time.monotonic()
        _do(evaluator.Executor, inputs, outputs, properties)
        parts["Evaluator"] = time.monotonic() - began
        began = time.monotonic()
        page = folder / "report"
        page.mkdir()
        files.write(collector.collect(page, run.name, report.config, made, nodes), page)
        parts["Report"] = time.monotonic() - began
    else:
        properties = {
            "eval_config": proto_utils.proto_to_json(_eval_config(side == "stock-per-class")),
            "example_splits": "null",
        }
        began = time.monotonic()
        _do(stock.Executor, inputs, outputs, properties)
        parts["Evaluator"] = time.monotonic() - began
    print(json.dumps({"seconds": sum(parts.values()), **parts}))


def _do(executor: type[BaseBeamExecutor], inputs: Any, outputs: Any, properties: Any) -> None:
    executor(BaseBeamExecutor.Context(beam_pipeline_args=[])).Do(inputs, outputs, properties)


def _artifact(kind: Any, proto: Any) -> Any:
    artifact = kind()
    artifact.set_mlmd_artifact(proto)
    return artifact


def _eval_config(per_class: bool) -> tfma.EvalConfig:
    model = tfma.ModelSpec(
        signature_name=signatures.EXAMPLES,
        preprocessing_function_names=[signatures.TRANSFORM],
        prediction_key=signatures.SCORES,
        label_key=features.LABEL,
    )
    bound = tfma.MetricThreshold(
        value_threshold=tfma.GenericValueThreshold(lower_bound={"value": 0.5})
    )
    metrics = [
        tfma.MetricConfig(class_name="SparseCategoricalAccuracy", threshold=bound),
        tfma.MetricConfig(class_name="SparseCategoricalCrossentropy"),
        tfma.MetricConfig(class_name="ExampleCount"),
    ]
    specs = [tfma.MetricsSpec(metrics=metrics)]
    if per_class:
        of_class = [
            tfma.MetricConfig(class_name=name, config=json.dumps({"top_k": 1}))
            for name in ("Precision", "Recall")
        ]
        of_class.append(tfma.MetricConfig(class_name="AUC"))
        specs.append(tfma.MetricsSpec(metrics=of_class))
        specs[1].binarize.class_ids.values.extend(range(10))
        confusions = tfma.MetricConfig(class_name="MultiClassConfusionMatrixPlot")
        specs.append(tfma.MetricsSpec(metrics=[confusions]))
    return tfma.EvalConfig(
        model_specs=[model], slicing_specs=[tfma.SlicingSpec()], metrics_specs=specs
    )


if __name__ == "__main__":
    main()
