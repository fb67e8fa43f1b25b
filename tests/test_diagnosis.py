import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.components.training.diagnosis import diagnose, negative_transfer
from darkroom.components.training.model_run import Comparison
from tests.conftest import environment

# Trainings as they were, a metric's number for each epoch.
RECORDED = json.loads(Path(__file__).with_name("curves.json").read_text())

# What is right to say of each, where there is something; one of several.
RIGHT = {
    "digits, rate far too low": {"not falling"},
    "digits, rate far too high": {"at chance"},
    "digits, random labels": {"not carried over"},
    "digits, 40 % wrong labels": {"overfitting"},
    "digits, 40 % wrong labels, no dropout": {"overfitting"},
    "60 digits, dense": {"overfitting", "overconfident"},
    "digits, dense, decayed away": {"plateau"},
    "400 of CIFAR-10": {"overfitting"},
    "400 of CIFAR-10, dense": {"overfitting", "overconfident"},
}


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_training(name: str) -> None:
    curves, constant_accuracy = RECORDED[name]["history"], RECORDED[name]["constant_accuracy"]
    found = set(diagnose(curves, constant_accuracy))
    assert found <= RIGHT.get(name, set())
    assert bool(found) == (name in RIGHT)


@pytest.mark.parametrize("name", sorted(RECORDED.keys() - RIGHT.keys()))
def test_what_still_learns_is_not_told_to_stop(name: str) -> None:
    curves = RECORDED[name]["history"]
    for epochs in range(4, len(curves["loss"])):
        until = {metric: values[:epochs] for metric, values in curves.items()}
        found = set(diagnose(until, RECORDED[name]["constant_accuracy"]))
        assert not found & {"plateau", "not carried over", "overconfident"}, epochs


def test_an_accuracy_that_falls_is_overfitting_whatever_the_loss() -> None:
    accuracy = [*curve(0.3, 0.8, 6), *curve(0.8, 0.7, 6)]
    [sentence] = sentences(history(val_loss=[0.7] * 12, val_accuracy=accuracy), 0.1)
    assert "since epoch 8: the validation accuracy falls from 0.79 to 0.72" in sentence


def test_a_loss_that_went_up_and_came_back_is_no_plateau() -> None:
    losses = [*curve(1.0, 0.02, 12), 0.02, 0.06, 0.05, 0.04, 0.035, 0.03]
    assert diagnose(history(loss=losses, val_accuracy=[0.99] * 18), 0.1) == {}


def test_a_gain_in_validation_is_no_plateau() -> None:
    flat = history(loss=[*curve(2.0, 0.3, 8), *[0.3] * 8])
    assert diagnose({**flat, "val_accuracy": curve(0.92, 0.96, 16)}, 0.1) == {}
    assert "plateau" in diagnose({**flat, "val_accuracy": [0.92] * 16}, 0.1)


def curve(start: float, end: float, epochs: int) -> list[float]:
    return [start + (end - start) * epoch / (epochs - 1) for epoch in range(epochs)]


def history(**curves: list[float]) -> dict[str, list[float]]:
    return {"loss": curve(2.0, 0.2, 12), "accuracy": curve(0.3, 0.9, 12), **curves}


def sentences(curves: dict[str, list[float]], constant_accuracy: float) -> list[str]:
    return list(diagnose(curves, constant_accuracy).values())


def test_a_good_training_needs_no_words() -> None:
    assert diagnose(history(val_loss=curve(2.0, 0.3, 12)), 0.1) == {}
    assert diagnose({"loss": [2.0], "accuracy": [0.9]}, 0.1) == {}


def test_a_loss_that_is_no_number() -> None:
    [sentence] = sentences(history(loss=[2.0, 1.5, math.nan, math.nan]), 0.1)
    assert "no number any more in epoch 3" in sentence
    assert "training.learning_rate" in sentence


def test_at_chance() -> None:
    [sentence] = sentences(history(loss=curve(2.31, 2.30, 12), accuracy=[0.26] * 12), 0.25)
    assert "at chance (0.26; always the same answer gives 0.25)" in sentence


def test_what_a_constant_answer_leaves_is_what_counts() -> None:
    assert diagnose(history(accuracy=[0.985] * 12), 0.975) == {}  # of many classes that are rare
    [sentence] = sentences(history(accuracy=[0.975] * 12), 0.975)
    assert "at chance" in sentence


def test_a_loss_that_does_not_fall() -> None:
    [sentence] = sentences(history(loss=[0.5] * 12), 0.1)
    assert "doesn't fall (0.5 to 0.5)" in sentence


def test_overfitting_is_dated() -> None:
    validation = [*curve(2.0, 0.5, 7), *curve(0.6, 1.2, 5)]
    [sentence] = sentences(history(val_loss=validation), 0.1)
    assert "Overfitting since epoch 7: the validation loss rises from 0.5 to 1.2" in sentence
    assert "augmentation" in sentence


def test_a_plateau() -> None:
    [sentence] = sentences(history(loss=[*curve(2.0, 0.3, 8), *[0.3] * 8]), 0.1)
    assert "stood still at 0.3" in sentence


@given(
    st.lists(st.floats(allow_nan=True), min_size=1, max_size=30),
    st.lists(st.floats(allow_nan=True), max_size=30),
    st.floats(0, 1),
)
def test_any_curve_gets_sentences(
    losses: list[float], validation: list[float], share: float
) -> None:
    found = diagnose({"loss": losses, "val_loss": validation, "accuracy": [0.5]}, share)
    assert all(sentence.endswith(".") for sentence in found.values())
    assert len(found) <= 2


def test_noise_around_a_loss_of_almost_nothing_is_no_overfitting() -> None:
    assert diagnose(history(val_loss=[*curve(2.0, 0.015, 9), 0.03, 0.02, 0.03]), 0.1) == {}


@pytest.mark.parametrize(
    ("metric", "transferred", "scratch", "expected"),
    [
        ("val_accuracy", 0.55, 0.6, "the best val_accuracy is 0.5500 with model.weights, and 0.6"),
        ("val_loss", 2.0, 1.0, "the best val_loss is 2.0000 with model.weights, and 1.0000 from"),
        ("val_accuracy", 0.6, 0.55, None),
        ("val_loss", 1.0, 1.0, None),
    ],
)
def test_negative_transfer(
    metric: str, transferred: float, scratch: float, expected: str | None
) -> None:
    compared = Comparison(epochs=2, metric=metric, transferred=transferred, scratch=scratch)
    words = negative_transfer(compared)
    assert len(words) == (expected is not None)
    assert all(w.startswith("Negative transfer: after 2 epochs ") for w in words)
    assert expected is None or expected in words[0]
    assert negative_transfer(None) == []


def test_what_trains_doesn_t_import_the_words() -> None:
    """Or another sentence would be other code, and train again."""
    code = (
        "import sys\n"
        "from darkroom.components.training import trainer\n"
        "names = 'diagnosis', 'contact_sheet', 'outcome'\n"
        "print([n for n in names if f'darkroom.components.training.{n}' in sys.modules])"
    )
    done = subprocess.check_output([sys.executable, "-c", code], env=environment(), text=True)
    assert done.splitlines()[-1] == "[]"
