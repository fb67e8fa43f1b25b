"""A node of ours as TFX takes it: artifacts in, artifacts out, and its settings as JSON."""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

from tfx import types
from tfx.dsl.components.base import base_beam_component, base_component
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from darkroom.components.base import results
from darkroom.components.base.settings import Settings

# What an executor's Do gets, by key.
Artifacts = dict[str, list[types.Artifact]]
Properties = dict[str, Any]


class Component(base_component.BaseComponent):
    """Declared by an executor and by the types of what it takes and makes.

    A subclass sets ``EXECUTOR_SPEC``, ``INPUTS``, ``OUTPUTS`` and, of inputs that may be missing,
    ``OPTIONAL``; TFX's specification follows from these.
    """

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
    """The same with an executor that runs a Beam pipeline."""


def existing(artifacts: Sequence[types.Artifact] | None) -> list[types.Artifact]:
    """Those that are more than a note that nothing was found."""
    name = results.FOUND_PROPERTY
    return [
        artifact
        for artifact in artifacts or []
        if not artifact.has_custom_property(name) or artifact.get_int_custom_property(name)
    ]
