"""What Tuner left behind. Light to import."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from darkroom.components.base import remote
from darkroom.components.base.settings import Value
from darkroom.components.base.status import Outputs, Status
from darkroom.components.training.hand_over import HandOver
from darkroom.components.tuning.tuner_results import TrialRow, TunerResults

if TYPE_CHECKING:
    from ml_metadata.proto.metadata_store_pb2 import Artifact


def best_hyperparameters(artifact: "Artifact") -> dict[str, Value]:
    """The best trial's values by key."""
    return HandOver.read(artifact.uri).named


def search(tuner_results: "Artifact") -> tuple[list[TrialRow], Path | None]:
    """The trials without their curves, best first, and a picture of them."""
    rows = [row._replace(history=None) for row in TunerResults.read(tuner_results.uri).rows]
    with contextlib.suppress(FileNotFoundError):
        picture = remote.file(tuner_results.uri, TunerResults.PICTURE)
        return rows, picture if picture.exists() else None
    return rows, None


def read(status: Status, outputs: Outputs) -> str:
    """Adds the outcome to ``status``; returns what matters most, in words."""
    rows, picture = search(outputs["tuner_results"])
    status.trials = [row.flat() for row in rows]
    if picture is not None:
        status.search_picture = str(picture)
    failed = sum(row.failed for row in rows)
    if failed == len(rows):
        return f"no trial of {failed} finished"
    values = best_hyperparameters(outputs["best_hyperparameters"])
    status.best_trial = {"values": values, "score": rows[0].score, "trials": len(rows)}
    return f"best trial {rows[0].score:.4f} of {len(rows)}" + f", {failed} failed" * bool(failed)
