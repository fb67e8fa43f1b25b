"""The Baseline node: which model is the one to beat."""

import os
from typing import ClassVar

from tfx import types
from tfx.dsl.components.base import base_executor, base_node, executor_spec
from tfx.dsl.components.common import resolver
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import (
    LatestBlessedModelStrategy,
)
from tfx.types import standard_artifacts
from tfx.utils import io_utils, path_utils

from darkroom.components.base import remote
from darkroom.components.base.component import Artifacts, Component, Properties, note_source
from darkroom.components.base.settings import FolderSettings
from darkroom.components.pushing import version_folder
from darkroom.serving.contract import Contract


def baseline(candidate: types.BaseChannel, settings: FolderSettings | None) -> base_node.BaseNode:
    """The node; it asks ML Metadata where no ``settings`` name a folder to look in."""
    if settings is not None:
        return Baseline(settings, candidate=candidate)
    return resolver.Resolver(
        strategy_class=LatestBlessedBefore,
        model=types.Channel(type=standard_artifacts.Model),
        model_blessing=types.Channel(type=standard_artifacts.ModelBlessing),
        candidate=candidate,
    ).with_id("Baseline")


def _contract(folder: str) -> Contract:
    path = os.path.join(folder, Contract.FILE)
    return Contract.parse(remote.read(path)) if remote.exists(path) else Contract()


class LatestBlessedBefore(resolver.ResolverStrategy):
    """The latest blessed model that is not the candidate itself, and can be compared with it.

    TFX's LatestBlessedModelStrategy resolves to the candidate as soon as that is blessed, so an
    unchanged second run would compare the model with itself, and would never be cached.
    """

    def resolve_artifacts(self, store: object, input_dict: Artifacts) -> Artifacts:
        [candidate] = input_dict["candidate"]
        own = _contract(path_utils.serving_model_path(candidate.uri))
        models = [
            model
            for model in input_dict["model"]
            if model.id != candidate.id
            and own.comparable(_contract(path_utils.serving_model_path(model.uri)))
        ]
        others = {"model": models, "model_blessing": input_dict["model_blessing"]}
        baseline = LatestBlessedModelStrategy().resolve_artifacts(store, others)
        return {**(baseline or {key: [] for key in others}), "candidate": [candidate]}


class BaselineExecutor(base_executor.BaseExecutor):
    """Hands on a copy of the newest pushed version that the candidate can be compared with."""

    def Do(self, inputs: Artifacts, outputs: Artifacts, properties: Properties) -> None:
        [candidate], [model] = inputs["candidate"], outputs["model"]
        own = _contract(path_utils.serving_model_path(candidate.uri))
        base = FolderSettings.unpack(properties["custom_config"]).folder
        pushed = version_folder.at(base)

        def is_other(number: str) -> bool:
            note = pushed.note(number)
            return note is None or not note.model or note.model["uri"] != candidate.uri

        others = (os.path.join(base, n) for n in pushed.versions() if is_other(n))  # newest first
        version = next((folder for folder in others if own.comparable(_contract(folder))), None)
        if version is not None:
            io_utils.copy_dir(version, path_utils.serving_model_dir(model.uri))
        note_source(model, version)


class Baseline(Component):
    """The model to beat, as ``model``: the newest that was pushed before ``candidate``."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(BaselineExecutor)
    INPUTS: ClassVar = {"candidate": standard_artifacts.Model}
    OUTPUTS: ClassVar = {"model": standard_artifacts.Model}
