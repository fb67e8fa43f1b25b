"""Losses by key, against Keras's own of the same labels and logits, and against formulas."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import special

from darkroom.components.base.errors import DarkroomError
from darkroom.components.base.sections.training import LOSSES
from darkroom.components.base.settings import NetworkSettings
from darkroom.components.networks import losses
from tests.settings import configured

GENERATOR = np.random.default_rng(0)
LOGITS = GENERATOR.normal(0, 2, (20, 5)).astype("float32")
LABELS = GENERATOR.integers(0, 5, 20)
ONES = np.eye(5, dtype="float32")[LABELS]
ANSWERS = GENERATOR.integers(0, 2, (20, 5)).astype("float32")
WEIGHTS = GENERATOR.uniform(size=20).astype("float32")
SCORES, OF_ANSWERS = special.softmax(LOGITS, axis=1), special.expit(LOGITS)


def of(name: str, head: str = "softmax", *overrides: str) -> Callable[..., tf.Tensor]:
    of_head = {"binary": "model.head=binary", "multi-label": "data.multi_label=true"}
    heads = [of_head[head]] if head in of_head else []
    section = configured(NetworkSettings, f"training.loss={name}", *heads, *overrides).training
    return losses.of(section, head)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_label_smoothing_is_kerass(smoothing: float) -> None:
    keras_own = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    found = of("crossentropy", "softmax", f"training.label_smoothing={smoothing}")(LABELS, LOGITS)
    np.testing.assert_allclose(found, keras_own(ONES, LOGITS), rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_of_yes_and_no_is_kerass(smoothing: float) -> None:
    of_keras = keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=smoothing)
    mine = of("crossentropy", "multi-label", f"training.label_smoothing={smoothing}")
    np.testing.assert_allclose(mine(ANSWERS, LOGITS), of_keras(ANSWERS, LOGITS), rtol=1e-5)
    one, logit = ANSWERS[:, 0].astype("int64"), LOGITS[:, :1]
    np.testing.assert_allclose(mine(one, logit), of_keras(one, logit), rtol=1e-5)
    found, expected = mine(one, logit, WEIGHTS), of_keras(one, logit, WEIGHTS)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_focal_is_kerass(gamma: float, smoothing: float) -> None:
    set_to = f"training.focal_gamma={gamma}", f"training.label_smoothing={smoothing}"
    options = {"gamma": gamma, "from_logits": True, "label_smoothing": smoothing}
    expected = keras.losses.CategoricalFocalCrossentropy(alpha=1.0, **options)(ONES, LOGITS)
    np.testing.assert_allclose(of("focal", "softmax", *set_to)(LABELS, LOGITS), expected, rtol=1e-4)
    found = of("focal", "multi-label", *set_to)(ANSWERS, LOGITS)
    if not smoothing:  # Keras's of smoothed answers mixes the scores instead of the losses
        expected = keras.losses.BinaryFocalCrossentropy(**options)(ANSWERS, LOGITS)
        np.testing.assert_allclose(found, expected, rtol=1e-4)
    yes = ANSWERS * (1 - smoothing) + smoothing / 2
    log_yes, log_no = special.log_expit(LOGITS), special.log_expit(-LOGITS)
    of_each = -yes * (1 - OF_ANSWERS) ** gamma * log_yes - (1 - yes) * OF_ANSWERS**gamma * log_no
    np.testing.assert_allclose(found, of_each.mean(), rtol=1e-4)


def test_hinge_is_of_the_best_other_class_or_of_each_answer() -> None:
    right = LOGITS[np.arange(20), LABELS]
    others = np.where(ONES == 1, -np.inf, LOGITS).max(axis=1)
    expected = np.maximum(0, 1 + others - right)
    loss = of("hinge")
    # Keras's compares with 0 as well, where all other logits are below.
    expected = np.maximum(0, 1 + np.maximum(others, 0) - right)
    np.testing.assert_allclose(loss(LABELS, LOGITS), expected.mean(), rtol=1e-5)
    signs = 2 * ANSWERS - 1
    found = of("hinge", "multi-label")(ANSWERS, LOGITS)
    np.testing.assert_allclose(found, np.maximum(0, 1 - signs * LOGITS).mean(), rtol=1e-5)
    np.testing.assert_allclose(
        of("hinge", "binary")(ANSWERS[:, 0].astype("int64"), LOGITS[:, :1]),
        np.maximum(0, 1 - signs[:, 0] * LOGITS[:, 0]).mean(),
        rtol=1e-5,
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("CategoricalCrossentropy", -np.log(SCORES[np.arange(20), LABELS]).mean()),
        ("MeanSquaredError", ((SCORES - ONES) ** 2).mean()),
        ("MeanAbsoluteError", np.abs(SCORES - ONES).mean()),
        ("KLDivergence", -np.log(SCORES[np.arange(20), LABELS]).mean()),
        ("CosineSimilarity", -(ONES * SCORES).sum(1) @ (1 / np.linalg.norm(SCORES, axis=1)) / 20),
    ],
)  # fmt: skip
def test_kerass_of_one_class_by_name(name: str, expected: float) -> None:
    np.testing.assert_allclose(of(name)(LABELS, LOGITS), expected, rtol=1e-4)
    np.testing.assert_allclose(of(name)(ONES, LOGITS), expected, rtol=1e-4)  # as mixed images have


@pytest.mark.parametrize(
    ("name", "of_each"),
    [
        ("BinaryCrossentropy", -np.log(np.where(ANSWERS == 1, OF_ANSWERS, 1 - OF_ANSWERS))),
        ("MeanSquaredError", (OF_ANSWERS - ANSWERS) ** 2),
        ("SquaredHinge", np.maximum(0, 1 - (2 * ANSWERS - 1) * LOGITS) ** 2),
    ],
)
def test_kerass_of_answers_by_name(name: str, of_each: np.ndarray) -> None:
    loss = of(name, "multi-label")
    np.testing.assert_allclose(loss(ANSWERS, LOGITS), of_each.mean(), rtol=1e-4)
    weights = GENERATOR.uniform(size=ANSWERS.shape).astype("float32")  # of each answer
    found = loss(ANSWERS, LOGITS, weights)
    np.testing.assert_allclose(found, (of_each * weights).mean(), rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "head"),
    [(name, "softmax") for name, heads in LOSSES.items() if "softmax" in heads]
    + [(name, "binary") for name, heads in LOSSES.items() if "binary" in heads],
)
def test_what_is_right_has_the_least_loss(name: str, head: str) -> None:
    loss = of(name, head)
    labels, sure = (LABELS, 20 * ONES) if head == "softmax" else (LABELS % 2, 40.0 * (ONES - 0.5))
    if head == "binary":
        sure = (40.0 * (LABELS % 2) - 20.0)[:, None].astype("float32")
    assert float(loss(labels, sure)) < float(loss(labels, -sure))


def test_a_loss_is_saved_by_what_it_was_made_of() -> None:
    for name, head in [("focal", "binary"), ("hinge", "softmax"), ("Huber", "multi-label")]:
        loss = of(name, head)
        again = type(loss).from_config(loss.get_config())
        labels = LABELS if head == "softmax" else ANSWERS
        np.testing.assert_array_equal(again(labels, LOGITS), loss(labels, LOGITS))


@pytest.mark.parametrize(
    ("name", "head", "words"),
    [
        ("tests.users_code.no_such", "softmax", "has no function or class 'no_such'"),
        ("tests.test_losses.of_nothing", "softmax", "expected finite numbers .*received None"),
    ],
)
def test_a_loss_that_does_not_fit_is_a_sentence(name: str, head: str, words: str) -> None:
    with pytest.raises(DarkroomError, match=f"^training.loss: .*{words}"):
        of(name, head)


def test_a_loss_of_another_head_is_refused_in_a_trial_too() -> None:
    section = configured(NetworkSettings, "training.loss=KLDivergence").training
    with pytest.raises(DarkroomError, match=r"KLDivergence is for model\.head softmax"):
        losses.of(section, "binary")


def of_nothing(y_true: tf.Tensor, y_pred: tf.Tensor) -> None:
    return None


class Squared(keras.losses.Loss):
    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return keras.ops.mean((keras.ops.one_hot(y_true, y_pred.shape[-1]) - y_pred) ** 2, axis=-1)


def test_a_users_own_is_taken_as_it_is() -> None:
    found = of("tests.test_losses.Squared")(LABELS, LOGITS)
    np.testing.assert_allclose(found, ((ONES - LOGITS) ** 2).mean(), rtol=1e-5)


def test_numbers_have_keras_losses_as_they_are() -> None:
    truth, said = np.array([[0.0, 3.0], [1.0, 1.0]]), np.array([[1.0, 0.0], [1.0, 2.0]])
    expected = {
        "MeanSquaredError": 11 / 4,
        "MeanAbsoluteError": 5 / 4,
        "Huber": (0.5 + 2.5 + 0.5) / 4,
        None: 11 / 4,
    }
    usual = ("tuner.enabled=false", "evaluation.min_accuracy=0.8")
    numbers = "data={bundled: digits, target: number, target_keys: [x]}"
    for name, value in expected.items():
        said_so = () if name is None else (f"training.loss={name}",)
        training = configured(NetworkSettings, *usual, numbers, *said_so).training
        found = losses.of(training, "regression")
        np.testing.assert_allclose(found(truth, said), value, rtol=1e-6)
