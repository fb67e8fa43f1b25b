"""The numbers that a gate compares: of the whole, of a class, of a slice, and of the baseline."""

import math
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar, cast

import numpy as np

from darkroom.components.evaluation import metrics
from darkroom.components.evaluation.artifacts import Answer
from darkroom.components.evaluation.metrics import Group, Outcome, Slice
from darkroom.components.evaluation.predictions import Predictions

# Draws of the bootstrap. The ends of a 95 % interval are then known to a twentieth of its width.
_REPLICATES = 400
# Of so many classes the confusion matrix is kept.
_CONFUSION_CLASSES = 100
# Of a feature with more values these are shown.
_SLICES = 100
# How many images are named as mistakes, and as uncertain.
_NAMED = 12

P = ParamSpec("P")
T = TypeVar("T")
# Of the candidate alone, or of it and the baseline on what they have in common.
Models = Literal["candidate", "both"]


@dataclass(frozen=True)
class Measured:
    """A metric of a group. What is not defined, or was not computed, is NaN."""

    value: float
    examples: int
    low: float = math.nan  # ends of the confidence interval
    high: float = math.nan


@dataclass(frozen=True)
class Difference:
    """What a metric is above the baseline's, on the classes that both models know."""

    candidate: float
    baseline: float
    low: float  # ends of the confidence interval of the difference
    high: float

    @property
    def value(self) -> float:
        """Candidate less baseline."""
        return self.candidate - self.baseline

    def reversed(self) -> "Difference":
        """How much lower the candidate is."""
        return Difference(self.baseline, self.candidate, -self.high, -self.low)


def _once(
    method: Callable[Concatenate["Measurements", P], T],
) -> Callable[Concatenate["Measurements", P], T]:
    """Has a method compute what it gives for each of its arguments only once."""

    def computed(self: "Measurements", /, *args: P.args, **kwargs: P.kwargs) -> T:
        key = (method.__name__, *args)
        if key not in self.computed:
            self.computed[key] = method(self, *args, **kwargs)
        return cast(T, self.computed[key])

    return computed


class Measurements:
    """Computes metrics of predictions; each of them, and each interval, once."""

    def __init__(self, predictions: Predictions, confidence: float):
        self.predictions = predictions
        self._confidence = confidence
        self.computed: dict[Hashable, object] = {}

    @property
    def classes(self) -> list[str]:
        """In the order of the label vocabulary."""
        return self.predictions.classes

    @property
    def support(self) -> np.ndarray:
        """Examples of each class, int64 [classes]."""
        return self._support(())

    @cached_property
    def confusion(self) -> np.ndarray:
        """Counts, int64 [true class, predicted class], of answers that are numbers."""
        outcome = self.predictions.outcome
        answered = outcome.predicted.any(axis=1) & outcome.truth.any(axis=1)
        counts = np.zeros((len(self.classes),) * 2, int)
        pairs = (outcome.truth[answered].argmax(axis=1), outcome.predicted[answered].argmax(axis=1))
        np.add.at(counts, pairs, 1)
        return counts

    def slices(self) -> list[Group]:
        """A group for each value of each feature that slices, the most frequent of many."""
        groups = []
        for key, values in self.predictions.slices.items():
            common = Counter(values).most_common(_SLICES)
            groups += [Group(slice=((key, value),)) for value in sorted(dict(common))]
        return groups

    def examples(self, group: Group) -> int:
        """How many there are in a group."""
        if group.class_name is None:
            return int(self._members(group.slice).sum())
        return int(self._support(group.slice)[self.classes.index(group.class_name)])

    def compared_examples(self, group: Group) -> int:
        """How many of them are of classes that the baseline knows too."""
        compared = self.predictions.compared
        if compared is None or group.class_name not in (None, *self.predictions.common):
            return 0
        if group.class_name is not None:
            return self.examples(group)
        return int(self._members(group.slice)[compared[2]].sum())

    def measure(self, name: str, group: Group, with_interval: bool = True) -> Measured:
        """A metric of a group, of the candidate alone."""
        [value] = self._values(name, group, "candidate", self.classes)
        ends = (math.nan, math.nan)
        if with_interval and not math.isnan(value):
            [drawn] = self._draws(name, group, "candidate", self.classes)
            ends = metrics.interval(drawn, self._confidence)
            if value in (0, 1) and ends == (value, value):
                # A bootstrap knows nothing of what never happened; of so many draws without a
                # single failure (or success) this is the binomial distribution's own bound.
                bound = ((1 - self._confidence) / 2) ** (1 / self.examples(group))
                ends = (bound, 1.0) if value else (0.0, 1 - bound)
        return Measured(value, self.examples(group), *ends)

    def difference(self, name: str, group: Group, with_interval: bool = True) -> Difference | None:
        """A metric of a group against the baseline's; None where there is nothing to compare."""
        if not self.compared_examples(group):
            return None
        common = self.predictions.common
        candidate, baseline = self._values(name, group, "both", common)
        ends = (math.nan, math.nan)
        if with_interval and not (math.isnan(candidate) or math.isnan(baseline)):
            one, other = self._draws(name, group, "both", common)
            ends = metrics.interval(one - other, self._confidence)
        return Difference(candidate, baseline, *ends)

    def _values(self, name: str, group: Group, models: Models, classes: list[str]) -> list[float]:
        """The metric of each of these models."""
        values = self._values_of(name, group.class_name is None, group.slice, models)
        return [float(_at(value, group, classes)) for value in values]

    def _draws(
        self, name: str, group: Group, models: Models, classes: list[str]
    ) -> list[np.ndarray]:
        """Its bootstrap, of the same draws for all models: float64 [draws] of each."""
        draws = self._draws_of(name, group.class_name is None, group.slice, models)
        return [_at(values, group, classes) for values in draws]

    # Of all classes together, as one costs no less.

    @_once
    def _values_of(self, name: str, of_all: bool, part: Slice, models: Models) -> list[np.ndarray]:
        metric = _metric(name, of_all)
        return [metrics.value(metric, outcome) for outcome in self._outcomes(part, models)]

    @_once
    def _draws_of(self, name: str, of_all: bool, part: Slice, models: Models) -> list[np.ndarray]:
        return metrics.replicates(_metric(name, of_all), self._outcomes(part, models), _REPLICATES)

    @_once
    def _outcomes(self, part: Slice, models: Models) -> list[Outcome]:
        """Of the examples in a slice."""
        members = self._members(part)
        if models == "candidate":
            return [self.predictions.outcome.part(members)]
        assert self.predictions.compared is not None  # or there would be no examples
        *both, known = self.predictions.compared
        return [outcome.part(members[known]) for outcome in both]

    @_once
    def _members(self, part: Slice) -> np.ndarray:
        """Bool [examples]: which are in a slice."""
        inside = np.ones(len(self.predictions.outcome), bool)
        for key, value in part:
            inside &= self.predictions.slices[key] == value
        return inside

    @_once
    def _support(self, part: Slice) -> np.ndarray:
        [outcome] = self._outcomes(part, "candidate")
        counts: np.ndarray = outcome.truth.sum(axis=0).astype(int)
        return counts

    def mistakes(self) -> list[Answer]:
        """The wrong answers that the model was surest of."""
        outcome = self.predictions.outcome
        wrong = np.flatnonzero((outcome.predicted != outcome.truth).any(axis=1))
        sure = np.abs(outcome.scores - outcome.truth).max(axis=1) if len(outcome) else np.empty(0)
        if not outcome.multi_label:
            sure = outcome.scores.max(axis=1, initial=0)
        return self._answers(wrong[np.argsort(-sure[wrong], kind="stable")])

    def uncertain(self) -> list[Answer]:
        """The answers, right or wrong, that the model was least sure of."""
        outcome = self.predictions.outcome
        if outcome.multi_label:
            sure = np.abs(outcome.scores - 0.5).min(axis=1, initial=1)
        else:
            best = np.sort(outcome.scores, axis=1)
            sure = best[:, -1] - best[:, -2]
        return self._answers(np.argsort(sure, kind="stable"))

    def _answers(self, examples: np.ndarray) -> list[Answer]:
        predictions, outcome = self.predictions, self.predictions.outcome
        answers = []
        for number in examples[:_NAMED]:
            scores, truth = outcome.scores[number], outcome.truth[number]
            predicted = [self.classes[i] for i in np.flatnonzero(outcome.predicted[number])]
            surest = np.abs(scores - truth).argmax() if outcome.multi_label else scores.argmax()
            answers.append(
                Answer(
                    content_hash=int(predictions.contents[number]),
                    filename=predictions.filenames[number],
                    label=predictions.labels[number],
                    predicted="|".join(predicted),
                    score=float(scores[surest]),
                    true_score=float(scores[truth > 0].min(initial=1)),
                )
            )
        return answers

    def shown_confusion(self) -> list[list[int]] | None:
        """The confusion matrix; None of multi-label data, or of very many classes."""
        if self.predictions.outcome.multi_label or len(self.classes) > _CONFUSION_CLASSES:
            return None
        counts: list[list[int]] = self.confusion.tolist()
        return counts


def row(measured: Measured, difference: Difference | None) -> dict[str, Any]:
    """A metric's values as a row of ``evaluation.json`` has them."""
    apart = difference or Difference(math.nan, math.nan, math.nan, math.nan)
    return {
        "value": measured.value,
        "low": measured.low,
        "high": measured.high,
        "baseline": apart.baseline,
        "difference": apart.value,
        "difference_low": apart.low,
        "difference_high": apart.high,
        "examples": measured.examples,
    }


def told_apart(value: float, beside: float) -> tuple[str, str]:
    """Two numbers in as few digits as tell them apart."""
    for digits in range(4, 17):
        one, other = f"{value:.{digits}g}", f"{beside:.{digits}g}"
        if one != other or value == beside:
            break
    return one, other


def _metric(name: str, of_all: bool) -> metrics.Metric:
    return metrics.OVERALL[name] if of_all else metrics.OF_CLASSES[name]


def _at(values: np.ndarray, group: Group, classes: list[str]) -> np.ndarray:
    """Of values of classes those of the group's class."""
    return values if group.class_name is None else values[..., classes.index(group.class_name)]
