"""Runs one node of the graph in a process of its own, for schedulers such as Airflow.

python -m darkroom.pipeline.running.node --config FILE --run RUN NODE

The nodes of a run are those that were given the same name of a run. A node that is done in a run is
not done again: a scheduler may try as often as it likes.
"""

import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from darkroom.components.base.errors import DarkroomError, closest
from darkroom.components.runs import lineage
from darkroom.pipeline import beam, command_line, display
from darkroom.pipeline.config import Config, load
from darkroom.pipeline.history import status
from darkroom.pipeline.recipe import apply as recipe
from darkroom.pipeline.running import lock, preflight, recovery, runner

if TYPE_CHECKING:
    from tfx.dsl.components.base.base_node import BaseNode
    from tfx.orchestration.pipeline import Pipeline

_FIRST = "ImportExampleGen"  # it reads the data


@click.command(help=f"{__doc__}\n\nNODE: the node's id, such as Trainer.")
@click.option("--config", "path", required=True, metavar="FILE", help="as darkroom run takes it")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="the same")
@click.option("--run", "run_name", required=True, metavar="RUN", help="the name of the run")
@click.argument("node")
def run_node(path: str, overrides: Sequence[str], run_name: str, node: str) -> int:
    """Ends the process itself once there is a log."""
    try:
        config = load(path, list(overrides))
        runner.heed_signals()
        log, terminal = runner.log_to_file(config, node)
    except DarkroomError as error:
        print(f"darkroom: {error}")
        return error.exit_code
    shown = display.Lines(terminal)

    def work() -> int:
        # It becomes the name of a folder. Airflow's own names of runs stay as they are.
        run = re.sub(r"[^\w.~:+-]", "_", run_name)
        if not _run(config, run, node, shown):
            log.unlink()
        return 0

    return runner.leave(runner.attempt(work, shown, log))


def _run(config: Config, run: str, node: str, shown: display.Display) -> bool:
    with (
        lock.beside(config, node, shown.say),
        runner.temporary_folder(config.home / "tmp" / node),
        runner.reported(config, shown, lambda context: context.name == run),
    ):
        done = nodes_done(config, run, node)
        if node in done:
            shown.say(f"{node} is done already in {run}. What is to be done again needs a new run.")
            return False
        size = preflight.check(config) if node == _FIRST else preflight.data_bytes(config)
        config = recipe.applied(config, shown.say if node == _FIRST else lambda _: None)
        if node == _FIRST:
            recovery.recover(config, shown.say)
        pipeline = runner.create(config, size)
        runner.prepare(config, pipeline)
        if node == _FIRST:
            preflight.rehearse(config)
        from darkroom.components.runs import staging

        # Beam's engine has to be there where the node is to use one.
        spec = getattr(required(pipeline, node, done, run), "executor_spec", None)
        if staging.runs_elsewhere(getattr(spec, "beam_pipeline_args", None) or []):
            beam.require_engine(config)
        runner.launch(config, pipeline, shown, run, node)
        return True


def nodes_done(config: Config, run: str, node: str) -> set[str]:
    """The nodes of a run that are done; raises DarkroomError where the first has never run.

    Of ``node``, which nobody else runs now, ML Metadata is told where its last try was killed.
    """
    try:
        store = status.open_store(config)
        contexts = [context for context in status.runs(config, store) if context.name == run]
    except DarkroomError:
        if node == _FIRST:  # before which nothing need have run
            return set()
        raise
    tried = lineage.nodes(store, config.name, contexts[0]) if contexts else []
    for one in tried:
        if one.id == node and one.state == "interrupted":
            one.execution.last_known_state = one.execution.FAILED
            store.put_executions([one.execution])
    return {one.id for one in tried if one.state in lineage.DONE}


def required(pipeline: "Pipeline", node: str, done: set[str], run: str) -> "BaseNode":
    """The node; raises DarkroomError where there is none such, or one before it is not done."""
    nodes = {one.id: one for one in pipeline.components}
    if node not in nodes:
        name, near = pipeline.pipeline_info.pipeline_name, closest(node, list(nodes))
        raise DarkroomError(f"{name} has no node {node}; there are {', '.join(nodes)}.{near}")
    missing = sorted({one.id for one in nodes[node].upstream_nodes} - done)
    if missing:
        raise DarkroomError(f"{node} comes after {', '.join(missing)}, not done yet in {run}.")
    return nodes[node]


if __name__ == "__main__":
    # Exits with 0 where the node is done, 130 where it was interrupted, else 1.
    sys.exit(command_line.obey(run_node, "python -m darkroom.pipeline.running.node"))
