"""The metrics of a model, exactly, from what it said of all examples: with NumPy alone.

Each is computed for many weightings of the examples at once, ``weights`` float64 [weightings,
examples]: with all weights 1 it is the metric itself, with random ones its bootstrap. A metric of
the whole gives float64 [weightings], one of each class [weightings, classes]; NaN: not defined.
"""

from collections.abc import Callable, Iterator
from functools import cached_property, partial

import numpy as np

from darkroom.components.evaluation.artifacts import Bin
from darkroom.components.evaluation.metric_names import AVERAGED, AVERAGES, TOP, top_accuracy

# Bins of the calibration error, as in Guo et al. 2017, https://arxiv.org/abs/1706.04599.
_BINS = 10
# Draws of the bootstrap. The ends of a 95 % interval are then known to a twentieth of its width.
REPLICATES = 400
_CHUNK = 2**26  # bytes of memory that replicates which are computed together may take


class Outcome:
    """What a model said of examples, and what is true; float64 for products with weights."""

    of_numbers = False

    def __init__(
        self,
        truth: np.ndarray,
        scores: np.ndarray,
        multi_label: bool = False,
        predicted: np.ndarray | None = None,
    ):
        """Takes arrays [examples, classes]: ``truth`` is 0 or 1, ``scores`` float64 from 0 to 1.

        ``predicted``, 0 or 1 too, is by default the best class or, multi-label, all above 0.5;
        none where scores are no numbers.
        """
        self.truth, self.scores = np.asarray(truth, float), scores
        self.multi_label = multi_label
        if predicted is None:
            usable = np.isfinite(scores).all(axis=1)
            if multi_label:
                predicted = scores > 0.5
            else:
                predicted = np.zeros(scores.shape)
                predicted[usable, scores[usable].argmax(axis=1)] = 1
        self.predicted = np.asarray(predicted, float)

    def __len__(self) -> int:
        return len(self.truth)

    @cached_property
    def right(self) -> np.ndarray:
        """Float64 [examples]: 1 or 0; multi-label: the share of right answers."""
        right = self.predicted == self.truth
        shares: np.ndarray = right.mean(axis=1) if self.multi_label else right.all(axis=1) * 1.0
        return shares

    @cached_property
    def hits(self) -> np.ndarray:
        """Float64 [examples, classes]: 1 where a class is predicted and true."""
        hits: np.ndarray = self.predicted * self.truth
        return hits

    @property
    def support(self) -> np.ndarray:
        """Examples of each class, int64 [classes]."""
        return np.asarray(self.truth.sum(axis=0), int)

    def known(self, classes: list[int]) -> np.ndarray:
        """Which examples a model can be judged by that knows these classes: bool [examples]."""
        known: np.ndarray = (self.truth[:, classes] > 0).any(axis=1) | self.multi_label
        return known

    def with_truth(self, truth: np.ndarray) -> "Outcome":
        """The same answers, with what is true in another order of classes."""
        return Outcome(truth, self.scores, self.multi_label, self.predicted)

    def part(self, examples: np.ndarray, classes: list[int] | None = None) -> "Outcome":
        """Takes some examples, bool [examples], and classes; other classes' answers stay wrong."""
        arrays = [array[examples] for array in (self.truth, self.scores, self.predicted)]
        if classes is not None:
            arrays = [array[:, classes] for array in arrays]
        truth, scores, predicted = arrays
        return Outcome(truth, scores, self.multi_label, predicted)


class Numbers(Outcome):
    """The same of numbers, each in its unit, with the ends of their intervals."""

    of_numbers = True

    def __init__(self, truth: np.ndarray, said: np.ndarray, low: np.ndarray, high: np.ndarray):
        """Takes float64 arrays [examples, outputs]."""
        super().__init__(truth, said, predicted=said)
        self.low, self.high = low, high

    @property
    def support(self) -> np.ndarray:
        """All examples have each number, int64 [outputs]."""
        return np.full(self.truth.shape[1], len(self))

    @cached_property
    def errors(self) -> np.ndarray:
        """How far what was said is from what is true, float64 [examples, outputs]."""
        errors: np.ndarray = np.abs(self.scores - self.truth)
        return errors

    def known(self, classes: list[int]) -> np.ndarray:
        return np.ones(len(self), bool)

    def with_truth(self, truth: np.ndarray) -> "Numbers":
        return Numbers(truth, self.scores, self.low, self.high)

    def part(self, examples: np.ndarray, classes: list[int] | None = None) -> "Numbers":
        arrays = [array[examples] for array in (self.truth, self.scores, self.low, self.high)]
        return Numbers(*(array if classes is None else array[:, classes] for array in arrays))


Metric = Callable[[Outcome, np.ndarray], np.ndarray]  # from weights, as said above


def accuracy(outcome: Outcome, weights: np.ndarray) -> np.ndarray:
    """Share of examples, or with multi-label data of answers, that are right."""
    return _mean(outcome.right, weights)


def loss(outcome: Outcome, weights: np.ndarray) -> np.ndarray:
    """Cross-entropy, or log loss, in nats; multi-label: mean over all answers."""
    tiny = np.finfo(float).eps  # as scikit-learn clips
    scores = np.clip(outcome.scores, tiny, 1 - tiny)
    if outcome.multi_label:
        answers = np.where(outcome.truth > 0, scores, 1 - scores)
        return _mean(-np.log(answers).mean(axis=1), weights)
    of_truth = (outcome.truth * scores).sum(axis=1)
    with np.errstate(divide="ignore"):
        return _mean(-np.log(of_truth), weights)


def calibration_error(outcome: Outcome, weights: np.ndarray) -> np.ndarray:
    """How far scores are from the share of right answers, on average (ECE, 10 bins)."""
    bins, scores, right = _answers(outcome)
    if outcome.multi_label:
        weights = np.repeat(weights, outcome.truth.shape[1], axis=1)  # of each answer
    apart = weights @ (np.eye(_BINS)[bins] * (right - scores)[:, np.newaxis])
    return _divide(np.abs(apart).sum(axis=1), weights.sum(axis=1))


def auc_of_classes(outcome: Outcome, weights: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of each class against all others."""
    areas = np.empty((len(weights), outcome.scores.shape[1]))
    for number, scores in enumerate(outcome.scores.T):
        order = np.argsort(scores, kind="stable")
        starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))  # of equal scores
        if not len(order) or np.isnan(scores).any():
            areas[:, number] = np.nan
            continue
        of_class = outcome.truth[order, number]
        ordered = weights[:, order]
        yes = np.add.reduceat(ordered * of_class, starts, axis=1)
        no = np.add.reduceat(ordered * (1 - of_class), starts, axis=1)
        lower = np.cumsum(no, axis=1) - no / 2
        areas[:, number] = _divide((yes * lower).sum(axis=1), yes.sum(axis=1) * no.sum(axis=1))
    return areas


def auc(outcome: Outcome, weights: np.ndarray) -> np.ndarray:
    """Mean of ``auc_of_classes`` over the classes that have examples."""
    areas = auc_of_classes(outcome, weights)
    if areas.shape[1] == 2 and not outcome.multi_label:
        # The areas of two classes differ by rounding at most; scikit-learn takes the second.
        areas = areas[:, 1:]
    defined = ~np.isnan(areas)
    return _divide(np.where(defined, areas, 0).sum(axis=1), defined.sum(axis=1))


def _top_accuracy(number: int, outcome: Outcome, weights: np.ndarray) -> np.ndarray:
    of_truth = (outcome.truth * outcome.scores).sum(axis=1, keepdims=True)
    # Of classes with equal scores the first is the better one, as argmax has it.
    places = np.arange(outcome.scores.shape[1])
    place = outcome.truth.argmax(axis=1)[:, np.newaxis]
    equal = (outcome.scores == of_truth) & (places < place)
    better = (outcome.scores > of_truth).sum(axis=1) + equal.sum(axis=1)
    among = (better < number) & np.isfinite(outcome.scores).all(axis=1)
    return _mean(among * 1.0, weights)


# Each is hits divided by a weighted mean of how often a class is predicted and how often it is
# true; this is the weight of how often it is predicted.
_OF_PREDICTED = {"precision": 1.0, "recall": 0.0, "f1": 0.5}


def _terms(name: str, outcome: Outcome, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is divided for each class, and by what: both float64 [weightings, classes]."""
    share = _OF_PREDICTED[name]
    mean = share * outcome.predicted + (1 - share) * outcome.truth
    return weights @ outcome.hits, weights @ mean


def _of_classes(name: str, otherwise: float, outcome: Outcome, weights: np.ndarray) -> np.ndarray:
    return _divide(*_terms(name, outcome, weights), otherwise=otherwise)


def _averaged(name: str, kind: str, outcome: Outcome, weights: np.ndarray) -> np.ndarray:
    hits, total = _terms(name, outcome, weights)
    if kind == "micro":
        return _divide(hits.sum(axis=1), total.sum(axis=1), otherwise=0)
    support = weights @ outcome.truth
    # As scikit-learn: all classes of multi-label data, else those that are true or predicted.
    counted = (support + weights @ outcome.predicted > 0) | outcome.multi_label
    shares = support if kind == "weighted" else counted.astype(float)
    values = np.where(counted, _divide(hits, total, otherwise=0), 0)
    return _divide((values * shares).sum(axis=1), shares.sum(axis=1))


def _mae(outcome: Outcome, weights: np.ndarray) -> np.ndarray:
    assert isinstance(outcome, Numbers)
    return _mean(outcome.errors, weights)


def _rmse(outcome: Outcome, weights: np.ndarray) -> np.ndarray:
    assert isinstance(outcome, Numbers)
    rmse: np.ndarray = np.sqrt(_mean(outcome.errors**2, weights))
    return rmse


def _r2(outcome: Outcome, weights: np.ndarray) -> np.ndarray:
    """The share of each number's variance that isn't left in the errors."""
    assert isinstance(outcome, Numbers)
    # From the middle of all, as the squares of large numbers leave no digits for their difference.
    truth = (
        outcome.truth - outcome.truth.mean(axis=0, keepdims=True) if len(outcome) else outcome.truth
    )
    variance = _mean(truth**2, weights) - _mean(truth, weights) ** 2
    return 1 - _divide(_mean(outcome.errors**2, weights), variance)


def _coverage(outcome: Outcome, weights: np.ndarray) -> np.ndarray:
    """The share of examples whose number lies within its interval."""
    assert isinstance(outcome, Numbers)
    inside = (outcome.low <= outcome.truth) & (outcome.truth <= outcome.high)
    return _mean(inside * 1.0, weights)


def _over_outputs(metric: Metric, outcome: Outcome, weights: np.ndarray) -> np.ndarray:
    mean: np.ndarray = metric(outcome, weights).mean(axis=1)
    return mean


OF_NUMBERS: dict[str, Metric] = {"mae": _mae, "rmse": _rmse, "r2": _r2, "coverage": _coverage}
OVERALL: dict[str, Metric] = {
    "accuracy": accuracy,
    "loss": loss,
    "auc": auc,
    "calibration_error": calibration_error,
    **{top_accuracy(number): partial(_top_accuracy, number) for number in TOP},
    **{f"{kind}_{name}": partial(_averaged, name, kind) for kind in AVERAGES for name in AVERAGED},
    **{name: partial(_over_outputs, metric) for name, metric in OF_NUMBERS.items()},
}
OF_CLASSES: dict[str, Metric] = {
    "precision": partial(_of_classes, "precision", 0),  # 0: it is never predicted
    "recall": partial(_of_classes, "recall", np.nan),  # NaN: it has no examples
    "f1": partial(_of_classes, "f1", 0),
    "auc": auc_of_classes,
    **OF_NUMBERS,
}


def value(metric: Metric, outcome: Outcome) -> np.ndarray:
    """The metric itself: a float64, or float64 [classes]."""
    computed: np.ndarray = metric(outcome, np.ones((1, len(outcome))))[0]
    return computed if len(outcome) else computed * np.nan


def replicates(
    metric: Metric, outcomes: list[Outcome], count: int, seed: int = 0
) -> list[np.ndarray]:
    """The metric of the same random draws of examples, for each of several models.

    A draw weighs each example with a Poisson number of mean 1 (the Poisson bootstrap, as TFMA's).
    Gives float64 [count], or [count, classes], of each outcome.
    """
    examples = len(outcomes[0])
    rows = max(1, _CHUNK // (8 * max(examples, 1) * outcomes[0].scores.shape[1]))
    drawn: list[list[np.ndarray]] = [[] for _ in outcomes]
    generator = np.random.default_rng(seed)
    for start in range(0, count, rows):
        weights = generator.poisson(1.0, (min(rows, count - start), examples)).astype(float)
        for outcome, parts in zip(outcomes, drawn, strict=True):
            parts.append(metric(outcome, weights))
    return [np.concatenate(parts) for parts in drawn]


def interval(values: np.ndarray, confidence: float) -> tuple[float, float]:
    """Ends between which the share ``confidence`` of [draws] values lies; NaN if all are."""
    if np.isnan(values).all():
        return float("nan"), float("nan")
    low, high = np.nanquantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def calibration(outcome: Outcome) -> Iterator[Bin]:
    """Each bin that has scores: its ends, and the number, mean score and accuracy of answers."""
    bins, scores, right = _answers(outcome)
    usable = np.isfinite(scores)
    for number in np.unique(bins[usable]):
        inside = usable & (bins == number)
        yield Bin(
            low=number / _BINS,
            high=(number + 1) / _BINS,
            examples=int(inside.sum()),
            score=float(scores[inside].mean()),
            correct=float(right[inside].mean()),
        )


def _answers(outcome: Outcome) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bin, score and rightness of every answer: the best class, or each class if multi-label."""
    scores, right = outcome.scores.max(axis=1, initial=0), outcome.right
    if outcome.multi_label:
        scores, right = outcome.scores.ravel(), outcome.truth.ravel()
    bins = np.clip(np.nan_to_num(scores) * _BINS, 0, _BINS - 1).astype(int)
    return bins, scores, right


def _mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Of [examples] float64 [weightings]; of [examples, outputs] [weightings, outputs]."""
    sums = weights @ values
    return _divide(sums, weights.sum(axis=1).reshape(-1, *[1] * (sums.ndim - 1)))


def _divide(above: np.ndarray, below: np.ndarray, otherwise: float = np.nan) -> np.ndarray:
    out = np.full(np.shape(above), otherwise, float)
    return np.divide(above, below, out=out, where=below != 0)
