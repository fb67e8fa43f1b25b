"""What a search and the processes of its trials say to each other. Light to import."""

import json
from typing import ClassVar, NamedTuple, TypedDict

from pydantic import JsonValue

from darkroom.components.base.artifact_file import ArtifactFile
from darkroom.components.base.settings import TunerSettings, Value


class SearchFile(ArtifactFile):
    """What a process needs to know to run trials of a search, in the search's folder."""

    FILE: ClassVar[str] = "search.json"

    custom_config: dict[str, JsonValue]
    """``TunerSettings``, packed: an earlier version's are no longer valid, and still compared."""
    num_classes: int
    maximize: bool
    """The objective, or minimize it."""
    examples: str
    """Where ``dataset.keep`` puts the preprocessed examples."""
    determined_by: dict[str, JsonValue]
    """All that determines what a trial comes to."""

    @property
    def settings(self) -> TunerSettings:
        return TunerSettings.unpack(self.custom_config)


class HyperparametersConfig(TypedDict):
    """KerasTuner's HyperParameters as plain data."""

    space: list[object]
    values: dict[str, Value]


class Order(NamedTuple):
    """A trial to run."""

    trial_id: str
    hyperparameters: HyperparametersConfig


class Progress(NamedTuple):
    """How far the trial is; the first one: the process has loaded what it needs to run trials."""

    words: str = ""
    fraction: float | None = None


class Ended(NamedTuple):
    """What the trial came to."""

    status: str  # COMPLETED or FAILED
    metrics: dict[str, float]
    step: int  # the best epoch
    message: str | None  # why it failed
    hyperparameters: HyperparametersConfig  # with those that the model asked for


Message = Order | Progress | Ended
Answer = Progress | Ended
_KINDS: dict[str, type[Message]] = {kind.__name__: kind for kind in (Order, Progress, Ended)}


def encode(message: Message) -> str:
    """A message as a line of JSON, without its end."""
    return json.dumps([type(message).__name__, *message])


def decode(line: str) -> Message:
    """The message of a line; a ValueError where that isn't whole."""
    kind, *values = json.loads(line)
    return _KINDS[kind](*values)
