"""What Tuner left behind. Light to import."""

import json
from pathlib import Path
from typing import Any

from darkroom.components.base import remote, results
from darkroom.components.base.status import Outputs, Status
from darkroom.components.tuning import trial_table


def best_hyperparameters(artifact: Any) -> dict[str, Any]:
    """The best trial's values by key."""
    best = _read_json(remote.file(artifact.uri, "best_hyperparameters.txt"))
    return trial_table.hyperparameters(best["values"])


def search(tuner_results: Any) -> tuple[list[dict[str, Any]], Path | None]:
    """The trials, best first and failed ones last, and a picture of them."""
    rows = _read_json(remote.file(tuner_results.uri, results.TUNER_RESULTS))
    without = [{key: row[key] for key in row if key != "history"} for row in rows]
    try:
        picture = remote.file(tuner_results.uri, results.SEARCH_PICTURE)
    except FileNotFoundError:
        return without, None
    return without, picture if picture.exists() else None


def read(status: Status, outputs: Outputs) -> str:
    """Adds it to ``status``; returns what matters most, in words."""
    values = best_hyperparameters(outputs["best_hyperparameters"])
    rows, picture = search(outputs["tuner_results"])
    status.trials = rows
    if picture is not None:
        status.search_picture = str(picture)
    failed = sum(map(trial_table.failed, rows))
    if failed == len(rows):
        return f"no trial of {failed} finished"
    score = rows[0]["score"]
    status.best_trial = {"values": values, "score": score, "trials": len(rows)}
    return f"best trial {score:.4f} of {len(rows)}" + f", {failed} failed" * bool(failed)


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
