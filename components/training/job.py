"""A training as plain data: what each process and machine that does it has to know."""

import json

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import Self

from darkroom.components.base.settings import TrainerSettings
from darkroom.components.training.hand_over import HandOver


class TrainingJob(BaseModel):
    """One training of the Trainer node, the same on each of its machines."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    settings: TrainerSettings = Field(alias="custom_config")
    """As the node got them."""
    hand_over: HandOver = Field(HandOver(), alias="hyperparameters")
    """The best trial."""
    num_classes: int
    """Size of the label vocabulary."""
    run_folder: str
    """For TensorBoard's logs and the weights of every n-th epoch."""
    checkpoint_folder: str
    """Where a later run finds this training, should it be interrupted; it may be a URI."""
    examples: str = ""
    """Where ``dataset.keep`` puts the preprocessed examples for other processes."""
    files: list[str] = Field([])
    """What the examples were made of."""
    transform: str = ""
    """The transform graph."""

    @classmethod
    def unpack(cls, facts: object) -> Self:
        """What ``pack`` made."""
        return cls.model_validate_json(json.dumps(facts))

    def pack(self) -> dict[str, object]:
        """For JSON."""
        return self.model_dump(mode="json", by_alias=True)

    @property
    def config(self) -> TrainerSettings:
        """The settings with the best trial's values in them."""
        return self.settings.with_values(self.hand_over.values)

    @property
    def determined_by(self) -> dict[str, object]:
        """Without any of these it would be another training, with checkpoints of its own."""
        return {
            "custom_config": self.settings.pack(),
            "hyperparameters": self.hand_over.values,
            "files": self.files,
            "transform": self.transform,
            "begin_with": self.hand_over.checkpoint,
        }
