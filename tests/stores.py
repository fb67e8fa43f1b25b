"""A store of ML Metadata that is written by hand."""

from typing import Any

from ml_metadata.proto import metadata_store_pb2 as proto


class Store:
    def __init__(self, store: Any, pipeline: str):
        self.store = store
        self._pipeline = pipeline

    def artifact(self, kind: str, **properties: str | int) -> int:
        type_id = self.store.put_artifact_type(proto.ArtifactType(name=kind))
        artifact = proto.Artifact(type_id=type_id, uri="/nowhere")
        _set(artifact, properties)
        found: int = self.store.put_artifacts([artifact])[0]
        return found

    def node(
        self,
        node: str,
        run: str,
        inputs: dict[str, int],
        outputs: dict[str, int],
        kind: str = "",
        **noted: str,
    ) -> None:
        """Of a kind such as TFX's ``….Resolver``, which is marked as cached as TFX marks it."""
        type_id = self.store.put_execution_type(proto.ExecutionType(name=kind or node))
        state = proto.Execution.CACHED if kind else proto.Execution.COMPLETE
        execution = proto.Execution(type_id=type_id, last_known_state=state)
        _set(execution, noted)
        names = {
            "pipeline": self._pipeline,
            "pipeline_run": run,
            "node": f"{self._pipeline}.{node}",
        }
        contexts = {kind: self._context(kind, name) for kind, name in names.items()}
        of_run = contexts["pipeline_run"].id
        parents = [found.id for found in self.store.get_parent_contexts_by_context(of_run)]
        if contexts["pipeline"].id not in parents:
            parent = proto.ParentContext(child_id=of_run, parent_id=contexts["pipeline"].id)
            self.store.put_parent_contexts([parent])
        events = []
        output = proto.Event.INTERNAL_OUTPUT if kind else proto.Event.OUTPUT
        for listed, direction in ((inputs, proto.Event.INPUT), (outputs, output)):
            for key, artifact in listed.items():
                event = proto.Event(artifact_id=artifact, type=direction)
                event.path.steps.add().key = key
                event.path.steps.add().index = 0
                events.append((artifact, event))
        pairs = [
            (self.store.get_artifacts_by_id([artifact])[0], event) for artifact, event in events
        ]
        self.store.put_execution(execution, pairs, list(contexts.values()))

    def _context(self, kind: str, name: str) -> Any:
        type_id = self.store.put_context_type(proto.ContextType(name=kind))
        if self.store.get_context_by_type_and_name(kind, name) is None:
            self.store.put_contexts([proto.Context(type_id=type_id, name=name)])
        return self.store.get_context_by_type_and_name(kind, name)


def _set(noted: Any, properties: dict[str, Any]) -> None:
    for key, value in properties.items():
        if isinstance(value, int):
            noted.custom_properties[key].int_value = value
        else:
            noted.custom_properties[key].string_value = value
