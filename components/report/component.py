"""The Report node: what a run came to, on a page, whether the model was blessed or not."""

import logging
from pathlib import Path
from typing import ClassVar

from tfx import types
from tfx.dsl.components.base import base_executor, executor_spec
from tfx.types import standard_artifacts

from darkroom.components.base import progress, remote
from darkroom.components.base.component import Artifacts, Component, Properties
from darkroom.components.base.errors import DarkroomError, explain
from darkroom.components.base.settings import ReportSettings
from darkroom.components.pushing import outcome as pushing
from darkroom.components.report import files, tracking
from darkroom.components.report.collector import collect
from darkroom.components.report.facts import Facts
from darkroom.components.runs import lineage
from darkroom.components.runs.metadata import Store


class RunReport(types.Artifact):
    """A folder with ``report.html``, ``report.md``, ``report.json`` and their pictures."""

    TYPE_NAME = "darkroom.RunReport"  # Kubeflow wants a name space


class Executor(base_executor.BaseExecutor):
    """Collects the facts and writes the files."""

    def Do(self, inputs: Artifacts, outputs: Artifacts, properties: Properties) -> None:
        [report] = outputs["report"]
        settings = ReportSettings.unpack(properties["custom_config"])
        folder = Path(report.uri)
        artifacts = {key: listed[0].mlmd_artifact for key, listed in inputs.items() if listed}
        run = str(self._context.pipeline_run_id) if self._context else ""
        nodes = nodes_before(settings, run)
        facts = collect(folder, run, settings.config, artifacts, nodes)
        files.write(facts, folder)
        if (uri := settings.config["report"]["mlflow"]) is not None:
            pushed = (
                pushing.pushed(artifacts["pushed_model"]) if "pushed_model" in artifacts else None
            )
            _track(uri, facts, folder, pushed)


def _track(uri: str, facts: Facts, folder: Path, pushed: str | None) -> None:
    try:
        tracking.log(uri, facts, folder, remote.fetch(pushed) if pushed else None)
    except Exception as error:  # the model is good, and its report is written
        progress.warn("Report", f"report.mlflow: this run isn't in {uri}: {explain(error)}")


def nodes_before(settings: ReportSettings, run: str) -> list[lineage.Node]:
    """The nodes of the run before this one; none where another store has them, as on Kubeflow."""
    store = Store.model_validate_json(settings.store) if settings.store is not None else None
    if store is None or not store.exists():
        return []
    try:
        opened = store.open()
    except DarkroomError as error:  # a report without the nodes' times is better than none
        logging.warning("The report has no times of nodes. %s", error)
        return []
    pipeline = str(settings.config["name"])
    contexts = [context for context in lineage.runs(opened, pipeline) if context.name == run]
    nodes = [node for context in contexts for node in lineage.nodes(opened, pipeline, context)]
    return [node for node in nodes if node.state in lineage.DONE]


class Report(Component):
    """The last node of a run, also of one that pushes nothing."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
    OPTIONAL: ClassVar = {
        "examples": standard_artifacts.Examples,
        "statistics": standard_artifacts.ExampleStatistics,
        "anomalies": standard_artifacts.ExampleAnomalies,
        "transform_graph": standard_artifacts.TransformGraph,
        "best_hyperparameters": standard_artifacts.HyperParameters,
        "tuner_results": standard_artifacts.TunerResults,
        "model": standard_artifacts.Model,
        "model_run": standard_artifacts.ModelRun,
        "evaluation": standard_artifacts.ModelEvaluation,
        "blessing": standard_artifacts.ModelBlessing,
        "infra_blessing": standard_artifacts.InfraBlessing,
        "pushed_model": standard_artifacts.PushedModel,
    }
    OUTPUTS: ClassVar = {"report": RunReport}
