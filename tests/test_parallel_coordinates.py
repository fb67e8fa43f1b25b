from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from darkroom.components.tuning import parallel_coordinates
from darkroom.components.tuning.tuner_results import TrialRow
from tests.test_importance import FLIP, RATE, searched


def rows(values: list[dict], scores: list[float | None]) -> list[TrialRow]:
    """As in tuner_results.json."""
    return [
        TrialRow(str(i), score, of_trial, "FAILED" if score is None else "COMPLETED")
        for i, (of_trial, score) in enumerate(zip(values, scores, strict=True))
    ]


def drawn(path: Path, *args: object) -> np.ndarray:
    parallel_coordinates.draw(*args, str(path))  # type: ignore[arg-type]
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        pixels = np.asarray(picture.convert("RGB"))
    height, width, _ = pixels.shape
    assert 400 < height < 2500
    assert 800 <= width < 4000
    assert pixels.std() > 10
    return pixels


@pytest.mark.parametrize(
    ("count", "more", "failed"), [(1, 0, 0), (1, 0, 1), (5, 0, 5), (200, 16, 20), (12, 1, 3)]
)
def test_any_search_has_a_picture(tmp_path: Path, count: int, more: int, failed: int) -> None:
    values = searched(count)
    for i, of_trial in enumerate(values):
        of_trial.update({f"own.quite_long_section.number_{n}": i * n % 7 for n in range(more)})
        if i % 2:
            del of_trial[FLIP]
    scores = [None if i >= count - failed else v[RATE] for i, v in enumerate(values)]
    drawn(tmp_path / "a.png", rows(values, scores), "val_accuracy", True, {RATE})


def test_odd_values_have_a_picture(tmp_path: Path) -> None:
    values = [
        {"x" * 90: 0.0, "dollars_$": "$a_", "same": 1, "mixed": "auto"},
        {"x" * 90: 1e-30, "dollars_$": "b" * 60, "same": 1, "mixed": 3},
        {"x" * 90: 1e30, "dollars_$": "", "same": 1, "mixed": True},
    ]
    odd = rows(values, [1e9, 0.1, float("nan")])
    drawn(tmp_path / "a.png", odd, "val_loss", False, {"x" * 90})


TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
NUMBERS = st.booleans() | st.integers(-(10**12), 10**12) | st.floats(-1e100, 1e100)
ODD = st.dictionaries(TEXT, NUMBERS | TEXT, max_size=4)
SCORES = st.none() | st.floats(-1e100, 1e100) | st.sampled_from([np.nan, np.inf, -np.inf])


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(ODD, SCORES), max_size=6), st.booleans())
def test_whatever_was_searched_is_drawn(found: list, maximize: bool) -> None:
    names = {name for values, _ in found for name in values}
    with TemporaryDirectory() as folder:
        path = str(Path(folder, "a.png"))
        searched_rows = rows([v for v, _ in found], [s for _, s in found])
        parallel_coordinates.draw(searched_rows, "val_loss", maximize, names, path)
        with Image.open(path) as picture:
            picture.load()


def test_far_scores_are_at_the_end_of_their_axis(tmp_path: Path) -> None:
    """One that diverged would press all others together."""
    values = searched(8)
    far, farther = (
        drawn(tmp_path / "a.png", rows(values, scores), "val_loss", False, {RATE})
        for scores in ([*range(7), 1e3], [*range(7), 1e9])
    )
    assert np.array_equal(far, farther)


def test_equal_scores_have_a_picture(tmp_path: Path) -> None:
    drawn(tmp_path / "a.png", rows(searched(3), [0.5] * 3), "val_accuracy", True, set())


def test_a_picture_is_the_same_each_time_and_shows_the_scores(tmp_path: Path) -> None:
    values = searched(8)

    def of(scores: list[float | None], maximize: bool = True) -> np.ndarray:
        return drawn(tmp_path / "a.png", rows(values, scores), "score", maximize, {RATE})

    scores: list[float | None] = [float(i) for i in range(8)]
    assert np.array_equal(of(scores), of(scores))
    assert not np.array_equal(of(scores), of(scores, maximize=False))
    assert not np.array_equal(of(scores), of([None, *scores[1:]]))
