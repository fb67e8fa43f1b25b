"""What Trainer and LearningRateScan left behind. Light to import."""

import json
from pathlib import Path
from typing import Any

from darkroom.components.base import remote, results
from darkroom.components.base.status import Outputs, Status


def training(model_run: Any) -> tuple[dict[str, Any], Path]:
    """What Trainer wrote down of its epochs, and the picture of augmented images."""
    found = _read_json(remote.file(model_run.uri, results.HISTORY_FILE))
    return found, remote.file(model_run.uri, results.CONTACT_SHEET)


def read_training(status: Status, outputs: Outputs) -> str:
    """Adds it to ``status``; returns what matters most, in words."""
    found, sheet = training(outputs["model_run"])
    status.diagnosis = found["diagnosis"]
    status.augmentation = str(sheet)
    history, epoch = found["history"], found["exported_epoch"]
    metric = next(m for m in ("val_accuracy", "val_loss") if m in history)
    resumed = found["resumed_at"]
    words = f", the first {resumed} of them in an interrupted run" if resumed else ""
    if (searched := found.get("searched", 0)) and not resumed:
        words = f", the first {searched} of them in the search"
    return f"{metric} {history[metric][epoch]:.4f}, {len(history[metric])} epochs{words}"


def read_scan(status: Status, outputs: Outputs) -> str:
    """Adds it to ``status``; returns what matters most, in words."""
    run = outputs["model_run"].uri
    found = _read_json(remote.file(run, results.SCAN_FILE))
    status.lr_scan = {**found, "picture": str(remote.file(run, results.SCAN_PICTURE))}
    best = found["suggestion"]
    return "no rate learns" if best is None else f"best {best:.2g} of {len(found['points'])}"


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
