import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from darkroom.components.evaluation import metric_names, metrics
from darkroom.components.evaluation.artifacts import Bin
from darkroom.components.evaluation.metrics import OF_CLASSES, OVERALL, Numbers, Outcome


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    return np.eye(classes, dtype=bool)[labels]


@st.composite
def answers(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Labels [examples] and scores [examples, classes], some equal; each class has examples."""
    classes = draw(st.integers(2, 6))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    labels = np.concatenate([np.arange(classes), generator.integers(0, classes, 60)])
    logits = generator.normal(size=(len(labels), classes)) * draw(st.sampled_from([0.1, 1, 5]))
    logits[np.arange(len(labels)), labels] += draw(st.floats(-1, 3))
    if draw(st.booleans()):
        logits = np.round(logits)
    scores = np.exp(logits)
    scores /= scores.sum(axis=1, keepdims=True)
    # As models give them: what is equal but for rounding is equal.
    return labels, scores.astype("float32").astype(float)


@settings(max_examples=50)  # each draws every class, ties and all
@given(answers())
def test_the_metrics_are_scikit_learns(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    labels, scores = drawn
    classes = scores.shape[1]
    outcome = Outcome(one_hot(labels, classes), scores)
    predicted = scores.argmax(axis=1)
    expected = {
        "accuracy": sklearn.accuracy_score(labels, predicted),
        "loss": sklearn.log_loss(labels, scores, labels=range(classes)),
    }
    if classes > 2:
        expected["auc"] = sklearn.roc_auc_score(labels, scores, multi_class="ovr")
    else:
        expected["auc"] = sklearn.roc_auc_score(labels, scores[:, 1])
    for number in (3, 5):
        if classes > number:
            top = sklearn.top_k_accuracy_score(labels, scores, k=number, labels=range(classes))
            expected[f"top_{number}_accuracy"] = top
    for kind in ("macro", "weighted", "micro"):
        found = sklearn.precision_recall_fscore_support(
            labels, predicted, average=kind, zero_division=0
        )
        for name, value in zip(("precision", "recall", "f1"), found, strict=False):
            expected[f"{kind}_{name}"] = value
    tied = any(len(set(row)) < classes for row in scores)
    for name, value in expected.items():
        if tied and name.startswith("top"):
            continue  # which of equal scores is the better one is a matter of taste
        assert metrics.value(OVERALL[name], outcome) == pytest.approx(value, abs=1e-6), name
    of_classes = sklearn.precision_recall_fscore_support(labels, predicted, zero_division=0)
    for name, values in zip(("precision", "recall", "f1"), of_classes, strict=False):
        assert metrics.value(OF_CLASSES[name], outcome) == pytest.approx(values, abs=1e-6), name


@settings(max_examples=50)  # each draws every class, ties and all
@given(answers())
def test_those_of_several_labels_are_scikit_learns_too(
    drawn: tuple[np.ndarray, np.ndarray],
) -> None:
    labels, scores = drawn
    classes = scores.shape[1]
    truth = one_hot(labels, classes) | (np.roll(scores, 1, axis=1) > 0.6)
    outcome = Outcome(truth, scores, multi_label=True)
    predicted = scores > 0.5
    assert metrics.value(OVERALL["accuracy"], outcome) == pytest.approx((truth == predicted).mean())
    losses = [sklearn.log_loss(t, s, labels=[0, 1]) for t, s in zip(truth, scores, strict=True)]
    assert metrics.value(OVERALL["loss"], outcome) == pytest.approx(np.mean(losses), abs=1e-6)
    for kind in ("macro", "weighted", "micro"):
        found = sklearn.precision_recall_fscore_support(
            truth, predicted, average=kind, zero_division=0
        )
        for name, value in zip(("precision", "recall", "f1"), found, strict=False):
            measured = metrics.value(OVERALL[f"{kind}_{name}"], outcome)
            assert measured == pytest.approx(value, abs=1e-6), (kind, name)


def test_what_has_no_examples_is_not_a_number() -> None:
    nothing = Outcome(np.zeros((0, 3), bool), np.zeros((0, 3)))
    for name in metric_names.meaningful(3, multi_label=False):
        assert math.isnan(metrics.value(OVERALL[name], nothing)), name
    without_third = Outcome(one_hot(np.array([0, 1]), 3), np.eye(3)[:2])
    assert np.isnan(metrics.value(OF_CLASSES["recall"], without_third)).tolist() == [
        False,
        False,
        True,
    ]


def test_scores_that_are_no_numbers_are_wrong_answers() -> None:
    scores = np.array([[0.9, 0.1], [np.nan, np.nan]])
    outcome = Outcome(one_hot(np.array([0, 0]), 2), scores)
    assert metrics.value(OVERALL["accuracy"], outcome) == 0.5
    assert math.isnan(metrics.value(OVERALL["loss"], outcome))
    assert math.isnan(metrics.value(OVERALL["auc"], outcome))


def test_a_perfectly_calibrated_model_has_no_error() -> None:
    scores = np.array([[0.75, 0.25]] * 4)
    outcome = Outcome(one_hot(np.array([0, 0, 0, 1]), 2), scores)
    assert metrics.value(OVERALL["calibration_error"], outcome) == pytest.approx(0)
    sure = Outcome(outcome.truth, np.array([[1.0, 0.0]] * 4))
    assert metrics.value(OVERALL["calibration_error"], sure) == pytest.approx(0.25)
    [only] = metrics.calibration(sure)
    assert only == Bin(low=0.9, high=1.0, examples=4, score=1.0, correct=0.75)


def test_an_interval_is_as_wide_as_theory_says() -> None:
    right = np.arange(1000) % 10 > 0
    outcome = Outcome(one_hot(np.zeros(1000, int), 2), np.stack([right, ~right], axis=1) * 1.0)
    [drawn] = metrics.replicates(OVERALL["accuracy"], [outcome], 400)
    low, high = metrics.interval(drawn, 0.95)
    half = 1.96 * math.sqrt(0.9 * 0.1 / 1000)  # of a share, by the normal approximation
    assert low < 0.9 < high
    assert high - low == pytest.approx(2 * half, rel=0.2)


def test_models_are_compared_on_the_same_draws() -> None:
    generator = np.random.default_rng(0)
    outcome = Outcome(one_hot(generator.integers(0, 2, 200), 2), generator.random((200, 2)))
    one, other = metrics.replicates(OVERALL["loss"], [outcome, outcome], 50)
    assert (one == other).all()
    assert len(set(one)) > 40


def test_the_number_of_classes_decides_what_is_said() -> None:
    assert "top_3_accuracy" not in metric_names.meaningful(3, multi_label=False)
    assert "top_3_accuracy" in metric_names.meaningful(4, multi_label=False)
    assert "micro_f1" not in metric_names.meaningful(4, multi_label=False)
    assert "micro_f1" in metric_names.meaningful(4, multi_label=True)


def test_each_name_has_its_metric() -> None:
    assert tuple(OVERALL) == (*metric_names.OVERALL, *metric_names.OF_NUMBERS)
    assert tuple(OF_CLASSES) == (*metric_names.OF_CLASSES, *metric_names.OF_NUMBERS)


@settings(max_examples=50)
@given(st.integers(2, 60), st.integers(1, 3), st.floats(-1e4, 1e4), st.integers(0, 2**32 - 1))
def test_the_metrics_of_numbers_are_scikit_learns(
    examples: int, outputs: int, middle: float, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    truth = middle + generator.standard_t(2, (examples, outputs))
    said = truth + generator.normal(size=truth.shape)
    outcome = Numbers(truth, said, said - 1, said + 1)
    of_each = {
        "mae": sklearn.mean_absolute_error(truth, said, multioutput="raw_values"),
        "rmse": sklearn.root_mean_squared_error(truth, said, multioutput="raw_values"),
        "r2": sklearn.r2_score(truth, said, multioutput="raw_values"),
        "coverage": (np.abs(truth - said) <= 1).mean(axis=0),
    }
    assert of_each.keys() == set(metric_names.OF_NUMBERS)
    for name, expected in of_each.items():
        np.testing.assert_allclose(metrics.value(OF_CLASSES[name], outcome), expected, rtol=1e-6)
        whole = metrics.value(OVERALL[name], outcome)
        np.testing.assert_allclose(whole, expected.mean(), rtol=1e-6, atol=1e-9)
    # An example that weighs two is there twice.
    weights = generator.integers(0, 3, examples)
    twice = outcome.part(np.repeat(np.arange(examples), weights))
    if weights.sum() > 1 and np.ptp(twice.truth, axis=0).all():
        [weighed] = OVERALL["r2"](outcome, weights[np.newaxis].astype(float))
        np.testing.assert_allclose(weighed, metrics.value(OVERALL["r2"], twice), rtol=1e-5)


def test_a_constant_number_has_no_r2() -> None:
    same = np.ones((5, 1))
    assert math.isnan(metrics.value(OVERALL["r2"], Numbers(same, same, same, same)))
