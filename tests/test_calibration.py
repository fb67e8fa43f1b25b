import math

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special
from sklearn import metrics

from darkroom.components.networks import export
from darkroom.components.training import calibration
from tests.arrays import of_arrays
from tests.test_fitting import settings_of

COUNT, CLASSES = 20_000, 5


def drawn(temperature: float, multi_label: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are overconfident by a factor, and labels as likely as they should say."""
    generator = np.random.default_rng(0)
    honest = generator.normal(0, 2, (COUNT, CLASSES))
    if multi_label:
        labels = (generator.random(honest.shape) < special.expit(honest)).astype(np.float32)
    else:
        below = special.softmax(honest, axis=1).cumsum(axis=1)
        labels = (generator.random((COUNT, 1)) > below).sum(axis=1)
    return honest * temperature, labels


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("true", [0.4, 1.0, 3.0])
def test_the_temperature_is_found(true: float, multi_label: bool) -> None:
    found = calibration.fitted(*drawn(true, multi_label))
    assert found == pytest.approx(true, rel=0.03)


def test_no_other_temperature_has_a_lower_log_loss() -> None:
    logits, labels = drawn(2.0)

    def loss(temperature: float) -> float:
        scores = special.softmax(logits / temperature, axis=1)
        return float(metrics.log_loss(labels, scores))

    best = calibration.fitted(logits, labels)
    assert loss(best) < min(loss(best * 0.98), loss(best * 1.02), loss(1.0))


@given(st.integers(0, 30), st.integers(0, 2**32 - 1))
def test_a_few_images_say_little(count: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 5, (count, 3))
    right = calibration.fitted(logits, logits.argmax(axis=1))  # perfect, as far as one can tell
    assert 0.1 < right <= 1.001
    wrong = calibration.fitted(logits, logits.argmin(axis=1))
    assert 0.999 <= wrong < 21


def test_logits_that_are_no_numbers_are_left_out() -> None:
    logits, labels = drawn(2.0)
    spoilt = np.vstack([logits, np.full((3, CLASSES), np.nan)])
    more = np.concatenate([labels, [0, 1, 2]])
    assert calibration.fitted(spoilt, more) == calibration.fitted(logits, labels)


@pytest.mark.parametrize("activation", [None, "softmax"])
def test_the_temperature_of_a_network(activation: str | None) -> None:
    settings = settings_of()
    logits, labels = drawn(2.0)
    network = keras.Sequential([keras.Input((CLASSES,)), keras.layers.Activation(activation)])
    examples = of_arrays(logits.astype("float32"), labels)
    first = np.linspace(0, COUNT - 1, 5_000).astype(int)  # as many as it takes
    expected = calibration.fitted(logits[first], labels[first])
    assert calibration.temperature(network, examples, settings) == pytest.approx(expected, rel=1e-3)
    off = settings.with_values({"training.calibration": "none"})
    assert calibration.temperature(network, examples, off) == 1.0
    assert calibration.images(off.training, COUNT) == 0
    assert export.gives_scores(network, "softmax") == (activation == "softmax")


@pytest.mark.parametrize("seed", range(5))
def test_intervals_hold_for_the_share_that_is_asked_for_whatever_the_tails(seed: int) -> None:
    errors = np.random.default_rng(seed).standard_t(1.5, (30_000, 2)) * [1.0, 100.0]
    known, others = np.abs(errors[:5_000]), np.abs(errors[5_000:])
    share = (others <= calibration.held(known, 0.9)).mean(axis=0)
    assert (share > 0.88).all()
    assert (share < 0.92).all()


@given(st.integers(1, 30), st.floats(0.05, 0.95))
def test_of_a_few_errors_the_interval_is_one_of_them(count: int, share: float) -> None:
    errors = np.random.default_rng(count).permutation(np.arange(1.0, count + 1))[:, np.newaxis]
    [radius] = calibration.held(errors, share)
    assert radius == min(math.ceil((count + 1) * share), count)
