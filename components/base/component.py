"""A node of ours as TFX takes it: artifacts in, artifacts out, and its settings as JSON."""

import json
import os
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

from tfx import types
from tfx.dsl.components.base import base_beam_component, base_component
from tfx.types import artifact_utils
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter
from tfx.utils import io_utils

from darkroom.components.base import results
from darkroom.components.base.settings import Settings

Artifacts = dict[str, list[types.Artifact]]  # what an executor's Do gets, by key
Properties = dict[str, Any]


class Component(base_component.BaseComponent):
    """A component that is declared by its executor and the types that this takes and makes."""

    INPUTS: ClassVar[dict[str, type[types.Artifact]]] = {}
    OPTIONAL: ClassVar[dict[str, type[types.Artifact]]] = {}
    OUTPUTS: ClassVar[dict[str, type[types.Artifact]]] = {}

    def __init_subclass__(cls) -> None:
        channel, optional = ChannelParameter, partial(ChannelParameter, optional=True)
        inputs = {key: channel(type=kind) for key, kind in cls.INPUTS.items()}
        inputs |= {key: optional(type=kind) for key, kind in cls.OPTIONAL.items()}
        parts = {
            "PARAMETERS": {"custom_config": ExecutionParameter(type=str)},
            "INPUTS": inputs,
            "OUTPUTS": {key: channel(type=kind) for key, kind in cls.OUTPUTS.items()},
            "__doc__": f"The contract of {cls.__name__}.",
        }
        cls.SPEC_CLASS = type(f"{cls.__name__}Spec", (ComponentSpec,), parts)

    def __init__(self, settings: Settings, **inputs: types.BaseChannel | None):
        outputs = {key: types.Channel(type=kind) for key, kind in self.OUTPUTS.items()}
        given = {key: channel for key, channel in inputs.items() if channel is not None}
        config = settings.model_dump_json()
        super().__init__(spec=self.SPEC_CLASS(custom_config=config, **given, **outputs))


class BeamComponent(Component, base_beam_component.BaseBeamComponent):
    """A component whose executor runs a Beam pipeline."""


def file_patterns(examples: Sequence[types.Artifact], split: str) -> list[str]:
    """Of all files of a split, as ``base.examples`` reads them."""
    uris = artifact_utils.get_split_uris(list(examples), split)
    return [io_utils.all_files_pattern(uri) for uri in uris]


def note_source(artifact: types.Artifact, source: str | None) -> None:
    """Says on an artifact whether it was found, and where; each output exists on Kubeflow.

    Says so in a file, too, as a folder without any can't be handed on.
    """
    artifact.set_int_custom_property(results.FOUND_PROPERTY, int(source is not None))
    path = os.path.join(artifact.uri, "found.json")
    io_utils.write_string_file(path, json.dumps({"from": source}))


def existing(artifacts: Sequence[types.Artifact] | None) -> list[types.Artifact]:
    """The artifacts without those that are only a note that nothing was found."""
    name = results.FOUND_PROPERTY
    return [
        artifact
        for artifact in artifacts or []
        if not artifact.has_custom_property(name) or artifact.get_int_custom_property(name)
    ]
