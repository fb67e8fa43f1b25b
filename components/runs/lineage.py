"""What ran, of what and with what result, as ML Metadata has it. Light to import."""

from collections.abc import Iterable, Set
from datetime import datetime, timezone
from typing import Any, NamedTuple

# Execution states of ML Metadata in the words of the command line.
_STATES = {1: "pending", 2: "running", 3: "complete", 4: "failed", 5: "cached", 6: "canceled"}
# Of nodes that have made what they make.
DONE = ("complete", "cached")


class Node(NamedTuple):
    """One execution of a node."""

    id: str  # the node's own, such as Trainer
    state: str  # pending, running, complete, cached, failed, canceled, interrupted
    started: int  # milliseconds since 1970
    updated: int  # milliseconds since 1970; when it ended, if it did
    inputs: dict[str, list[Any]]  # ML Metadata's artifacts by key
    outputs: dict[str, list[Any]]
    execution: Any  # ML Metadata's own
    pipeline: str  # its name

    @property
    def made(self) -> dict[str, Any]:
        """The output artifact of each key: our nodes make one of each."""
        return {key: artifacts[0] for key, artifacts in self.outputs.items()}

    @property
    def is_resolver(self) -> bool:
        """Whether it only looks up what others made."""
        return _is_resolver(self.execution)


def runs(store: Any, pipeline: str) -> list[Any]:
    """The contexts of all runs of a pipeline, the newest first; others may share the store."""
    context = store.get_context_by_type_and_name("pipeline", pipeline)
    children = [] if context is None else store.get_children_contexts_by_context(context.id)
    found = [child for child in children if child.type == "pipeline_run"]
    return sorted(found, key=lambda run: (run.create_time_since_epoch, run.id), reverse=True)


def run_of(store: Any, execution_id: int) -> Any:
    """The context of the run that an execution belongs to."""
    contexts = store.get_contexts_by_execution(execution_id)
    return next(context for context in contexts if context.type == "pipeline_run")


def nodes(store: Any, pipeline: str, run: Any, alive: bool | Set[str] = False) -> list[Node]:
    """The nodes of a run in the order in which they began, each as it was last tried.

    Args:
      store: from ``metadata.open_store``.
      pipeline: its name; schedulers give runs of several pipelines the same name, and context.
      run: its context.
      alive: whether the run goes on, or which of its nodes do; what is marked as running besides
        was interrupted.
    """
    executions = store.get_executions_by_context(run.id)
    tries = _nodes(store, sorted(executions, key=lambda execution: execution.id))
    found = {one.id: one for one in tries if one.pipeline == pipeline}.values()
    return [
        n._replace(state="interrupted") if n.state == "running" and not _in(alive, n.id) else n
        for n in found
    ]


def node(store: Any, execution_id: int) -> Node:
    """The node of an execution."""
    [found] = _nodes(store, store.get_executions_by_id([execution_id]))
    return found


def artifacts(store: Any, pipeline: str, kind: str) -> list[Any]:
    """All artifacts of a type that a pipeline has made, the newest first."""
    context = store.get_context_by_type_and_name("pipeline", pipeline)
    there = [] if context is None else store.get_artifacts_by_context(context.id)
    found = [artifact for artifact in there if artifact.type == kind]
    return sorted(found, key=lambda artifact: artifact.id, reverse=True)


def maker(store: Any, artifact_id: int) -> Node | None:
    """The node that made an artifact; later ones only took it from the cache."""
    events = store.get_events_by_artifact_ids([artifact_id])
    made = [event.execution_id for event in events if event.type == event.OUTPUT]
    return node(store, min(made)) if made else None


def moment(milliseconds: int) -> str:
    """A time of ML Metadata as ISO 8601, to the second."""
    return datetime.fromtimestamp(milliseconds / 1000, timezone.utc).isoformat(timespec="seconds")


def _nodes(store: Any, executions: list[Any]) -> list[Node]:
    events = store.get_events_by_execution_ids([execution.id for execution in executions])
    ids = sorted({event.artifact_id for event in events})
    artifacts = {artifact.id: artifact for artifact in store.get_artifacts_by_id(ids)}
    found = []
    for execution in executions:
        own = [event for event in events if event.execution_id == execution.id]
        contexts = store.get_contexts_by_execution(execution.id)
        name = next((context.name for context in contexts if context.type == "node"), "?.?")
        pipeline, _, node_id = name.partition(".")
        found.append(
            Node(
                node_id,
                _state_of(execution),
                execution.create_time_since_epoch,
                execution.last_update_time_since_epoch,
                _by_key((e for e in own if e.type in (e.INPUT, e.INTERNAL_INPUT)), artifacts),
                # What a resolver finds is an internal output.
                _by_key((e for e in own if e.type in (e.OUTPUT, e.INTERNAL_OUTPUT)), artifacts),
                execution,
                pipeline,
            )
        )
    return found


def _by_key(events: Iterable[Any], artifacts: dict[int, Any]) -> dict[str, list[Any]]:
    listed: dict[str, list[Any]] = {}
    for event in sorted(events, key=lambda event: event.artifact_id):
        listed.setdefault(event.path.steps[0].key, []).append(artifacts[event.artifact_id])
    return listed


def _in(alive: bool | Set[str], node: str) -> bool:
    return alive if isinstance(alive, bool) else node in alive


def _state_of(execution: Any) -> str:
    if _is_resolver(execution) and execution.last_known_state == execution.CACHED:
        return "complete"  # ML Metadata marks every resolver so, though it runs anew each time
    return _STATES.get(execution.last_known_state, "unknown")


def _is_resolver(execution: Any) -> bool:
    return bool(execution.type.endswith(".Resolver"))
