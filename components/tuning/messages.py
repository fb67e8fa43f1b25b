"""What a search and its trials' processes say to each other, in lines of JSON. Light to import."""

from typing import ClassVar, NamedTuple

from pydantic import Field, JsonValue

from darkroom.components.base.artifact_file import ArtifactFile
from darkroom.components.base.settings import TunerSettings


class SearchFile(ArtifactFile):
    """What a process needs to know to run trials of a search, in the search's folder."""

    FILE: ClassVar[str] = "search.json"

    custom_config: dict[str, JsonValue]
    """``TunerSettings``, packed: an earlier version's are no longer valid, and still compared."""
    classes: list[str] = Field([])
    """The label vocabulary; earlier versions' files lack it."""
    policy: str = "float32"
    """Keras's dtype policy that trials compute in."""
    maximize: bool
    """Whether the objective is to be maximized; else minimized."""
    examples: str
    """Where ``dataset.keep`` puts the preprocessed examples, or a frozen backbone's outputs."""
    frozen: bool = False
    """Whether it's the outputs, which all trials share."""
    determined_by: dict[str, JsonValue]
    """All that determines what a trial comes to."""

    @property
    def settings(self) -> TunerSettings:
        return TunerSettings.unpack(self.custom_config)


class Order(NamedTuple):
    """A trial to run."""

    trial_id: str
    hyperparameters: dict[str, object]  # KerasTuner's, as plain data


class Progress(NamedTuple):
    """How far the trial is; the first one says that the process is ready to run trials."""

    words: str = ""
    fraction: float | None = None
    ended: bool = False  # the trial's folder has what it came to
