"""The Report node: what a run came to, on a page, whether the model was blessed or not."""

import logging
from pathlib import Path
from typing import Any, ClassVar

from tfx import types
from tfx.dsl.components.base import base_executor, executor_spec
from tfx.types import standard_artifacts

from darkroom.components.base.component import Component
from darkroom.components.base.errors import DarkroomError
from darkroom.components.base.settings import ReportSettings
from darkroom.components.report import facts, files
from darkroom.components.runs import lineage, metadata

INPUTS: dict[str, Any] = {
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


class RunReport(types.Artifact):
    """A folder with ``report.html``, ``report.md``, ``report.json`` and their pictures."""

    TYPE_NAME = "darkroom.RunReport"  # Kubeflow wants a name space


class Executor(base_executor.BaseExecutor):
    """Collects the facts and writes the files."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Reports on what the nodes before it have made."""
        [report] = output_dict["report"]
        folder = Path(report.uri)
        settings = ReportSettings.unpack(exec_properties["custom_config"])
        config = settings.config
        run = self._context.pipeline_run_id
        found = facts.collect(
            folder,
            config["name"],
            run,
            config,
            {key: listed[0].mlmd_artifact for key, listed in input_dict.items() if listed},
            _nodes(settings.store, config["name"], run),
        )
        files.write(found, folder)


def _nodes(store: dict[str, Any] | None, pipeline: str, run: str) -> list[lineage.Node]:
    """The nodes of the run before this one; none where another store has them, as on Kubeflow."""
    if store is None or not metadata.exists(store):
        return []
    try:
        opened = metadata.open_store(store)
    except DarkroomError as error:  # a report without the nodes' times is better than none
        logging.warning("The report has no times of nodes. %s", error)
        return []
    contexts = [context for context in lineage.runs(opened, pipeline) if context.name == run]
    found = [node for context in contexts for node in lineage.nodes(opened, pipeline, context)]
    return [node for node in found if node.state in lineage.DONE]


class Report(Component):
    """The last node of a run, also of one that pushes nothing.

    Outputs ``report``: the page, its text, its facts.
    """

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
    OPTIONAL: ClassVar = INPUTS
    OUTPUTS: ClassVar = {"report": RunReport}
