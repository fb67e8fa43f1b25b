"""What speaks against a model whatever the thresholds, in sentences."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from darkroom.components.base import sections
from darkroom.components.evaluation.artifacts import CrossValidation
from darkroom.components.evaluation.measurements import Measurements, told_apart
from darkroom.components.evaluation.metric_names import Group, quoted
from darkroom.components.evaluation.metrics import Numbers

# How far the exported model's accuracy may be from what Trainer measured on the same examples:
# kernels of other batch sizes round otherwise, which turns an example or two.
_PARITY, _PARITY_EXAMPLES = 0.02, 2
_DEVIATIONS = 4  # more than that a sample's accuracy is off in 1 of 16,000
_SOME = 5  # a class with this many examples or more that is never predicted was forgotten
# A model is called no better than chance where it is better by less than this share of the rest:
# so far comes about every network of random weights, 97 of 100 on 180 digits.
_CHANCE = 0.1
# Classes are called mixed up where another order of them raises the accuracy by more than this.
_MIXED_UP = 0.3


class Trained(NamedTuple):
    """What Trainer measured of a model after the exported epoch."""

    accuracy: float  # on the whole eval split; of numbers the MAE, in deviations
    exported: Measurements  # of the exported model on that split, or on its first images
    are_all: bool
    deviations: Sequence[float] = ()  # of numbers


def no_numbers(evaluation: sections.Evaluation, measurements: Measurements) -> Iterator[str]:
    """Scores that are missing, or are NaN."""
    outcome = measurements.predictions.outcome
    if not len(outcome):
        yield f"the {evaluation.split} split gave no predictions"
        return
    bad = int((~np.isfinite(outcome.scores)).any(axis=1).sum())
    if bad:
        what = "numbers" if outcome.of_numbers else "scores"
        yield (
            f"the {what} of {bad:,} of {len(outcome):,} images are no numbers (NaN): weights "
            "overflowed in training, or were damaged since"
        )


def never_predicted(measurements: Measurements, below: int) -> Iterator[str]:
    """Classes of fewer than ``below`` examples that the model never predicts."""
    predicted = measurements.predictions.outcome.predicted.sum(axis=0)
    by_class = zip(measurements.classes, measurements.support, predicted, strict=True)
    for name, examples, times in sorted(by_class):
        if _SOME <= examples < below and not times:
            yield f"the model never says {quoted(name)}, of which there are {examples} images"


def not_as_trained(trained: Trained | None) -> Iterator[str]:
    """An accuracy that is not the one that Trainer measured, where that is known."""
    examples = len(trained.exported.predictions.outcome) if trained else 0
    if trained is None or not examples:
        return
    outcome = trained.exported.predictions.outcome
    if isinstance(outcome, Numbers):
        errors = (outcome.errors / trained.deviations).mean(axis=1)
        name, accuracy = "MAE, in deviations,", float(errors.mean())
        allowed = _PARITY * max(1.0, trained.accuracy)
        by_chance = float(errors.std()) / math.sqrt(examples)
    else:
        name, allowed = "accuracy", max(_PARITY, _PARITY_EXAMPLES / examples)
        accuracy = trained.exported.measure("accuracy", Group(), with_interval=False).value
        by_chance = math.sqrt(trained.accuracy * (1 - trained.accuracy) / examples)
    if not trained.are_all:
        allowed += _DEVIATIONS * by_chance
    if abs(accuracy - trained.accuracy) > allowed:
        ours, theirs = told_apart(accuracy, trained.accuracy)
        part, of_all = "", ""
        if not trained.are_all:
            part, of_all = f"the first {examples:,} images of ", " on all of it"
        yield (
            f"the exported model's {name} on {part}the eval split is {ours}, and Trainer "
            f"measured {theirs}{of_all}: preprocessing or weights are not those of the training"
        )


def symptoms(measurements: Measurements) -> Iterator[str]:
    """What may be wrong with a model that isn't blessed: answers by chance, classes mixed up."""
    outcome, classes = measurements.predictions.outcome, measurements.classes
    if not len(outcome) or not np.isfinite(outcome.scores).all():
        return
    if outcome.of_numbers:
        r2 = measurements.measure("r2", Group(), with_interval=False).value
        if r2 < _CHANCE:
            yield f"that is no better than always saying the mean: R² is {r2:.4g}"
        return
    if outcome.multi_label:
        auc = measurements.measure("auc", Group(), with_interval=False).value
        if auc < 0.5 + _CHANCE:
            yield f"that is no better than chance: AUC is {auc:.4g}, and 0.5 says nothing"
        return
    support, confusion = measurements.support, measurements.confusion
    accuracy, largest = outcome.right.mean(), int(support.argmax())
    chance = support[largest] / len(outcome)
    if accuracy < chance + _CHANCE * (1 - chance):
        value, constant = told_apart(accuracy, chance)
        yield (
            f"that is no better than chance: always saying {quoted(classes[largest])} is "
            f"right for {constant} of the images, the model for {value}"
        )
    rows, columns = linear_sum_assignment(confusion, maximize=True)
    reordered = confusion[rows, columns].sum() / len(outcome)
    if reordered > accuracy + _MIXED_UP:
        moved = next(number for number in np.argsort(-support) if columns[number] != number)
        yield (
            f"the classes seem mixed up: with their names in another order {reordered:.4g} "
            f"would be right; most images of {quoted(classes[moved])} are taken for "
            f"{quoted(classes[columns[moved]])}"
        )


def missed_in_folds(evaluation: sections.Evaluation, folds: CrossValidation) -> str | None:
    """That models trained alike don't reach ``min_accuracy`` on images that they haven't seen."""
    accuracy = folds.accuracy.value
    if accuracy is not None and accuracy >= evaluation.min_accuracy:
        return None
    return (
        f"the accuracy of cross-validation, {folds.words}, is below evaluation.min_accuracy, "
        f"{evaluation.min_accuracy:g}: as many images as these tell more than those of one split"
    )


def judged_by_what_chose(evaluation: sections.Evaluation, chosen: list[str]) -> Iterator[str]:
    """That a model is judged by the images that chose its epoch, trial or start, if any did."""
    if chosen:
        *others, last = chosen
        named = f"{', '.join(others)} and {last}" if others else last
        yield (
            f"the images of the {evaluation.split} split, which judge the model, also chose its "
            f"{named}: others may be answered worse. Those of a test split (data.splits.test) "
            "choose nothing"
        )


def other_classes(evaluation: sections.Evaluation, measurements: Measurements) -> Iterator[str]:
    """What can't be compared with a baseline of other classes."""
    predictions = measurements.predictions
    ours, theirs = set(predictions.classes), set(predictions.baseline_classes)
    if predictions.baseline is None or ours == theirs:
        return
    new, gone = sorted(ours - theirs), sorted(theirs - ours)
    words = [f"it doesn't know {', '.join(map(quoted, new))}"] * bool(new)
    words += [f"it knows {', '.join(map(quoted, gone))} as well"] * bool(gone)
    how = "nothing can be compared"
    if predictions.compared is not None:
        how = (
            f"compared on the {len(predictions.compared[0]):,} images of the "
            f"{len(predictions.common)} classes that both know"
        )
    yield f"the baseline has other classes ({'; '.join(words)}): {how}"
    own = {t.metric for t in evaluation.thresholds if t.metric in evaluation.metrics}
    if own:
        yield f"{', '.join(sorted(own))}: TFMA can't compare models of other classes"
