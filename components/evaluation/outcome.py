"""What Evaluator left behind. Light to import."""

import json
from typing import Any

from darkroom.components.base import remote, results
from darkroom.components.base.status import Outputs, Status, text


def verdict(blessing: Any) -> dict[str, Any]:
    """``blessed``, ``reasons`` why not, ``remarks`` and ``metrics`` of the gate."""
    found = json.loads(text(blessing, results.VERDICT_PROPERTY))
    blessed = blessing.custom_properties["blessed"].int_value == 1
    return {"remarks": [], **found, "blessed": blessed}


def evaluation(artifact: Any) -> dict[str, Any] | None:
    """All that Evaluator measured; None where it was an older one, that wrote no file."""
    try:
        path = remote.file(artifact.uri, results.EVALUATION_FILE)
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return found


def read(status: Status, outputs: Outputs) -> str:
    """Adds it to ``status``; returns what matters most, in words."""
    found = verdict(outputs["blessing"])
    status.blessed = found["blessed"]
    status.metrics, status.reasons = found["metrics"], found["reasons"]
    status.remarks = found["remarks"]
    word = "blessed"
    if not status.blessed:
        more = len(status.reasons) - 1
        word = f"not blessed: {status.reasons[0]}" + f" (and {more} more)" * bool(more)
    accuracy = status.metrics.get(results.ACCURACY)  # none where there were no predictions
    return word if accuracy is None else f"accuracy {accuracy:.4f}, {word}"
