"""What Evaluator left behind. Light to import."""

from darkroom.components.base import results
from darkroom.components.base.status import Outputs, Status
from darkroom.components.evaluation.artifacts import CrossValidation, Verdict


def read_cross_validation(status: Status, outputs: Outputs) -> str:
    """Adds the accuracy to ``status``; returns it in words."""
    status.cross_validation = CrossValidation.read(outputs["cross_validation"].uri).words
    return f"accuracy {status.cross_validation}"


def read(status: Status, outputs: Outputs) -> str:
    """Adds the outcome to ``status``; returns what matters most, in words."""
    verdict = Verdict.read(outputs["blessing"])
    status.blessed, status.metrics = verdict.blessed, verdict.metrics
    status.reasons, status.remarks = verdict.reasons, verdict.remarks
    word = "blessed"
    if not verdict.blessed:
        more = len(verdict.reasons) - 1
        word = f"not blessed: {verdict.reasons[0]}" + f" (and {more} more)" * bool(more)
    metrics = verdict.metrics  # none where there were no predictions
    name = next((name for name in (results.ACCURACY, results.MAE) if name in metrics), None)
    value = name and metrics[name]
    return word if value is None else f"{name} {value:.4f}, {word}"
