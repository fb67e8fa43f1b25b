"""What ran, of what and with what result, as ML Metadata has it. Light to import."""

import json
from collections.abc import Mapping, Set
from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

from darkroom.components.runs.environment import Environment

if TYPE_CHECKING:
    from ml_metadata.metadata_store import ListOptions, MetadataStore
    from ml_metadata.proto.metadata_store_pb2 import Artifact, Context, Execution

# Execution states of ML Metadata in the words of the command line.
_STATES = {1: "pending", 2: "running", 3: "complete", 4: "failed", 5: "cached", 6: "canceled"}
DONE = ("complete", "cached")  # states of nodes whose outputs are there


class Node(NamedTuple):
    """One execution of a node."""

    id: str  # the node's own, such as Trainer
    state: str  # pending, running, complete, cached, failed, canceled, interrupted
    started: int  # milliseconds since 1970
    updated: int  # milliseconds since 1970; when it ended, if it did
    inputs: "dict[str, list[Artifact]]"  # by key
    outputs: "dict[str, list[Artifact]]"
    execution: "Execution"
    pipeline: str  # its name

    @property
    def made(self) -> "dict[str, Artifact]":
        """The output artifact of each key: our nodes make one of each."""
        return {key: artifacts[0] for key, artifacts in self.outputs.items()}

    @property
    def is_resolver(self) -> bool:
        return str(self.execution.type).endswith(".Resolver")


class RunNotes(NamedTuple):
    """What a run says of itself, as JSON in properties of its context; None: it doesn't."""

    config: dict[str, object] | None
    environment: Environment | None  # of the machine that it began on
    sources: dict[str, str] | None  # the fingerprint of the code, by node

    @classmethod
    def read(cls, run: "Context") -> "RunNotes":
        texts = (run.custom_properties.get(f"darkroom_{field}") for field in cls._fields)
        return cls(*(json.loads(text.string_value) if text else None for text in texts))

    def write(self, run: "Context") -> None:
        """Puts them on the context, which is to be put in the store again."""
        for field, value in self._asdict().items():
            run.custom_properties[f"darkroom_{field}"].string_value = json.dumps(value)


def runs(store: "MetadataStore", pipeline: str) -> "list[Context]":
    """The contexts of all runs of a pipeline, the newest first; others may share the store."""
    context = store.get_context_by_type_and_name("pipeline", pipeline)
    children = [] if context is None else store.get_children_contexts_by_context(context.id)
    contexts = [child for child in children if child.type == "pipeline_run"]
    return sorted(contexts, key=lambda run: (run.create_time_since_epoch, run.id), reverse=True)


def run_of(store: "MetadataStore", execution_id: int) -> "Context":
    """The context of the run that an execution belongs to."""
    contexts = store.get_contexts_by_execution(execution_id)
    return next(context for context in contexts if context.type == "pipeline_run")


def nodes(
    store: "MetadataStore", pipeline: str, run: "Context", alive: bool | Set[str] = False
) -> list[Node]:
    """The nodes of a run in the order in which they began, each as it was last tried.

    Schedulers give runs of several pipelines the same context. What is marked as running was
    interrupted, unless the run is ``alive``, or that node of it.
    """
    executions = store.get_executions_by_context(run.id)
    tries = _nodes(store, sorted(executions, key=lambda execution: execution.id))
    last_tries = {one.id: one for one in tries if one.pipeline == pipeline}
    for one in last_tries.values():
        is_alive = alive if isinstance(alive, bool) else one.id in alive
        if one.state == "running" and not is_alive:
            last_tries[one.id] = one._replace(state="interrupted")
    return list(last_tries.values())


def node(store: "MetadataStore", execution_id: int) -> Node:
    """The node of an execution."""
    [one] = _nodes(store, store.get_executions_by_id([execution_id]))
    return one


def artifacts(store: "MetadataStore", pipeline: str, kind: str = "") -> "list[Artifact]":
    """All artifacts that a pipeline has made, the newest first; ``kind``: those of a type."""
    context = store.get_context_by_type_and_name("pipeline", pipeline)
    every = [] if context is None else store.get_artifacts_by_context(context.id)
    of_kind = [artifact for artifact in every if kind in ("", artifact.type)]
    return sorted(of_kind, key=lambda artifact: artifact.id, reverse=True)


def newest_artifact(store: "MetadataStore", pipeline: str) -> "Artifact | None":
    """The last one that a pipeline has made; None where it has made none."""
    context = store.get_context_by_type_and_name("pipeline", pipeline)
    newest = [] if context is None else store.get_artifacts_by_context(context.id, _newest())
    return next(iter(newest), None)


def newest_execution(store: "MetadataStore") -> int:
    """The number of the last one of all pipelines; 0 where there was none."""
    return max((execution.id for execution in store.get_executions(_newest())), default=0)


def maker(store: "MetadataStore", artifact_id: int) -> Node | None:
    """The node that made an artifact; later ones only took it from the cache."""
    events = store.get_events_by_artifact_ids([artifact_id])
    makers = [event.execution_id for event in events if event.type == event.OUTPUT]
    return node(store, min(makers)) if makers else None


def rows(by_key: "Mapping[str, list[Artifact]]") -> list[dict[str, str | int]]:
    """A node's inputs or outputs as plain data."""
    return [
        {"key": key, "type": artifact.type, "id": artifact.id, "uri": artifact.uri}
        for key, artifacts in by_key.items()
        for artifact in artifacts
    ]


def moment(milliseconds: int) -> str:
    """A time of ML Metadata as ISO 8601, to the second."""
    return datetime.fromtimestamp(milliseconds / 1000, timezone.utc).isoformat(timespec="seconds")


def _newest() -> "ListOptions":
    from ml_metadata.metadata_store import ListOptions, OrderByField

    return ListOptions(limit=1, order_by=OrderByField.ID, is_asc=False)


def _nodes(store: "MetadataStore", executions: "list[Execution]") -> list[Node]:
    events = store.get_events_by_execution_ids([execution.id for execution in executions])
    events = sorted(events, key=lambda event: event.artifact_id)
    ids = sorted({event.artifact_id for event in events})
    by_id = {artifact.id: artifact for artifact in store.get_artifacts_by_id(ids)}
    nodes = []
    for execution in executions:
        inputs: dict[str, list[Artifact]] = {}
        outputs: dict[str, list[Artifact]] = {}
        for event in (event for event in events if event.execution_id == execution.id):
            artifact, key = by_id[event.artifact_id], event.path.steps[0].key
            if event.type in (event.INPUT, event.INTERNAL_INPUT):
                inputs.setdefault(key, []).append(artifact)
            elif event.type in (event.OUTPUT, event.INTERNAL_OUTPUT):  # what a resolver found
                outputs.setdefault(key, []).append(artifact)
        contexts = store.get_contexts_by_execution(execution.id)
        name = next((context.name for context in contexts if context.type == "node"), "?.?")
        pipeline, _, node_id = name.partition(".")
        state = _STATES.get(execution.last_known_state, "unknown")
        times = (execution.create_time_since_epoch, execution.last_update_time_since_epoch)
        node = Node(node_id, state, *times, inputs, outputs, execution, pipeline)
        if node.is_resolver and state == "cached":
            # ML Metadata marks every resolver so, though it runs anew each time.
            node = node._replace(state="complete")
        nodes.append(node)
    return nodes
