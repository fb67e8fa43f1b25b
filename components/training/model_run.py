"""The files of ``model_run``, which Trainer and LearningRateScan make. Light to import."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from darkroom.components.base.artifact_file import ArtifactFile

History = dict[str, list[float]]  # metrics by name, a number per epoch, as in Keras's History

# A picture of training images, and of what augmentation makes of them.
CONTACT_SHEET = "augmentation.png"


class Comparison(BaseModel):
    """The best of a metric in the first epochs: with transferred weights, and from random ones."""

    model_config = ConfigDict(frozen=True)

    epochs: int
    metric: str
    transferred: float
    scratch: float


class TrainingHistory(ArtifactFile):
    """What a training, or its stages so far, came to; diagnosis.py says it in words."""

    FILE: ClassVar[str] = "history.json"

    history: History = Field({})
    """The metrics of all stages, one after the other."""
    exported_epoch: int = -1
    """From 0 over all stages: the best one, whose weights are exported."""
    resumed_at: int | None = None
    """Epochs that were done in an interrupted run; None: it was not interrupted."""
    searched: int = 0
    """How many epochs were done in the search."""
    stages: list[tuple[str, int]] = Field([])
    """The names of the stages, each with the number of its first epoch, from 0."""
    constant_accuracy: float = 0.0
    """The accuracy on the train split of always giving the same answer."""
    comparison: Comparison | None = None
    """The comparison with random weights, where ``transfer.scratch_epochs`` asks for it."""
    diagnosis: list[str] | None = Field(None, exclude=True)
    """The sentences of ``diagnosis``, which only earlier versions wrote to the file."""

    @property
    def epochs(self) -> int:
        """How many epochs there were."""
        return len(self.history.get("loss", []))


class ScannedRate(BaseModel):
    """What a learning rate came to."""

    model_config = ConfigDict(frozen=True)

    rate: float
    metrics: dict[str, float] | None
    """The metrics after the last epoch; None: the loss was no number any more."""


class LearningRates(ArtifactFile):
    """What LearningRateScan found."""

    FILE: ClassVar[str] = "lr_scan.json"
    PICTURE: ClassVar[str] = "lr_scan.png"

    points: list[ScannedRate]
    suggestion: float | None
    """The best rate; None: no rate learns."""
    words: str
