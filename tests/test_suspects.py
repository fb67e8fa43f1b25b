import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from darkroom.pipeline.review import suspects


@pytest.fixture(scope="module")
def flipped() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points and labels of the digits, and which 3 % of the labels are wrong."""
    digits = load_digits()
    points = digits.data - digits.data.mean(axis=0)
    points = (points / np.sqrt(points.var(axis=0).sum())).astype(np.float32)
    generator = np.random.default_rng(0)
    wrong = generator.permutation(len(points))[:54]
    labels = digits.target.copy()
    labels[wrong] = (labels[wrong] + generator.integers(1, 10, 54)) % 10
    return points, labels, wrong


def test_flipped_labels_are_the_worst(
    flipped: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    points, labels, wrong = flipped
    scores = suspects.scores(points, labels)
    assert scores.shape == (1797, 10)
    assert np.allclose(scores.sum(axis=1), 1, atol=1e-3)
    suspect, fitting = suspects.judge(scores, labels)
    worst = np.argsort(scores[np.arange(1797), labels])[:54]
    assert np.isin(worst, wrong).sum() >= 50
    assert suspect[wrong].sum() >= 50
    assert suspect.sum() < 65
    assert (fitting[wrong] == load_digits().target[wrong]).sum() >= 50
    assert (fitting != labels).all()


def test_nobody_judges_what_it_has_learnt() -> None:
    """Labels without any reason can't be told better than by chance."""
    generator = np.random.default_rng(0)
    points = generator.normal(size=(600, 8)).astype(np.float32)
    labels = generator.integers(0, 3, 600)
    accuracy = (suspects.scores(points, labels).argmax(axis=1) == labels).mean()
    assert 0.25 < accuracy < 0.42


@given(st.integers(2, 6), st.integers(5, 9), st.integers(0, 99))
def test_small_sets_have_scores(classes: int, of_each: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), of_each)
    points = generator.normal(size=(len(labels), 4)).astype(np.float32)
    scores = suspects.scores(points, labels)
    assert np.isfinite(scores).all()
    suspect, fitting = suspects.judge(scores, labels)
    better = scores[np.arange(len(labels)), fitting] > scores[np.arange(len(labels)), labels]
    assert better[suspect].all()
