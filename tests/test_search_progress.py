import logging

import pytest

from darkroom.components.tuning import search_progress
from darkroom.components.tuning.search_progress import EndedTrial, SearchProgress


def ended(number: int, score: float | None) -> EndedTrial:
    return {
        "trial": str(number), "values": {"rate": 0.1}, "score": score, "seconds": 1.0,
        "status": "FAILED" if score is None else "COMPLETED", "message": None,
    }  # fmt: skip


def table(trials: list[EndedTrial], best: EndedTrial | None) -> SearchProgress:
    return {
        "names": ["rate"], "running": [], "ended": trials, "best": best, "objective": "val_loss",
        "maximize": False, "planned": None, "fraction": None, "elapsed": 3725.4, "remaining": None,
    }  # fmt: skip


def test_a_search_is_a_readable_line_and_its_table(caplog: pytest.LogCaptureFixture) -> None:
    shown = table([ended(7, 0.25)], ended(7, 0.25))
    with caplog.at_level(logging.INFO, "darkroom.progress"):
        search_progress.report("Tuner", shown)
    [record] = caplog.records
    assert record.getMessage() == "Tuner: 1 trial, best 0.2500 (trial 7), elapsed 1:02:05"
    assert record.trials == shown  # type: ignore[attr-defined]


def test_the_line_counts_what_failed_and_what_remains() -> None:
    shown: SearchProgress = {**table([ended(0, None), ended(1, None)], None), "planned": 5}
    assert search_progress.headline(shown) == "2 of 5 trials, 2 failed, elapsed 1:02:05"
    shown["remaining"] = 61.0
    assert search_progress.headline(shown).endswith(", remaining about 1:01")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0:00"), (59.6, "1:00"), (192, "3:12"), (3599.7, "1:00:00"), (90061, "25:01:01")],
)
def test_a_clock_shows_seconds(seconds: float, words: str) -> None:
    assert search_progress.clock(seconds) == words
