"""What thresholds name: metrics, and in the data classes and slices. Light to import."""

import itertools
from collections.abc import Collection, Iterator, Mapping

from darkroom.components.base.errors import DarkroomError, closest
from darkroom.components.base.sections import Evaluation, Threshold
from darkroom.components.evaluation import cost, metric_names
from darkroom.components.evaluation.metric_names import Group, quoted


def check(evaluation: Evaluation, of_numbers: bool = False) -> None:
    """Raises a ValueError where a threshold's metric or bounds, or a metric's name, are wrong."""
    for number, threshold in enumerate(evaluation.thresholds):
        _check_metric(f"evaluation: thresholds.{number}", threshold, evaluation, of_numbers)
    standard = {*metric_names.OVERALL, *metric_names.OF_CLASSES, *cost.METRICS, "example_count"}
    taken = [name for name in evaluation.metrics if name in standard]
    if taken:
        raise ValueError(
            f"evaluation: metrics.{taken[0]}: every evaluation has a metric of this name; take "
            "another"
        )


def _check_metric(
    where: str, threshold: Threshold, evaluation: Evaluation, of_numbers: bool
) -> None:
    name, own = threshold.metric, evaluation.metrics
    if name in own:
        if (threshold.class_name is not None) != own[name].per_class:
            remedy = "take class_name out" if threshold.class_name else "set class_name"
            raise ValueError(
                f"{where}: evaluation.metrics.{name}.per_class is {own[name].per_class}: {remedy}"
            )
        return
    of_classes, overall = list(metric_names.OF_CLASSES), list(metric_names.OVERALL)
    if of_numbers:
        of_classes = overall = list(metric_names.OF_NUMBERS)
    known = sorted({*of_classes, *overall, *cost.METRICS, *own})
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
    for limit in (threshold.min, threshold.max):
        if limit is not None and not metric_names.can_be(name, limit):
            raise ValueError(f"{where}: {name} is from 0 to 1, found {limit:g}")
    if threshold.class_name is None and name not in overall:
        raise ValueError(
            f"{where}: {name} is of a class: set class_name, to '*' for each of them, or take "
            f"macro_{name}"
        )
    if threshold.class_name is not None and name not in of_classes:
        raise ValueError(
            f"{where}: {name} is of all classes together; of one there are {', '.join(of_classes)}"
        )


def require_metric(
    threshold: Threshold, classes: int, multi_label: bool, of_numbers: bool = False
) -> None:
    """Raises a DarkroomError where a metric says nothing about this number of classes."""
    name, known = threshold.metric, metric_names.meaningful(classes, multi_label, of_numbers)
    if threshold.class_name is None and name in metric_names.OVERALL and name not in known:
        kind = "labels" if multi_label else "classes"
        raise DarkroomError(
            f"evaluation.thresholds: {name} says nothing of {classes} {kind}; there "
            f"are {', '.join(known)}.{closest(name, known)}"
        )


def groups(
    threshold: Threshold, classes: list[str], values: Mapping[str, Collection[str]]
) -> Iterator[Group]:
    """The groups that a threshold means: one, or each class, or each of a feature's ``values``.

    Raises DarkroomError where it names a class that doesn't exist.
    """
    name = threshold.class_name
    if name is not None and name not in ("*", *classes):
        raise DarkroomError(
            f"evaluation.thresholds: {threshold.metric} of the class {quoted(name)}, which "
            f"isn't there; the classes are {', '.join(sorted(classes))}.{closest(name, classes)}"
        )
    chosen = [
        [(key, one) for one in (sorted(set(values[key])) if value == "*" else [value])]
        for key, value in threshold.slice.items()
    ]
    for part in itertools.product(*chosen):
        for class_name in sorted(classes) if name == "*" else [name]:
            yield Group(class_name, part)
