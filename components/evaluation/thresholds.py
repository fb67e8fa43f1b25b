"""Whether the thresholds of a configuration name metrics that there are. Light to import."""

from darkroom.components.base.errors import closest
from darkroom.components.base.sections import Evaluation, Threshold
from darkroom.components.evaluation import cost, metrics


def check(evaluation: Evaluation) -> None:
    """Checks the metrics that thresholds name, and the names of the user's own.

    Raises:
      ValueError: there is no such metric, or its bounds make no sense; or a name is taken.
    """
    for number, threshold in enumerate(evaluation.thresholds):
        _check_metric(f"evaluation: thresholds.{number}", threshold, evaluation)
    taken = [name for name in evaluation.metrics if name in _taken_names()]
    if taken:
        raise ValueError(
            f"evaluation: metrics.{taken[0]}: every evaluation has a metric of this name; take "
            "another"
        )


def _check_metric(where: str, threshold: Threshold, evaluation: Evaluation) -> None:
    name, own = threshold.metric, evaluation.metrics
    if name in own:
        if (threshold.class_name is not None) != own[name].per_class:
            remedy = "take class_name out" if threshold.class_name else "set class_name"
            raise ValueError(
                f"{where}: evaluation.metrics.{name}.per_class is {own[name].per_class}: {remedy}"
            )
        return
    of_classes, overall = list(metrics.OF_CLASSES), list(metrics.OVERALL)
    known = sorted({*of_classes, *overall, *cost.METRICS, *own})
    limits = (threshold.min, threshold.max)
    if name not in known:
        raise ValueError(
            f"{where}.metric: no metric {name!r}; there are {', '.join(known)}, and those that "
            f"evaluation.metrics names.{closest(name, known)}"
        )
    if name in cost.METRICS:
        more = (threshold.class_name, threshold.max_drop, threshold.max_rise, threshold.judged_by)
        if any(value is not None for value in more) or threshold.slice:
            raise ValueError(f"{where}: {name} is of the whole model: set max (or min) alone")
        return
    outside = [limit for limit in limits if limit is not None and not 0 <= limit <= 1]
    if name != "loss" and outside:
        raise ValueError(f"{where}: {name} is from 0 to 1, found {outside[0]:g}")
    if threshold.class_name is None and name not in overall:
        raise ValueError(
            f"{where}: {name} is of a class: set class_name, to '*' for each of them, or take "
            f"macro_{name}"
        )
    if threshold.class_name is not None and name not in of_classes:
        raise ValueError(
            f"{where}: {name} is of all classes together; of one there are {', '.join(of_classes)}"
        )


def _taken_names() -> set[str]:
    return {*metrics.OVERALL, *metrics.OF_CLASSES, *cost.METRICS, "example_count"}
