import pytest

from darkroom.components.tuning import trial_table
from tests.test_search_progress import ended, table


def test_a_row_is_told_apart_from_its_hyperparameters() -> None:
    row = {"trial_id": "1", "score": 0.5, "seed": 0, "history": [], "model.units": 8, "off": False,
           "tuner/epochs": 3, "model.filters": None}  # fmt: skip
    assert trial_table.hyperparameters(row) == {"model.units": 8, "off": False}


@pytest.mark.parametrize(("score", "expected"), [(0.5, False), (None, True), (float("nan"), True)])
def test_a_row_without_a_score_failed(score: float | None, expected: bool) -> None:
    assert trial_table.failed({"score": score}) is expected


def test_a_trial_ends_in_a_line() -> None:
    shown = table([], ended(7, 0.25))
    expected = "trial 8  0.5000  1.0 s  rate=0.1  (best 0.2500)"
    assert trial_table.ending(ended(8, 0.5), shown) == expected
    failed = {**ended(9, None), "message": "No\nlayer."}
    assert trial_table.ending(failed, shown) == "trial 9  failed  1.0 s  rate=0.1  No layer."


def test_the_best_come_first() -> None:
    trials = [ended(0, 0.5), ended(1, None), ended(2, 0.25)]
    best = [trial["trial"] for trial in trial_table.best_first(table(trials, None))]
    assert best == ["2", "0"]
