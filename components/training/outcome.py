"""What Trainer and LearningRateScan left behind. Light to import."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from darkroom.components.base import remote
from darkroom.components.base.status import Outputs, Status
from darkroom.components.training import diagnosis
from darkroom.components.training.model_run import CONTACT_SHEET, LearningRates, TrainingHistory

if TYPE_CHECKING:
    from ml_metadata.proto.metadata_store_pb2 import Artifact


def training(model_run: "Artifact") -> tuple[TrainingHistory, Path | None]:
    """What Trainer wrote down of its epochs; and the picture of augmented images, if they were."""
    sheet = None
    with contextlib.suppress(FileNotFoundError):
        sheet = remote.file(model_run.uri, CONTACT_SHEET)
    return TrainingHistory.read(model_run.uri), sheet if sheet and sheet.exists() else None


def advice(training: TrainingHistory) -> list[str]:
    """What there is to say of a training, a sentence each."""
    if training.diagnosis is not None:
        return training.diagnosis
    compared = diagnosis.negative_transfer(training.comparison)
    sentences = diagnosis.diagnose(training.history, training.constant_accuracy)
    return [*compared, *sentences.values()]


def read_training(status: Status, outputs: Outputs) -> str:
    """Adds the outcome to ``status``; returns what matters most, in words."""
    trained, sheet = training(outputs["model_run"])
    status.diagnosis = advice(trained)
    status.augmentation = str(sheet) if sheet else None
    history, resumed = trained.history, trained.resumed_at
    metric = next(m for m in ("val_accuracy", "val_mae", "val_loss") if m in history)
    words = f", the first {resumed} of them in an interrupted run" if resumed else ""
    if trained.searched and not resumed:
        words = f", the first {trained.searched} of them in the search"
    value = history[metric][trained.exported_epoch]
    return f"{metric} {value:.4f}, {len(history[metric])} epochs{words}"


def read_scan(status: Status, outputs: Outputs) -> str:
    """Adds the outcome to ``status``; returns what matters most, in words."""
    uri = outputs["model_run"].uri
    rates = LearningRates.read(uri)
    picture = str(remote.file(uri, LearningRates.PICTURE))
    status.lr_scan = {**rates.model_dump(), "picture": picture}
    if rates.suggestion is None:
        return "no rate learns"
    return f"best {rates.suggestion:.2g} of {len(rates.points)}"
