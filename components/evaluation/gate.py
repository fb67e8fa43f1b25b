"""Whether a model is blessed, and why not, in sentences."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from darkroom.components.base import sections
from darkroom.components.evaluation import cost, faults, thresholds
from darkroom.components.evaluation import measurements as measuring
from darkroom.components.evaluation.artifacts import Check
from darkroom.components.evaluation.measurements import Difference, Measured, told_apart
from darkroom.components.evaluation.metric_names import Group, quoted
from darkroom.components.evaluation.tfma_metrics import TfmaMetrics

# From this number of examples of a class on, a model that knows the class recognises some.
_ENOUGH = 10
# How many groups that miss a threshold have a sentence of their own; the rest are counted.
_SAID = 3
_BOUNDS = ("min", "max", "max_drop", "max_rise")


class _Limit(NamedTuple):
    threshold: sections.Threshold
    group: Group
    bound: str  # of _BOUNDS
    value: float

    @property
    def subject(self) -> str:
        return self.group.subject(self.threshold.metric)

    def check(
        self,
        passed: bool | None,
        sentence: str,
        measured: Measured,
        difference: Difference | None = None,
    ) -> Check:
        return Check(
            **measuring.row(self.threshold.metric, self.group, measured, difference),
            bound=self.bound,
            limit=self.value,
            passed=passed,
            sentence=sentence,
        )


def _perhaps_by_chance(check: Check) -> Check | None:
    """A change for the worse that is larger than allowed, and passes, as it may be noise."""
    if check.bound not in ("max_drop", "max_rise") or not check.passed or check.limit < 0:
        return None
    worse = (check.difference or 0.0) * (1 if check.bound == "max_rise" else -1)
    if worse <= check.limit:
        return None
    more = f"it passes, as chance alone may make as much on {check.examples:,} examples"
    return check.model_copy(update={"sentence": f"{check.sentence}; {more}"})


@dataclass
class Judgement:
    """What the gate says of a model."""

    checks: list[Check] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)  # why not blessed
    remarks: list[str] = field(default_factory=list)  # what else is to be known

    @property
    def blessed(self) -> bool:
        return not self.reasons

    def add(self, checks: list[Check]) -> None:
        """Adds what a threshold said of its groups, in a few sentences even of many groups."""
        self.checks += checks
        by_chance = [_perhaps_by_chance(check) for check in checks]
        kinds = [
            (self.reasons, [check for check in checks if check.passed is False]),
            (self.remarks, [check for check in checks if check.passed is None]),
            (self.remarks, [check for check in by_chance if check is not None]),
        ]
        for sentences, those in kinds:
            said = [check for check in those if check.sentence]
            # The worst first: those that are furthest from where they should be.
            said.sort(key=lambda check: -check.distance)
            sentences += [check.sentence for check in said[:_SAID]]
            if len(said) > _SAID:
                more = f"the same holds for {len(said) - _SAID:,} more of {len(checks):,} groups"
                sentences.append(f"{said[0].metric}: {more}")


class Gate:
    """Holds a model against thresholds, and against what no model may do."""

    def __init__(
        self,
        evaluation: sections.Evaluation,
        measurements: measuring.Measurements,
        tfma_metrics: TfmaMetrics,
        costs: dict[str, float],
    ):
        """Judges by these numbers; ``costs``, in ms and MiB, are by ``cost.METRICS``."""
        self._evaluation, self._costs = evaluation, costs
        self._measurements, self._tfma_metrics = measurements, tfma_metrics
        predictions = measurements.predictions
        self._same_classes = set(predictions.classes) == set(predictions.baseline_classes)
        self._multi_label = predictions.outcome.multi_label
        self._of_numbers = predictions.outcome.of_numbers

    def judge(self, trained: faults.Trained | None) -> Judgement:
        """Holds the model against all thresholds, faults, and Trainer's accuracy where known.

        Raises a DarkroomError where a threshold's class or metric doesn't exist for this model.
        """
        evaluation, measurements = self._evaluation, self._measurements
        judgement = Judgement(remarks=list(faults.other_classes(evaluation, measurements)))
        judgement.reasons += faults.no_numbers(evaluation, measurements)
        for threshold in evaluation.gate(self._of_numbers):
            judgement.add(list(self._checks(threshold)))
        if not self._of_numbers:
            judgement.add(list(self._not_forgotten()))
        if not self._of_numbers and evaluation.min_class_recall > 0:
            judgement.reasons += faults.never_predicted(measurements, below=_ENOUGH)
        judgement.reasons += faults.not_as_trained(trained)
        if judgement.reasons:
            judgement.reasons += faults.symptoms(measurements)
        return judgement

    def _checks(self, threshold: sections.Threshold) -> Iterator[Check]:
        measurements = self._measurements
        classes, slices = measurements.classes, measurements.predictions.slices
        kinds = self._multi_label, self._of_numbers
        thresholds.require_metric(threshold, len(classes), *kinds)
        values = ((bound, getattr(threshold, bound)) for bound in _BOUNDS)
        limits = [(bound, value) for bound, value in values if value is not None]
        judged = False
        for group in thresholds.groups(threshold, classes, slices):
            for bound, value in limits:
                limit = _Limit(threshold, group, bound, value)
                if self._examples(threshold.metric, group) < threshold.min_examples:
                    check = self._too_few(limit)
                    judged |= check.passed is False
                    yield check
                    break  # once is enough
                judged = True
                relative = bound in ("max_drop", "max_rise")
                yield self._compared(limit) if relative else self._absolute(limit)
        if not judged:
            sentence = (
                f"{threshold.metric} can't be judged: no class or slice has "
                f"{threshold.min_examples:,} examples"
            )
            whole = _Limit(threshold, Group(), *limits[0])
            yield whole.check(False, sentence, Measured(math.nan))

    def _not_forgotten(self) -> Iterator[Check]:
        """Every class with enough examples has a recall of ``min_class_recall`` at least."""
        measurements, least = self._measurements, self._evaluation.min_class_recall
        recall = sections.Threshold(metric="recall", class_name="*", min=least)
        for name, examples in sorted(zip(measurements.classes, measurements.support, strict=True)):
            if examples >= _ENOUGH and least > 0:
                yield self._absolute(_Limit(recall, Group(name), "min", least))

    def _examples(self, metric: str, group: Group) -> int:
        if metric in cost.METRICS:
            return len(self._measurements.predictions.outcome)
        return self._measurements.examples(group)

    def _too_few(self, limit: _Limit) -> Check:
        threshold, group = limit.threshold, limit.group
        examples = self._examples(threshold.metric, group)
        count = f"only {examples:,} example{'s' * (examples != 1)}" if examples else "no example"
        sentence = (
            f"{limit.subject} can't be judged: the {self._evaluation.split} split has {count} of it"
        )
        if threshold.min_examples > 1:
            sentence += f", and min_examples is {threshold.min_examples:,}"
        if not examples and len(group.slice) == 1:
            [(key, value)] = group.slice
            values = ", ".join(sorted(set(self._measurements.predictions.slices[key])))
            sentence += f" ({key} is {values}, never {value})"
        # A group that "*" stands for may be too small; one that was asked for by its name may not.
        named = "*" not in (threshold.class_name, *threshold.slice.values())
        return limit.check(False if named else None, sentence, Measured(math.nan, examples))

    def _absolute(self, limit: _Limit) -> Check:
        name, group, at_least = limit.threshold.metric, limit.group, limit.bound == "min"
        judged_by = limit.threshold.judged_by or "value"
        measured = self._measure(name, group)
        difference = self._difference(name, group, with_interval=False)
        # The better end is the one that is further on the allowed side.
        ends = {"value": measured.value, "best": measured.high, "worst": measured.low}
        if not at_least:
            ends["best"], ends["worst"] = ends["worst"], ends["best"]
        judged = ends[judged_by]
        if math.isnan(judged):
            return limit.check(False, self._undefined(limit), measured, difference)
        passed = judged >= limit.value if at_least else judged <= limit.value
        value, bounded = told_apart(measured.value, limit.value)
        sentence = f"{limit.subject} is {value}"
        if judged_by != "value":
            end, bounded = told_apart(judged, limit.value)
            may = {"best": "at best", "worst": "but may be as " + ("low" if at_least else "high")}
            sentence += f", {may[judged_by]}{' as' * (judged_by == 'worst')} {end}"
        sentence += f", {'must be ' * (not passed)}at {'least' if at_least else 'most'} {bounded}"
        if not passed:
            sentence += "".join(f"; {detail}" for detail in self._confusions(name, group))
            if difference is not None and not math.isnan(difference.baseline):
                before = told_apart(difference.baseline, measured.value)[0]
                among = "" if self._same_classes else " among the classes that it knows"
                sentence += f"; the baseline had {before}{among}"
        return limit.check(passed, sentence, measured, difference)

    def _compared(self, limit: _Limit) -> Check:
        name, group = limit.threshold.metric, limit.group
        measured = self._measure(name, group)
        if math.isnan(measured.value):
            return limit.check(False, self._undefined(limit), measured)
        if self._measurements.predictions.baseline is None:
            return limit.check(None, "", measured)
        difference = self._difference(name, group)
        if difference is None:
            # Where classes differ, faults.other_classes says so.
            unknown = f"{limit.subject} has nothing to be compared with in the baseline"
            return limit.check(None, unknown if self._same_classes else "", measured)
        drop = difference if limit.bound == "max_rise" else difference.reversed()
        judged_by = limit.threshold.judged_by or ("best" if limit.value >= 0 else "worst")
        judged = {"value": drop.value, "best": drop.low, "worst": drop.high}[judged_by]
        if math.isnan(judged):
            sentence = (
                f"{limit.subject} can't be compared with the baseline's: one of them is no number"
            )
            return limit.check(False, sentence, measured, difference)
        passed = judged <= limit.value
        away, other = ("higher", "lower") if limit.bound == "max_rise" else ("lower", "higher")
        by, allowed = told_apart(abs(drop.value), abs(limit.value))
        base = told_apart(difference.baseline, difference.candidate)[0]
        direction = away if drop.value > 0 else other
        sentence = f"{limit.subject} is {by} {direction} than the baseline's {base}"
        if drop.value == 0:
            sentence = f"{limit.subject} is the same as the baseline's, {base}"
        if judged_by != "value" and not passed:
            sure = told_apart(abs(judged), abs(limit.value))[0]
            sentence += f" (with {self._evaluation.confidence * 100:g}% confidence at "
            sentence += "least" if (judged_by == "best") == (judged > 0) else "most"
            sentence += f" {sure} {away if judged > 0 else other})"
        if limit.value >= 0:
            sentence += f"; at most {allowed} is allowed"
        else:
            sentence += f"; it must be {other} by at least {allowed}"
        return limit.check(passed, sentence, measured, difference)

    def _undefined(self, limit: _Limit) -> str:
        split = self._evaluation.split
        return f"{limit.subject} is not defined: it is no number on the {split} split"

    def _measure(self, name: str, group: Group) -> Measured:
        examples = self._examples(name, group)
        if name in cost.METRICS:
            return Measured(self._costs[name], examples)
        return self._source(name).measure(name, group)._replace(examples=examples)

    def _difference(self, name: str, group: Group, with_interval: bool = True) -> Difference | None:
        if name in cost.METRICS:
            return None
        return self._source(name).difference(name, group, with_interval)

    def _source(self, name: str) -> measuring.Measurements | TfmaMetrics:
        return self._tfma_metrics if name in self._evaluation.metrics else self._measurements

    def _confusions(self, name: str, group: Group) -> Iterator[str]:
        if group.class_name is None or group.slice or self._multi_label or self._of_numbers:
            return
        classes, confusion = self._measurements.classes, self._measurements.confusion
        place = classes.index(group.class_name)
        support, predicted = self._measurements.support[place], confusion[:, place].sum()
        mistakes = confusion * ~np.eye(len(classes), dtype=bool)
        missed, taken = mistakes[place], mistakes[:, place]
        if name in ("recall", "f1") and missed.any():
            most = quoted(classes[missed.argmax()])
            yield f"{missed.max():,} of {support:,} were taken for {most}"
        if name in ("precision", "f1") and taken.any():
            most = quoted(classes[taken.argmax()])
            yield f"{taken.max():,} of the {predicted:,} taken for it were {most}"
        if not predicted:
            yield "the model never says so"
