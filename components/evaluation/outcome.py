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
    accuracy = verdict.metrics.get(results.ACCURACY)  # none where there were no predictions
    return word if accuracy is None else f"accuracy {accuracy:.4f}, {word}"
