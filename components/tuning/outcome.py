"""What Tuner left behind. Light to import."""

from pathlib import Path
from typing import Protocol

from darkroom.components.base import remote
from darkroom.components.base.settings import Value
from darkroom.components.base.status import Outputs, Status
from darkroom.components.training.hand_over import HandOver, without_notes
from darkroom.components.tuning.tuner_results import TunerResults


class Artifact(Protocol):
    """ML Metadata's, or TFX's."""

    uri: str


def best_hyperparameters(artifact: Artifact) -> dict[str, Value]:
    """The best trial's values by key."""
    return without_notes(HandOver.read(artifact.uri).values)


def search(tuner_results: Artifact) -> tuple[list[dict[str, object]], Path | None]:
    """The trials as flat rows without their curves, best first, and a picture of them."""
    rows = TunerResults.read(tuner_results.uri).rows
    flat = [row._replace(history=None).flat() for row in rows]
    try:
        picture = remote.file(tuner_results.uri, TunerResults.PICTURE)
    except FileNotFoundError:
        return flat, None
    return flat, picture if picture.exists() else None


def read(status: Status, outputs: Outputs) -> str:
    """Adds it to ``status``; returns what matters most, in words."""
    values = best_hyperparameters(outputs["best_hyperparameters"])
    rows = TunerResults.read(outputs["tuner_results"].uri).rows
    status.trials, picture = search(outputs["tuner_results"])
    if picture is not None:
        status.search_picture = str(picture)
    failed = sum(row.failed for row in rows)
    if failed == len(rows):
        return f"no trial of {failed} finished"
    status.best_trial = {"values": values, "score": rows[0].score, "trials": len(rows)}
    return f"best trial {rows[0].score:.4f} of {len(rows)}" + f", {failed} failed" * bool(failed)
