"""The numbers that a gate compares: of the whole, of a class, of a slice, and of the baseline."""

import functools
import math
from collections import Counter
from typing import Any, Literal, NamedTuple

import numpy as np

from darkroom.components.evaluation import metrics
from darkroom.components.evaluation.artifacts import Answer
from darkroom.components.evaluation.metric_names import Group, Slice
from darkroom.components.evaluation.metrics import Outcome
from darkroom.components.evaluation.predictions import Predictions

_MOST_CLASSES = 100  # up to this number of classes the confusion matrix is kept
_SLICES = 100  # how many values of a feature, the most frequent ones, are slices
_NAMED = 12  # images that are named as mistakes, and as uncertain

_NO_SHARES = ("mae", "rmse", "r2")
_DRAWN = 500  # examples of which residuals are drawn

# The candidate alone, or it and the baseline on the classes that both know.
Models = Literal["candidate", "both"]


class Measured(NamedTuple):
    """A metric of a group. What is not defined, or was not computed, is NaN."""

    value: float
    examples: int = 0
    low: float = math.nan  # ends of the confidence interval
    high: float = math.nan


class Difference(NamedTuple):
    """What a metric is above the baseline's, on the classes that both models know."""

    candidate: float
    baseline: float
    low: float  # ends of the confidence interval of the difference
    high: float

    @property
    def value(self) -> float:
        return self.candidate - self.baseline

    def reversed(self) -> "Difference":
        """How much lower the candidate is."""
        return Difference(self.baseline, self.candidate, -self.high, -self.low)


class Measurements:
    """Computes metrics of predictions; each of them, and each interval, once."""

    def __init__(self, predictions: Predictions, confidence: float):
        self.predictions, self.classes = predictions, predictions.classes
        self._confidence = confidence
        self._values_of = functools.cache(self._compute_values)
        self._outcomes = functools.cache(self._select_outcomes)
        self._members = functools.cache(self._find_members)
        self._support = functools.cache(self._count_support)

    @property
    def support(self) -> np.ndarray:
        """Examples of each class, int64 [classes]."""
        return self._support(())

    @functools.cached_property
    def confusion(self) -> np.ndarray:
        """Counts, int64 [true class, predicted class], of answers that are numbers."""
        outcome = self.predictions.outcome
        answered = outcome.predicted.any(axis=1) & outcome.truth.any(axis=1)
        counts = np.zeros((len(self.classes),) * 2, int)
        pairs = (outcome.truth[answered].argmax(axis=1), outcome.predicted[answered].argmax(axis=1))
        np.add.at(counts, pairs, 1)
        return counts

    def slices(self) -> list[Group]:
        groups = []
        for key, values in self.predictions.slices.items():
            common = Counter(values).most_common(_SLICES)
            groups += [Group(slice=((key, value),)) for value in sorted(dict(common))]
        return groups

    def examples(self, group: Group) -> int:
        if group.class_name is None:
            return int(self._members(group.slice).sum())
        return int(self._support(group.slice)[self.classes.index(group.class_name)])

    def compared_examples(self, group: Group) -> int:
        """How many of a group's examples are of classes that the baseline knows too."""
        compared = self.predictions.compared
        if compared is None or group.class_name not in (None, *self.predictions.common):
            return 0
        if group.class_name is not None:
            return self.examples(group)
        return int(self._members(group.slice)[compared[2]].sum())

    def measure(self, name: str, group: Group, with_interval: bool = True) -> Measured:
        """A metric of a group, of the candidate alone."""
        [[value]] = self._values(name, group, "candidate")
        ends = (math.nan, math.nan)
        if with_interval and not math.isnan(value):
            [drawn] = self._values(name, group, "candidate", metrics.REPLICATES)
            ends = metrics.interval(drawn, self._confidence)
            if value in (0, 1) and ends == (value, value) and name not in _NO_SHARES:
                # A bootstrap knows nothing of what never happened; for these examples without a
                # single failure (or success) this is the binomial distribution's own bound.
                bound = ((1 - self._confidence) / 2) ** (1 / self.examples(group))
                ends = (bound, 1.0) if value else (0.0, 1 - bound)
        return Measured(float(value), self.examples(group), *ends)

    def difference(self, name: str, group: Group, with_interval: bool = True) -> Difference | None:
        """A metric of a group against the baseline's; None where there is nothing to compare."""
        if not self.compared_examples(group):
            return None
        [candidate], [baseline] = self._values(name, group, "both")
        ends = (math.nan, math.nan)
        if with_interval and not (math.isnan(candidate) or math.isnan(baseline)):
            one, other = self._values(name, group, "both", metrics.REPLICATES)
            ends = metrics.interval(one - other, self._confidence)
        return Difference(float(candidate), float(baseline), *ends)

    def _values(
        self, name: str, group: Group, models: Models, draws: int | None = None
    ) -> list[np.ndarray]:
        """The metric of each model, float64 [1], or of the same draws of examples, [draws]."""
        values = self._values_of(name, group.class_name is None, group.slice, models, draws)
        if group.class_name is not None:
            known = self.classes if models == "candidate" else self.predictions.common
            values = [of_classes[:, known.index(group.class_name)] for of_classes in values]
        return values

    def _compute_values(
        self, name: str, of_all: bool, part: Slice, models: Models, draws: int | None
    ) -> list[np.ndarray]:
        metric = (metrics.OVERALL if of_all else metrics.OF_CLASSES)[name]
        outcomes = self._outcomes(part, models)
        if draws is not None:
            return metrics.replicates(metric, outcomes, draws)
        return [metrics.value(metric, outcome)[np.newaxis] for outcome in outcomes]

    def _select_outcomes(self, part: Slice, models: Models) -> list[Outcome]:
        members = self._members(part)
        if models == "candidate":
            return [self.predictions.outcome.part(members)]
        assert self.predictions.compared is not None  # or there would be no examples
        *both, known = self.predictions.compared
        return [outcome.part(members[known]) for outcome in both]

    def _find_members(self, part: Slice) -> np.ndarray:
        """Bool [examples]: which are in a slice."""
        inside = np.ones(len(self.predictions.outcome), bool)
        for key, value in part:
            inside &= self.predictions.slices[key] == value
        return inside

    def _count_support(self, part: Slice) -> np.ndarray:
        [outcome] = self._outcomes(part, "candidate")
        return outcome.support

    def mistakes(self) -> list[Answer]:
        outcome = self.predictions.outcome
        if isinstance(outcome, metrics.Numbers):
            # By the number that is furthest off, each by how far its values are apart.
            apart = outcome.errors / np.maximum(outcome.truth.std(axis=0), np.finfo(float).tiny)
            return self._answers(np.argsort(-apart.max(axis=1, initial=0), kind="stable"))
        wrong = np.flatnonzero((outcome.predicted != outcome.truth).any(axis=1))
        shown = np.abs(outcome.scores - outcome.truth) if outcome.multi_label else outcome.scores
        sure = shown.max(axis=1, initial=0)
        return self._answers(wrong[np.argsort(-sure[wrong], kind="stable")])

    def uncertain(self) -> list[Answer]:
        """The answers, right or wrong, that the model was least sure of."""
        outcome = self.predictions.outcome
        if outcome.of_numbers:
            return []  # all have intervals of the same width
        if outcome.multi_label:
            sure = np.abs(outcome.scores - 0.5).min(axis=1, initial=1)
        else:
            best = np.sort(outcome.scores, axis=1)
            sure = best[:, -1] - best[:, -2]
        return self._answers(np.argsort(sure, kind="stable"))

    def _answers(self, examples: np.ndarray) -> list[Answer]:
        return [self._answer(int(number)) for number in examples[:_NAMED]]

    def _answer(self, number: int) -> Answer:
        predictions, outcome = self.predictions, self.predictions.outcome
        scores, truth = outcome.scores[number], outcome.truth[number]
        if outcome.of_numbers:
            return Answer(
                content_hash=int(predictions.contents[number]),
                filename=predictions.filenames[number],
                label=self._in_words(truth),
                predicted=self._in_words(scores),
            )
        predicted = [self.classes[i] for i in np.flatnonzero(outcome.predicted[number])]
        surest = np.abs(scores - truth).argmax() if outcome.multi_label else scores.argmax()
        return Answer(
            content_hash=int(predictions.contents[number]),
            filename=predictions.filenames[number],
            label=predictions.labels[number],
            predicted="|".join(predicted),
            score=float(scores[surest]),
            true_score=float(scores[truth > 0].min(initial=1)),
        )

    def _in_words(self, numbers: np.ndarray) -> str:
        if len(numbers) == 1:
            return f"{numbers[0]:.4g}"
        pairs = zip(self.classes, numbers, strict=True)
        return ", ".join(f"{name} {number:.4g}" for name, number in pairs)

    def shown_confusion(self) -> list[list[int]] | None:
        outcome = self.predictions.outcome
        if outcome.multi_label or outcome.of_numbers or len(self.classes) > _MOST_CLASSES:
            return None
        matrix: list[list[int]] = self.confusion.tolist()
        return matrix

    def residuals(self) -> dict[str, list[tuple[float, float]]]:
        """Of some examples what is true and what was said, by the names of numbers."""
        outcome = self.predictions.outcome
        if not outcome.of_numbers:
            return {}
        rows = np.linspace(0, len(outcome) - 1, min(len(outcome), _DRAWN)).astype(int)
        pairs = np.stack([outcome.truth, outcome.scores], axis=2)[rows]
        return {
            name: [(float(true), float(said)) for true, said in pairs[:, place]]
            for place, name in enumerate(self.classes)
        }


def row(
    metric: str, group: Group, measured: Measured, difference: Difference | None
) -> dict[str, Any]:
    """A metric of a group as a row of ``evaluation.json`` has it."""
    apart = difference or Difference(math.nan, math.nan, math.nan, math.nan)
    return measured._asdict() | {
        "metric": metric,
        "class_name": group.class_name,
        "slice": dict(group.slice) or None,
        "baseline": apart.baseline,
        "difference": apart.value,
        "difference_low": apart.low,
        "difference_high": apart.high,
    }


def told_apart(value: float, beside: float) -> tuple[str, str]:
    """Two numbers in as few digits as tell them apart."""
    for digits in range(4, 17):
        one, other = f"{value:.{digits}g}", f"{beside:.{digits}g}"
        if one != other or value == beside:
            break
    return one, other
