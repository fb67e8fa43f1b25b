import json
from typing import Any

import numpy as np
import pytest

from darkroom.components.base.errors import DarkroomError
from darkroom.components.evaluation.faults import Trained
from darkroom.components.evaluation.gate import Gate, Judgement
from darkroom.components.evaluation.measurements import Difference, Measured, Measurements
from darkroom.components.evaluation.metric_names import Group
from darkroom.components.evaluation.metrics import Outcome
from darkroom.components.evaluation.predictions import Predictions
from darkroom.pipeline.config import load

CLASSES = ["apple", "pear", "plum"]
COSTS = {"latency_p50_ms": 2.0, "latency_p99_ms": 5.0, "size_mib": 10.0}


def scores(predicted: np.ndarray, classes: int = 3) -> np.ndarray:
    found: np.ndarray = np.full((len(predicted), classes), 0.1)
    found[np.arange(len(predicted)), predicted] = 0.8
    return found


def predictions(
    labels: list[int], predicted: list[int], baseline: list[int] | None = None, **changes: Any
) -> Predictions:
    truth = np.eye(3, dtype=bool)[labels]
    made = {
        "classes": CLASSES,
        "outcome": Outcome(truth, scores(np.array(predicted))),
        "labels": [CLASSES[label] for label in labels],
        "contents": np.arange(len(labels)),
        "filenames": [""] * len(labels),
        "slices": {},
        "baseline_classes": [],
        "baseline": None,
    }
    if baseline is not None:
        made["baseline_classes"] = CLASSES
        made["baseline"] = Outcome(truth, scores(np.array(baseline)))
    return Predictions(**{**made, **changes})


class NoOthers:
    """What TFMA computed where nothing was named."""

    def measure(self, name: str, group: Group, with_interval: bool = True) -> Measured:
        raise LookupError(name)

    def difference(self, name: str, group: Group) -> Difference | None:
        raise LookupError(name)


def judge(
    made: Predictions, trained: float | None = None, are_all: bool = True, **evaluation: Any
) -> Judgement:
    quiet = {
        "split": "eval",
        "min_accuracy": 0.0,
        "min_class_recall": 0.0,
        "max_accuracy_drop": 1.0,
    }
    config = load("digits", [f"evaluation={json.dumps({**quiet, **evaluation})}"]).evaluation
    measurements = Measurements(made, config.confidence)
    known = None if trained is None else Trained(trained, measurements, are_all)
    return Gate(config, measurements, NoOthers(), COSTS).judge(known)  # type: ignore[arg-type]


def gate(made: Predictions, *thresholds: dict[str, Any], **evaluation: Any) -> Judgement:
    return judge(made, thresholds=list(thresholds), **evaluation)


# 60 apples, 40 pears of which 10 are taken for plums, 20 plums.
LABELS = [0] * 60 + [1] * 40 + [2] * 20
PREDICTED = [0] * 60 + [1] * 30 + [2] * 30


def test_a_missed_recall_says_how_much_and_with_what_it_is_confused() -> None:
    perfect = predictions(LABELS, PREDICTED, baseline=LABELS)
    verdict = gate(perfect, {"metric": "recall", "class_name": "pear", "min": 0.8})
    assert verdict.reasons == [
        "recall of 'pear' is 0.75, must be at least 0.8; 10 of 40 were taken for 'plum'; the "
        "baseline had 1"
    ]
    verdict = gate(perfect, {"metric": "precision", "class_name": "plum", "min": 0.8})
    assert verdict.reasons[0] == (
        "precision of 'plum' is 0.6667, must be at least 0.8; 10 of the 30 taken for it were "
        "'pear'; the baseline had 1"
    )


def test_a_kept_threshold_is_no_reason_but_is_recorded() -> None:
    verdict = gate(predictions(LABELS, PREDICTED), {"metric": "auc", "min": 0.5})
    assert verdict.blessed
    [check] = [check for check in verdict.checks if check.metric == "auc"]
    assert check.passed is True
    assert check.low < check.value < check.high
    assert check.sentence.endswith(", at least 0.5")


def test_each_class_is_held_against_a_threshold_for_all() -> None:
    each = {"metric": "recall", "class_name": "*", "min": 0.9}
    verdict = gate(predictions(LABELS, PREDICTED), each)
    assert [c.class_name for c in verdict.checks if c.limit == 0.9] == CLASSES
    assert len(verdict.reasons) == 1


def test_bounds_above_bounds_below() -> None:
    made = predictions(LABELS, PREDICTED)
    assert "must be at most 0.1" in gate(made, {"metric": "loss", "max": 0.1}).reasons[0]
    assert gate(made, {"metric": "loss", "max": 1.0}).blessed
    assert gate(made, {"metric": "size_mib", "max": 10.0}).blessed
    [reason] = gate(made, {"metric": "latency_p99_ms", "max": 4}).reasons
    assert reason == "latency_p99_ms is 5, must be at most 4"


def test_noise_neither_blocks_nor_blesses() -> None:
    other = [0] * 59 + [1] + PREDICTED[60:]  # one right answer less
    worse = predictions(LABELS, other, baseline=PREDICTED)
    better = predictions(LABELS, PREDICTED, baseline=other)
    verdict = gate(worse, {"metric": "accuracy", "max_drop": 0.0})
    assert verdict.blessed
    [remark] = verdict.remarks
    assert remark.endswith("it passes, as chance alone may make as much on 120 examples")
    assert "lower than the baseline's" in remark
    [reason] = gate(worse, {"metric": "accuracy", "max_drop": 0.0, "judged_by": "value"}).reasons
    assert reason == ("accuracy is 0.008333 lower than the baseline's 0.9167; at most 0 is allowed")
    [reason] = gate(better, {"metric": "accuracy", "max_drop": -0.005}).reasons
    assert "0.008333 higher than the baseline's 0.9083" in reason
    assert reason.endswith("it must be higher by at least 0.005")
    much = predictions(LABELS, [1] * 60 + PREDICTED[60:], baseline=PREDICTED)
    [reason, *_] = gate(much, {"metric": "accuracy", "max_drop": 0.01}).reasons
    assert "0.5 lower than the baseline's 0.9167 (with 95% confidence at least 0.4" in reason
    assert not gate(much, {"metric": "loss", "max_rise": 0.01}).blessed
    assert gate(much, {"metric": "loss", "max_rise": 5}).blessed


def test_the_ends_of_the_interval_can_be_what_counts() -> None:
    made = predictions(LABELS, PREDICTED)  # accuracy 0.917, give or take 0.05
    base = {"metric": "accuracy", "min": 0.9}
    assert gate(made, base).blessed
    [reason] = gate(made, {**base, "judged_by": "worst"}).reasons
    assert "accuracy is 0.9167, but may be as low as 0.8" in reason
    assert gate(made, {**base, "min": 0.95, "judged_by": "best"}).blessed
    assert not gate(made, {**base, "min": 0.95}).blessed


def test_a_first_model_keeps_the_absolute_thresholds() -> None:
    made = predictions(LABELS, PREDICTED)
    assert gate(made, {"metric": "accuracy", "max_drop": 0.0}).blessed
    assert not gate(made, {"metric": "accuracy", "max_drop": 0.0, "min": 0.99}).blessed


def test_what_can_not_be_judged_is_not_blessed() -> None:
    without_plums = predictions(LABELS[:100], PREDICTED[:90] + [1] * 10)
    [reason] = gate(without_plums, {"metric": "recall", "class_name": "plum", "min": 0.1}).reasons
    assert reason == ("recall of 'plum' can't be judged: the eval split has no example of it")
    few = {"metric": "recall", "class_name": "plum", "min": 0.1, "min_examples": 30}
    assert (
        "has only 20 examples of it, and min_examples is 30"
        in gate(predictions(LABELS, PREDICTED), few).reasons[0]
    )
    # Among all classes, a small one is only told of.
    verdict = gate(predictions(LABELS, PREDICTED), {**few, "class_name": "*"})
    assert verdict.blessed
    assert "only 20 examples of it, and min_examples is 30" in verdict.remarks[0]
    # Where none is large enough, nothing is shown.
    all_small = {**few, "class_name": "*", "min_examples": 500}
    [reason] = gate(predictions(LABELS, PREDICTED), all_small).reasons
    assert reason == "recall can't be judged: no class or slice has 500 examples"


def test_a_forgotten_class_is_refused_where_there_are_enough_examples_to_tell() -> None:
    forgets = [0] * 100 + PREDICTED[100:]
    verdict = judge(predictions(LABELS, forgets), min_class_recall=0.1)
    [reason] = [r for r in verdict.reasons if "recall" in r]
    assert reason == (
        "recall of 'pear' is 0, must be at least 0.1; 40 of 40 were taken for 'apple'; the model "
        "never says so"
    )
    some = predictions(LABELS[:60] + LABELS[95:], forgets[:60] + forgets[95:])
    [reason] = judge(some, min_class_recall=0.1).reasons
    assert reason == "the model never says 'pear', of which there are 5 images"
    few = predictions(LABELS[:60] + LABELS[96:], forgets[:60] + forgets[96:])
    assert judge(few, min_class_recall=0.1).blessed
    assert judge(some, min_class_recall=0.0).blessed


def test_an_interval_of_what_never_failed_has_a_width() -> None:
    measured = Measurements(predictions(LABELS, LABELS), 0.95).measure("recall", Group("plum"))
    assert (measured.value, measured.high) == (1.0, 1.0)
    assert measured.low == pytest.approx(0.025 ** (1 / 20))  # Clopper and Pearson's


def test_slices_are_judged_alone() -> None:
    cameras = np.array(["old"] * 100 + ["new"] * 20, object)
    made = predictions(LABELS, [*PREDICTED[:100], *[0] * 20], slices={"image/format": cameras})
    each = {"metric": "accuracy", "slice": {"image/format": "*"}, "min": 0.5}
    [reason] = gate(made, each, slices={"image/format": []}).reasons
    assert reason == "accuracy where image/format is new is 0, must be at least 0.5"
    empty = {**each, "slice": {"image/format": "lost"}}
    [reason] = gate(made, empty, slices={"image/format": []}).reasons
    assert reason.endswith("(image/format is new, old, never lost)")


def test_an_empty_split_is_not_blessed() -> None:
    nothing = Outcome(np.zeros((0, 3), bool), np.zeros((0, 3)))
    verdict = judge(predictions([0], [0], outcome=nothing))
    assert verdict.reasons[0] == "the eval split gave no predictions"


def test_what_trainer_measured_must_be_found_again() -> None:
    made = predictions(LABELS, PREDICTED)
    assert judge(made, trained=0.92).blessed
    [reason] = judge(made, trained=0.99).reasons
    assert reason == (
        "the exported model's accuracy on the eval split is 0.9167, and Trainer measured 0.99: "
        "preprocessing or weights are not those of the training"
    )
    # Of a part of those images the accuracy may be another.
    assert not judge(made, trained=0.96).blessed
    assert judge(made, trained=0.96, are_all=False).blessed
    [reason] = judge(made, trained=0.99, are_all=False).reasons
    assert "on the first 120 images of the eval split is 0.9167" in reason
    assert "Trainer measured 0.99 on all of it: preprocessing" in reason


def test_a_baseline_without_a_class_is_not_asked_about_it() -> None:
    made = predictions(
        LABELS,
        PREDICTED,
        baseline_classes=["pear", "apple"],
    )
    made.baseline = Outcome(np.eye(2, dtype=bool)[[1] * 120], scores(np.array([1] * 120), 2))
    verdict = gate(
        made,
        {"metric": "recall", "class_name": "*", "max_drop": 0.0},
        {"metric": "recall", "class_name": "plum", "max_drop": 0.0},
    )
    assert verdict.blessed, verdict.reasons
    assert verdict.remarks == [
        "the baseline has other classes (it doesn't know 'plum'): compared on the 100 images of "
        "the 2 classes that both know"
    ]
    compared = {c.class_name: c.baseline for c in verdict.checks if c.difference is not None}
    assert (compared["apple"], compared["pear"]) == (1.0, 0.0)


def test_an_unknown_class_is_named_with_those_that_are_there() -> None:
    with pytest.raises(DarkroomError, match=r"the classes are apple, pear, plum\. Did you mean"):
        gate(predictions(LABELS, PREDICTED), {"metric": "f1", "class_name": "aple", "min": 0.1})
