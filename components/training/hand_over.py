"""What Tuner hands to Trainer. Light to import."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field, JsonValue
from typing_extensions import Self

from darkroom.components.base.artifact_file import ArtifactFile
from darkroom.components.base.settings import Value


class HandOver(ArtifactFile):
    """The best trial; TFX wants one file, which Trainer gets as ``fn_args.hyperparameters``."""

    FILE: ClassVar[str] = "best_hyperparameters.txt"

    hyperparameters: dict[str, Value | None] = Field({}, alias="values")
    """The values by name, and KerasTuner's notes."""
    space: list[JsonValue] = Field([])
    """What was searched, as KerasTuner writes it."""
    checkpoint: str | None = None
    """Path or URI of the trial's checkpoint, to go on with; None: begin anew."""
    epochs: int | None = None
    """Trainer's, in place of ``training.epochs``; earlier files have them among the values."""

    @classmethod
    def of(cls, hyperparameters: Mapping[str, object] | None) -> Self:
        """Reads what TFX hands on as ``fn_args.hyperparameters``; None: nothing was searched."""
        return cls.model_validate(hyperparameters or {})

    @property
    def values(self) -> dict[str, Value]:
        """What takes the place of the configuration's values, by dotted key."""
        values = {key: v for key, v in self.hyperparameters.items() if v is not None}
        return values if self.epochs is None else {**values, "training.epochs": self.epochs}

    @property
    def named(self) -> dict[str, Value]:
        """The values without KerasTuner's notes: what people call the best hyperparameters."""
        return without_notes(self.values)

    @property
    def keras_tuner_config(self) -> dict[str, object]:
        """What KerasTuner's ``HyperParameters.from_config`` reads."""
        return {"space": self.space, "values": self.values}


def without_notes(values: Mapping[str, Value | None]) -> dict[str, Value]:
    """Values without the notes that KerasTuner's Hyperband and grid search keep among them."""
    return {k: v for k, v in values.items() if not k.startswith("tuner/") and v is not None}
