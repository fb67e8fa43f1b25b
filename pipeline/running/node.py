"""Runs one node of the graph in a process of its own, for schedulers such as Airflow.

python -m darkroom.pipeline.running.node --config FILE --run RUN NODE

The nodes of a run are those that were given the same name of a run. A node that is done in a run is
not done again: a scheduler may try as often as it likes.
"""

import logging
import re
import sys
from collections.abc import Sequence
from typing import Any

import click

from darkroom.components.base.errors import DarkroomError, closest, explain
from darkroom.components.runs import lineage
from darkroom.pipeline import beam, display
from darkroom.pipeline.command_line import obey
from darkroom.pipeline.config import Config, load
from darkroom.pipeline.history import status
from darkroom.pipeline.running import lock, preflight, runner

# The one that reads the data.
_FIRST = "ImportExampleGen"


def main(arguments: Sequence[str] | None = None) -> None:
    """Ends with 0 where the node is done, 130 where it was interrupted, else 1."""
    sys.exit(obey(run_node, "python -m darkroom.pipeline.running.node", arguments))


@click.command(help=f"{__doc__}\n\nNODE: the node's id, such as Trainer.")
@click.option("--config", "path", required=True, metavar="FILE", help="as darkroom run takes it")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="the same")
@click.option("--run", "run_name", required=True, metavar="RUN", help="the name of the run")
@click.argument("node")
def run_node(path: str, overrides: Sequence[str], run_name: str, node: str) -> int:
    """Ends the process itself once there is a log."""
    try:
        config = load(path, list(overrides))
        runner.raise_on_signals()
        log, terminal = runner.log_to_file(config, node)
    except DarkroomError as error:
        print(f"darkroom: {error}")
        return 1
    shown = display.Lines(terminal)

    def work() -> int:
        # It becomes the name of a folder. Airflow's own names of runs stay as they are.
        run = re.sub(r"[^\w.~:+-]", "_", run_name)
        if not _run(config, run, node, shown):
            log.unlink()
        return 0

    return runner.leave(runner.attempt(work, shown, log))


def _run(config: Config, run: str, node: str, shown: display.Display) -> bool:
    """Runs a node of a run; False where that is done already."""
    with (
        lock.beside(config, node, shown.say),
        runner.temporary_folder(config.home / "tmp" / node),
        runner.reported(config, shown, lambda context: context.name == run),
    ):
        done = _done(config, run, node)
        if node in done:
            shown.say(f"{node} is done already in {run}. What is to be done again needs a new run.")
            return False
        size = preflight.check(config) if node == _FIRST else preflight.data_bytes(config)
        pipeline = runner.create(config, size)
        if node == _FIRST:
            preflight.rehearse(config)
        _require_engine(config, _require(pipeline, node, done, run))
        _launch(config, pipeline, run, node, shown)
        return True


def _done(config: Config, run: str, node: str) -> set[str]:
    """The nodes of a run that are done; notes in ML Metadata of one's last try that it was killed.

    Args:
      config: of the pipeline.
      run: its name.
      node: nobody else runs it now.

    Raises:
      DarkroomError: nothing has run at all, and the node is not the first.
    """
    try:
        store = status.open_store(config)
        contexts = status.runs(config, store)
    except DarkroomError:
        if node == _FIRST:  # before which nothing need have run
            return set()
        raise
    context = next((one for one in contexts if one.name == run), None)
    tried = lineage.nodes(store, config.name, context) if context is not None else []
    for one in tried:
        if one.id == node and one.state == "interrupted":
            one.execution.last_known_state = one.execution.FAILED
            store.put_executions([one.execution])
    return {one.id for one in tried if one.state in lineage.DONE}


def _require(pipeline: Any, node: str, done: set[str], run: str) -> Any:
    """The node; DarkroomError where the graph has none such, or one before it is not done."""
    nodes = {one.id: one for one in pipeline.components}
    if node not in nodes:
        name = pipeline.pipeline_info.pipeline_name
        raise DarkroomError(
            f"{name} has no node {node}; there are {', '.join(nodes)}.{closest(node, list(nodes))}"
        )
    missing = sorted({one.id for one in nodes[node].upstream_nodes} - done)
    if missing:
        raise DarkroomError(f"{node} comes after {', '.join(missing)}, not done yet in {run}.")
    return nodes[node]


def _require_engine(config: Config, node: Any) -> None:
    """Looks for Beam's engine, where the node is to use one."""
    from darkroom.components.runs import launcher

    options = getattr(getattr(node, "executor_spec", None), "beam_pipeline_args", None)
    if options and launcher.runs_elsewhere(options):
        beam.require_engine(config)


def _launch(config: Config, pipeline: Any, run: str, node: str, shown: display.Display) -> None:
    from tfx.dsl.compiler import compiler, constants
    from tfx.orchestration.local import runner_utils
    from tfx.orchestration.metadata import Metadata
    from tfx.orchestration.portable import execution_publish_utils, runtime_parameter_utils

    from darkroom.pipeline.running import launcher

    compiled = compiler.Compiler().compile(pipeline)
    runtime_parameter_utils.substitute_runtime_parameter(
        compiled, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: run}
    )
    deployment = runner_utils.extract_local_deployment_config(compiled)
    connection = deployment.metadata_connection_config

    class Launcher(launcher.reporting(config, pipeline, shown, [])):  # type: ignore[misc]
        """Begins every try of its node anew, whatever an earlier one has left behind."""

        def _register_or_reuse_execution(
            self, metadata_handle: Any, contexts: list[Any], **inputs_and_properties: Any
        ) -> Any:
            kind = self._pipeline_node.node_info.type
            return execution_publish_utils.register_execution(
                metadata_handle, kind, contexts, **inputs_and_properties
            )

    progress = logging.getLogger("darkroom.progress")
    progress.addHandler(shown)
    try:
        Launcher(
            pipeline_node=next(
                one.pipeline_node
                for one in compiled.nodes
                if one.pipeline_node.node_info.id == node
            ),
            mlmd_connection=Metadata(
                getattr(connection, connection.WhichOneof("connection_config"))
            ),
            pipeline_info=compiled.pipeline_info,
            pipeline_runtime_spec=compiled.runtime_spec,
            executor_spec=runner_utils.extract_executor_spec(deployment, node),
            custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, node),
        ).launch()
    except Exception as error:
        logging.getLogger("darkroom").exception("%s failed", node)
        raise runner.RunFailed(node, explain(error)) from error
    finally:
        progress.removeHandler(shown)


if __name__ == "__main__":
    main()
