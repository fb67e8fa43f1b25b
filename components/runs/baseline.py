"""The Baseline node: the model to beat is the stable pushed version, on every platform."""

import os
from typing import TYPE_CHECKING, ClassVar

from ml_metadata.proto.metadata_store_pb2 import Artifact
from tfx import types
from tfx.dsl.components.base import base_executor, base_node, executor_spec
from tfx.dsl.components.common import resolver
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import (
    LatestBlessedModelStrategy,
)
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import io_utils, path_utils

from darkroom.components.base import remote, results
from darkroom.components.base.component import Artifacts, Component, Properties, note_source
from darkroom.components.base.settings import FolderSettings
from darkroom.components.pushing import version_folder
from darkroom.components.pushing.version_folder import VersionFolder

if TYPE_CHECKING:
    from ml_metadata.metadata_store import MetadataStore


def baseline(
    candidate: types.BaseChannel, pushed: str, artifacts: str, settings: FolderSettings | None
) -> base_node.BaseNode:
    """The node; it uses ML Metadata where no ``settings`` say that it can't.

    ``pushed`` is the folder of the versions, ``artifacts`` that of the pipeline's artifacts.
    """
    if settings is not None:
        return Baseline(settings, candidate=candidate)
    return resolver.Resolver(
        strategy_class=StableVersion,
        config={"pushed": pushed, "artifacts": artifacts},
        model=types.Channel(type=standard_artifacts.Model),
        model_blessing=types.Channel(type=standard_artifacts.ModelBlessing),
        candidate=candidate,
    ).with_id("Baseline")


def _to_beat(folder: VersionFolder, candidate: types.Artifact) -> str | None:
    model = remote.fetch(path_utils.serving_model_path(candidate.uri))
    fingerprint = version_folder.fingerprint_of(model)
    return folder.stable_beside(fingerprint, remote.origin(candidate.uri))


class StableVersion(resolver.ResolverStrategy):
    """The artifact of the stable version: the one that Trainer made, or else a copy of its own.

    Where no version is left, it is the latest blessed model that isn't the candidate.
    Of an unchanged run it is the same each time, though that has pushed the candidate since: so the
    run stays cached.
    """

    def __init__(self, pushed: str, artifacts: str):
        self._pushed, self._artifacts = pushed, artifacts

    def resolve_artifacts(self, store: "MetadataStore", input_dict: Artifacts) -> Artifacts:
        [candidate] = input_dict["candidate"]
        folder = version_folder.at(self._pushed)
        version = _to_beat(folder, candidate)
        model = []
        if version is not None:
            trained = self._trained(folder, version, input_dict["model"])
            model = [trained or self._imported(store, version)]
            model[0].set_string_custom_property(results.VERSION_PROPERTY, version)
        elif not folder.versions():
            model = _latest_blessed(store, candidate, input_dict)
        return {"model": model, "model_blessing": [], "candidate": [candidate]}

    def _trained(
        self, folder: VersionFolder, version: str, models: list[types.Artifact]
    ) -> types.Artifact | None:
        note = folder.note(version)
        if note is None or note.model is None:
            return None
        for model in models:
            # Where ML Metadata was lost, another model may have the number by now.
            if model.id == note.model["id"] and remote.exists(model.uri):
                own = remote.fetch(path_utils.serving_model_path(model.uri))
                if version_folder.fingerprint_of(own) == note.fingerprint:
                    return model
        return None

    def _imported(self, store: "MetadataStore", version: str) -> types.Artifact:
        """That of a copy, which outlives the version; the same one each time."""
        uri = os.path.join(self._artifacts, "pushed", version)
        kind = store.get_artifact_type(standard_artifacts.Model.TYPE_NAME)
        known = [one for one in store.get_artifacts_by_uri(uri) if one.state == Artifact.LIVE]
        if not known:
            remote.remove(uri)  # a copy that was interrupted
            source = os.path.join(self._pushed, version)
            io_utils.copy_dir(source, path_utils.serving_model_dir(uri))
            record = Artifact(type_id=kind.id, uri=uri, state=Artifact.LIVE)
            known = store.get_artifacts_by_id(store.put_artifacts([record]))
        return artifact_utils.deserialize_artifact(kind, known[0])


def _latest_blessed(
    store: "MetadataStore", candidate: types.Artifact, input_dict: Artifacts
) -> list[types.Artifact]:
    models = input_dict["model"]
    others = [one for one in models if one.id != candidate.id and remote.exists(one.uri)]
    inputs = {"model": others, "model_blessing": input_dict["model_blessing"]}
    found: Artifacts = LatestBlessedModelStrategy().resolve_artifacts(store, inputs) or {}
    return found.get("model", [])


class BaselineExecutor(base_executor.BaseExecutor):
    """Hands on a copy of the stable version."""

    def Do(self, inputs: Artifacts, outputs: Artifacts, properties: Properties) -> None:
        [candidate], [model] = inputs["candidate"], outputs["model"]
        base = FolderSettings.unpack(properties["custom_config"]).folder
        version = _to_beat(version_folder.at(base), candidate)
        source = None if version is None else os.path.join(base, version)
        if version is not None and source is not None:
            io_utils.copy_dir(source, path_utils.serving_model_dir(model.uri))
            model.set_string_custom_property(results.VERSION_PROPERTY, version)
        note_source(model, source)


class Baseline(Component):
    """The model to beat, as ``model``: the stable version beside ``candidate``."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(BaselineExecutor)
    INPUTS: ClassVar = {"candidate": standard_artifacts.Model}
    OUTPUTS: ClassVar = {"model": standard_artifacts.Model}
