"""What is private of TensorFlow Model Analysis."""

from tensorflow_model_analysis.extractors import predictions_extractor
from tensorflow_model_analysis.metrics import metric_types


def metric_names() -> set[str]:
    """The names under which TFMA finds its own metrics.

    Its registry, as ``tfma.metrics`` has base classes and types too, and not every metric.
    """
    return set(metric_types.registered_metrics())


def predictions_stage() -> str:
    """The stage after which examples have their predictions, for an evaluator's ``run_after``.

    Of the extractors' stages only that of the slice keys has a public name.
    """
    name: str = predictions_extractor.PREDICTIONS_EXTRACTOR_STAGE_NAME
    return name
