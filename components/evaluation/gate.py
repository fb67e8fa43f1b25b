"""Whether a model is blessed, and why not, in sentences."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from darkroom.components.base import sections
from darkroom.components.base.errors import DarkroomError, closest
from darkroom.components.evaluation import cost, metrics
from darkroom.components.evaluation.measurements import (
    Difference,
    Group,
    Measured,
    Measurements,
    Slice,
    number_or_none,
)
from darkroom.components.evaluation.tfma_metrics import TfmaMetrics

# How far the exported model's accuracy may be from what Trainer measured on the same examples:
# kernels of other batch sizes round otherwise, which turns an example or two.
_PARITY, _PARITY_EXAMPLES = 0.02, 2
# Of so many examples a model that knows the class at all recognises some.
_ENOUGH = 10
# A class with so many examples that is never predicted at all was forgotten, too.
_SOME = 5
# Of many groups that miss a threshold, so many have a sentence of their own.
_SAID = 3
_BOUNDS = ("min", "max", "max_drop", "max_rise")
# A model is called no better than chance where it is better by less than this share of the rest:
# so far comes about every network of random weights, 97 of 100 on 180 digits.
_CHANCE = 0.1
# Classes are called mixed up where another order of them is right so much more often.
_MIXED_UP = 0.3


@dataclass(frozen=True)
class Check:
    """A threshold held against one group."""

    metric: str
    group: Group
    bound: str  # min, max, max_drop or max_rise
    limit: float
    passed: bool | None  # None: there is nothing to compare with, or too little
    sentence: str  # what was found
    measured: Measured = field(default_factory=lambda: Measured(math.nan, 0))
    difference: Difference | None = None  # to the baseline

    @property
    def distance(self) -> float:
        """How far what was found is from the limit."""
        found = self.measured.value
        if self.difference is not None and self.bound in ("max_drop", "max_rise"):
            found = abs(self.difference.value)
        return float(np.nan_to_num(abs(found - self.limit), nan=np.inf))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "metric": self.metric,
            "class": self.group.class_name,
            "slice": dict(self.group.slice) or None,
            "bound": self.bound,
            "limit": self.limit,
            "value": number_or_none(self.measured.value),
            "low": number_or_none(self.measured.low),
            "high": number_or_none(self.measured.high),
            **described(self.difference),
            "examples": self.measured.examples,
            "passed": self.passed,
            "sentence": self.sentence,
        }


def described(difference: Difference | None) -> dict[str, float | None]:
    """A comparison with the baseline, for JSON."""
    found = difference or Difference(math.nan, math.nan, math.nan, math.nan)
    return {
        "baseline": number_or_none(found.baseline),
        "difference": number_or_none(found.value),
        "difference_low": number_or_none(found.low),
        "difference_high": number_or_none(found.high),
    }


@dataclass
class Verdict:
    """What the gate says of a model."""

    checks: list[Check] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)  # why not blessed
    remarks: list[str] = field(default_factory=list)  # what else is to be known

    @property
    def blessed(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.reasons

    def add(self, checks: list[Check]) -> None:
        """Adds what a threshold said of its groups, in a few sentences even of many groups."""
        self.checks += checks
        for sentences, passed in ((self.reasons, False), (self.remarks, None)):
            said = [check for check in checks if check.passed is passed and check.sentence]
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
        measurements: Measurements,
        others: TfmaMetrics,
        costs: dict[str, float],
    ):
        """Judges by these numbers.

        Args:
          evaluation: the section.
          measurements: of the predictions.
          others: what TFMA computed.
          costs: by the names of ``cost.METRICS``.
        """
        self._evaluation, self._costs = evaluation, costs
        self._measurements, self._others = measurements, others

    def judge(self, trained_accuracy: float | None) -> Verdict:
        """All thresholds and faults.

        Args:
          trained_accuracy: what Trainer measured on the same split; None where it isn't known.

        Raises:
          DarkroomError: a threshold names a class that doesn't exist, or a metric that says nothing
            of such classes.
        """
        verdict = Verdict(remarks=list(self._about_baseline()))
        verdict.reasons += self._not_numbers()
        for threshold in self._evaluation.gate():
            verdict.add(list(self._checks(threshold)))
        verdict.add(list(self._not_forgotten()))
        verdict.reasons += self._never_said()
        verdict.reasons += self._not_as_trained(trained_accuracy)
        if verdict.reasons:
            verdict.reasons += self._what_may_be_wrong()
        return verdict

    # --- thresholds ---

    def _checks(self, threshold: sections.Threshold) -> Iterator[Check]:
        self._require_metric(threshold)
        judged = False
        for group in self._groups(threshold):
            for bound in _BOUNDS:
                limit = getattr(threshold, bound)
                if limit is None:
                    continue
                relative = bound in ("max_drop", "max_rise")
                if self._examples(threshold.metric, group) < threshold.min_examples:
                    check = self._too_few(threshold, group, bound, limit)
                    judged |= check.passed is False
                    yield check
                    break  # once is enough
                judged = True
                hold = self._compared if relative else self._absolute
                yield hold(threshold, group, bound, limit)
        if not judged:
            bound = next(name for name in _BOUNDS if getattr(threshold, name) is not None)
            yield Check(
                threshold.metric, Group(), bound, getattr(threshold, bound), False,
                f"{threshold.metric} can't be judged: no class or slice has "
                f"{threshold.min_examples:,} examples",
            )  # fmt: skip

    def _require_metric(self, threshold: sections.Threshold) -> None:
        """Raises DarkroomError on a metric that isn't computed of such classes."""
        name, found = threshold.metric, self._measurements
        known = metrics.names(len(found.classes), self._multi_label)
        if threshold.class_name is None and name in metrics.OVERALL and name not in known:
            kind = "labels" if self._multi_label else "classes"
            raise DarkroomError(
                f"evaluation.thresholds: {name} says nothing of {len(found.classes)} {kind}; there "
                f"are {', '.join(known)}.{closest(name, known)}"
            )

    def _groups(self, threshold: sections.Threshold) -> Iterator[Group]:
        """The groups that a threshold means: one, or each class, or each value."""
        known = self._measurements.classes
        name = threshold.class_name
        if name is not None and name not in ("*", *known):
            raise DarkroomError(
                f"evaluation.thresholds: {threshold.metric} of the class {quoted(name)}, which "
                f"isn't there; the classes are {', '.join(sorted(known))}.{closest(name, known)}"
            )
        slices: list[Slice] = [()]
        for key, value in threshold.slice.items():
            there = sorted(set(self._measurements.predictions.slices[key]))
            values = there if value == "*" else [value]
            slices = [(*so_far, (key, found)) for so_far in slices for found in values]
        for part in slices:
            for class_name in sorted(known) if name == "*" else [name]:
                yield Group(class_name, part)

    def _examples(self, metric: str, group: Group) -> int:
        if metric in cost.METRICS:
            return len(self._measurements.predictions.outcome)
        return self._measurements.examples(group)

    def _too_few(
        self, threshold: sections.Threshold, group: Group, bound: str, limit: float
    ) -> Check:
        examples = self._examples(threshold.metric, group)
        found = f"only {examples:,} example{'s' * (examples != 1)}" if examples else "no example"
        sentence = (
            f"{_who(threshold.metric, group)} can't be judged: the {self._evaluation.split} split "
            f"has {found} of it"
        )
        if threshold.min_examples > 1:
            sentence += f", and min_examples is {threshold.min_examples:,}"
        if not examples and len(group.slice) == 1:
            [(key, value)] = group.slice
            there = ", ".join(sorted(set(self._measurements.predictions.slices[key])))
            sentence += f" ({key} is {there}, never {value})"
        # Of many groups, some may be too small; one that was asked for by its name may not.
        named = "*" not in (threshold.class_name, *threshold.slice.values())
        measured = Measured(math.nan, examples)
        return Check(
            threshold.metric, group, bound, limit, False if named else None, sentence, measured
        )

    def _absolute(
        self, threshold: sections.Threshold, group: Group, bound: str, limit: float
    ) -> Check:
        name, at_least = threshold.metric, bound == "min"
        judged_by = threshold.judged_by or "value"
        measured = self._measure(name, group)
        difference = self._difference(name, group, with_interval=False)
        # The better end is the one that is further on the allowed side.
        ends = {"value": measured.value, "best": measured.high, "worst": measured.low}
        if not at_least:
            ends["best"], ends["worst"] = ends["worst"], ends["best"]
        judged = ends[judged_by]
        made = Check(name, group, bound, limit, True, "", measured, difference)
        if math.isnan(judged):
            return replace(made, passed=False, sentence=self._undefined(name, group))
        passed = judged >= limit if at_least else judged <= limit
        value, bounded = _numbers(measured.value, limit)
        sentence = f"{_who(name, group)} is {value}"
        if judged_by != "value":
            end, bounded = _numbers(judged, limit)
            may = {"best": "at best", "worst": "but may be as " + ("low" if at_least else "high")}
            sentence += f", {may[judged_by]}{' as' * (judged_by == 'worst')} {end}"
        sentence += f", {'must be ' * (not passed)}at {'least' if at_least else 'most'} {bounded}"
        if not passed:
            sentence += "".join(f"; {detail}" for detail in self._details(name, group))
            if difference is not None and not math.isnan(difference.baseline):
                before = _numbers(difference.baseline, measured.value)[0]
                among = "" if self._same_classes else " among the classes that it knows"
                sentence += f"; the baseline had {before}{among}"
        return replace(made, passed=passed, sentence=sentence)

    def _compared(
        self, threshold: sections.Threshold, group: Group, bound: str, limit: float
    ) -> Check:
        name, who = threshold.metric, _who(threshold.metric, group)
        measured = self._measure(name, group)
        made = Check(name, group, bound, limit, None, "", measured)
        if math.isnan(measured.value):
            return replace(made, passed=False, sentence=self._undefined(name, group))
        if self._measurements.predictions.baseline is None:
            return made
        difference = self._difference(name, group)
        if difference is None:
            # Of other classes _about_baseline tells.
            unknown = f"{who} has nothing to be compared with in the baseline"
            return replace(made, sentence=unknown if self._same_classes else "")
        made = replace(made, difference=difference)
        drop = difference if bound == "max_rise" else _reversed(difference)
        judged_by = threshold.judged_by or ("best" if limit >= 0 else "worst")
        judged = {"value": drop.value, "best": drop.low, "worst": drop.high}[judged_by]
        if math.isnan(judged):
            sentence = f"{who} can't be compared with the baseline's: one of them is no number"
            return replace(made, passed=False, sentence=sentence)
        passed = judged <= limit
        away, other = ("higher", "lower") if bound == "max_rise" else ("lower", "higher")
        by, allowed = _numbers(abs(drop.value), abs(limit))
        base = _numbers(difference.baseline, difference.candidate)[0]
        sentence = f"{who} is {by} {away if drop.value > 0 else other} than the baseline's {base}"
        if drop.value == 0:
            sentence = f"{who} is the same as the baseline's, {base}"
        if judged_by != "value" and not passed:
            sure = _numbers(abs(judged), abs(limit))[0]
            sentence += f" (with {self._evaluation.confidence * 100:g}% confidence at "
            sentence += "least" if (judged_by == "best") == (judged > 0) else "most"
            sentence += f" {sure} {away if judged > 0 else other})"
        if limit >= 0:
            sentence += f"; at most {allowed} is allowed"
        else:
            sentence += f"; it must be {other} by at least {allowed}"
        return replace(made, passed=passed, sentence=sentence)

    def _undefined(self, name: str, group: Group) -> str:
        split = self._evaluation.split
        return f"{_who(name, group)} is not defined: it is no number on the {split} split"

    def _measure(self, name: str, group: Group) -> Measured:
        if name in cost.METRICS:
            return Measured(self._costs[name], self._examples(name, group))
        if name in self._named:
            found = self._others.measure(name, group)
            return replace(found, examples=self._measurements.examples(group))
        return self._measurements.measure(name, group)

    def _difference(self, name: str, group: Group, with_interval: bool = True) -> Difference | None:
        if name in cost.METRICS:
            return None
        if name in self._named:
            return self._others.difference(name, group)
        return self._measurements.difference(name, group, with_interval)

    def _details(self, name: str, group: Group) -> Iterator[str]:
        """With what a class is confused."""
        if group.class_name is None or group.slice or self._multi_label:
            return
        found = self._measurements
        place, confusion = found.classes.index(group.class_name), found.confusion
        predicted = int(confusion[:, place].sum())
        if name in ("recall", "f1"):
            missed = confusion[place].copy()
            missed[place] = 0
            if missed.any():
                most = int(missed.argmax())
                yield (
                    f"{missed[most]:,} of {found.support[place]:,} were taken for "
                    f"{quoted(found.classes[most])}"
                )
        if name in ("precision", "f1"):
            taken = confusion[:, place].copy()
            taken[place] = 0
            if taken.any():
                most = int(taken.argmax())
                were = f"{taken[most]:,} of the {predicted:,} taken for it were"
                yield f"{were} {quoted(found.classes[most])}"
        if not predicted:
            yield "the model never says so"

    # --- what speaks against a model whatever the thresholds ---

    def _not_forgotten(self) -> Iterator[Check]:
        """No class with enough examples to tell may hardly ever be recognised."""
        found = self._measurements
        limit = self._evaluation.min_class_recall
        recall = sections.Threshold(metric="recall", class_name="*", min=limit)
        for name, examples in sorted(zip(found.classes, found.support, strict=True)):
            if examples >= _ENOUGH and limit > 0:
                yield self._absolute(recall, Group(name), "min", limit)

    def _never_said(self) -> Iterator[str]:
        """Classes too small for ``_not_forgotten`` that the model never predicts."""
        found = self._measurements
        if self._evaluation.min_class_recall == 0:
            return
        predicted = found.predictions.outcome.predicted.sum(axis=0)
        for name, examples, times in sorted(
            zip(found.classes, found.support, predicted, strict=True)
        ):
            if _SOME <= examples < _ENOUGH and not times:
                yield f"the model never says {quoted(name)}, of which there are {examples} images"

    def _not_numbers(self) -> Iterator[str]:
        outcome = self._measurements.predictions.outcome
        if not len(outcome):
            yield f"the {self._evaluation.split} split gave no predictions"
            return
        bad = int((~np.isfinite(outcome.scores)).any(axis=1).sum())
        if bad:
            yield (
                f"the scores of {bad:,} of {len(outcome):,} images are no numbers (NaN): weights "
                "overflowed in training, or were damaged since"
            )

    def _not_as_trained(self, trained_accuracy: float | None) -> Iterator[str]:
        outcome = self._measurements.predictions.outcome
        if trained_accuracy is None or not len(outcome):
            return
        found = self._measurements.measure("accuracy", Group(), with_interval=False).value
        if abs(found - trained_accuracy) > max(_PARITY, _PARITY_EXAMPLES / len(outcome)):
            ours, theirs = _numbers(found, trained_accuracy)
            yield (
                f"the exported model's accuracy is {ours}, and Trainer measured {theirs} on the "
                "same examples: preprocessing or weights are not those of the training"
            )

    def _what_may_be_wrong(self) -> Iterator[str]:
        """What the confusions look like; said only of a model that isn't blessed."""
        outcome = self._measurements.predictions.outcome
        if not len(outcome) or not np.isfinite(outcome.scores).all():
            return
        found = self._measurements
        if self._multi_label:
            auc = found.measure("auc", Group(), with_interval=False).value
            if auc < 0.5 + _CHANCE:
                yield f"that is no better than chance: AUC is {auc:.4g}, and 0.5 says nothing"
            return
        accuracy, largest = outcome.right.mean(), int(found.support.argmax())
        chance = found.support[largest] / len(outcome)
        if accuracy < chance + _CHANCE * (1 - chance):
            value, constant = _numbers(accuracy, chance)
            yield (
                f"that is no better than chance: always saying {quoted(found.classes[largest])} is "
                f"right for {constant} of the images, the model for {value}"
            )
        rows, columns = linear_sum_assignment(found.confusion, maximize=True)
        reordered = found.confusion[rows, columns].sum() / len(outcome)
        if reordered > accuracy + _MIXED_UP:
            moved = next(row for row in np.argsort(-found.support) if columns[row] != row)
            yield (
                f"the classes seem mixed up: with their names in another order {reordered:.4g} "
                f"would be right; most images of {quoted(found.classes[moved])} are taken for "
                f"{quoted(found.classes[columns[moved]])}"
            )

    def _about_baseline(self) -> Iterator[str]:
        found = self._measurements.predictions
        ours, theirs = set(found.classes), set(found.baseline_classes)
        if found.baseline is None or ours == theirs:
            return
        new, gone = sorted(ours - theirs), sorted(theirs - ours)
        words = [f"it doesn't know {', '.join(map(quoted, new))}"] * bool(new)
        words += [f"it knows {', '.join(map(quoted, gone))} as well"] * bool(gone)
        compared = found.compared
        how = "nothing can be compared"
        if compared is not None:
            how = (
                f"compared on the {len(compared[0]):,} images of the {len(found.common)} classes "
                "that both know"
            )
        yield f"the baseline has other classes ({'; '.join(words)}): {how}"
        own = [t.metric for t in self._evaluation.thresholds if t.metric in self._named]
        if own:
            yield f"{', '.join(sorted(set(own)))}: TFMA can't compare models of other classes"

    @property
    def _same_classes(self) -> bool:
        found = self._measurements.predictions
        return set(found.classes) == set(found.baseline_classes)

    @property
    def _named(self) -> dict[str, sections.TfmaMetric]:
        """The metrics of ``evaluation.metrics``."""
        return self._evaluation.metrics

    @property
    def _multi_label(self) -> bool:
        return self._measurements.predictions.outcome.multi_label


def quoted(name: str) -> str:
    """A class's name as it is, in quotation marks."""
    return f"'{name}'"


def _who(metric: str, group: Group) -> str:
    whose = f" of {quoted(group.class_name)}" if group.class_name is not None else ""
    where = " and ".join(f"{key} is {value}" for key, value in group.slice)
    return f"{metric}{whose}" + (f" where {where}" if where else "")


def _reversed(difference: Difference) -> Difference:
    """How much lower the candidate is, as a difference."""
    return Difference(difference.baseline, difference.candidate, -difference.high, -difference.low)


def _numbers(value: float, beside: float) -> tuple[str, str]:
    """Two numbers in as few digits as tell them apart."""
    for digits in range(4, 17):
        one, other = f"{value:.{digits}g}", f"{beside:.{digits}g}"
        if one != other or value == beside:
            break
    return one, other
