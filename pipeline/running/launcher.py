"""TFX's launcher of one node, which tells the display and ML Metadata what became of it."""

import json
from typing import Any

from tfx.orchestration.pipeline import Pipeline

from darkroom.components import nodes
from darkroom.components.base import results
from darkroom.components.base.status import Status
from darkroom.components.runs import environment, launcher, lineage
from darkroom.pipeline.config import Config
from darkroom.pipeline.display import Display
from darkroom.pipeline.node_settings import NodeSettings


def reporting(
    config: Config, pipeline: Pipeline, display: Display, failures: list[tuple[str, BaseException]]
) -> type[launcher.Launcher]:
    """The launcher for the nodes of a run.

    Args:
      config: of the pipeline.
      pipeline: made from it.
      display: is told of every node.
      failures: gets the id of the first node that fails, and its error, which a runner may wrap.
    """
    recorded: list[str] = []

    class ReportingLauncher(launcher.Launcher):
        """Tells when its node starts and ends."""

        def launch(self) -> Any:
            node = self._pipeline_node.node_info.id
            display.started(node)
            try:
                info = super().launch()
                state, result = self._outcome(node, info.execution_id)
            except BaseException as error:
                if not failures:
                    failures.append((node, error))
                    interrupted = isinstance(error, KeyboardInterrupt)
                    display.ended(node, "interrupted" if interrupted else "failed")
                raise
            display.ended(node, state, result)
            return info

        def _outcome(self, node: str, execution_id: int) -> tuple[str, str]:
            with self._mlmd_connection as metadata:
                ran = lineage.node(metadata.store, execution_id)
                if not recorded:  # now there is a run to note it on
                    run = lineage.run_of(metadata.store, execution_id)
                    _record(config, pipeline, run, metadata.store)
                    recorded.append(run.name)
            if ran.state == "failed":
                # TFX publishes this and goes on, with every later node failing the same way.
                raise RuntimeError(f"{node}: its inputs could not be resolved")
            made = Status(config.name, str(config.home), "")
            return ran.state, nodes.read_outputs(made, node, ran.made)

    return ReportingLauncher


def _record(config: Config, pipeline: Pipeline, run: Any, store: Any) -> None:
    """Notes on the run, in ML Metadata, what ``darkroom lineage`` tells of it."""
    settings = NodeSettings(config)
    codes = {node.id: settings.code(node.id) for node in pipeline.components}
    sources = {node_id: code.fingerprint for node_id, code in codes.items() if code.modules}
    noted = {
        results.CONFIG_PROPERTY: config.model_dump(),
        results.ENVIRONMENT_PROPERTY: environment.describe(),
        results.SOURCES_PROPERTY: sources,
    }
    for name, value in noted.items():
        run.custom_properties[name].string_value = json.dumps(value)
    store.put_contexts([run])
