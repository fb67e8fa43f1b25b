import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.components.tuning import trial_table
from darkroom.components.tuning.trial_table import SearchProgress
from darkroom.components.tuning.tuner_results import TrialRow
from tests.conftest import environment

KEYS = st.lists(
    st.lists(st.sampled_from(["model", "units", "rate", "0", "1"]), min_size=1, max_size=4).map(
        ".".join
    ),
    unique=True,
    max_size=6,
)


@given(KEYS)
def test_short_names_end_their_keys_and_are_unique(keys: list[str]) -> None:
    names = trial_table.short_names(keys)
    assert list(names) == keys
    assert len(set(names.values())) == len(keys)
    assert all(key == name or key.endswith(f".{name}") for key, name in names.items())


def test_short_names_say_what_a_number_counts() -> None:
    keys = ["training.learning_rate", "model.units.0", "model.units.1", "a.size", "b.size", "own"]
    assert list(trial_table.short_names(keys).values()) == [
        "learning_rate", "units.0", "units.1", "a.size", "b.size", "own",
    ]  # fmt: skip


def ended(number: int, score: float | None) -> TrialRow:
    status = "FAILED" if score is None else "COMPLETED"
    return TrialRow(str(number), score, {"rate": 0.1}, status, seconds=1.0)


def table(trials: list[TrialRow], best: TrialRow | None) -> SearchProgress:
    return {
        "names": ["rate"], "running": [], "ended": trials, "best": best, "objective": "val_loss",
        "maximize": False, "planned": None, "fraction": None, "elapsed": 3725.4, "remaining": None,
    }  # fmt: skip


def test_a_search_is_a_readable_line() -> None:
    words = trial_table.headline(table([ended(7, 0.25)], ended(7, 0.25)))
    assert words == "1 trial, best 0.2500 (trial 7), elapsed 1:02:05"


def test_the_line_counts_what_failed_and_what_remains() -> None:
    shown: SearchProgress = {**table([ended(0, None), ended(1, None)], None), "planned": 5}
    assert trial_table.headline(shown) == "2 of 5 trials, 2 failed, elapsed 1:02:05"
    shown["remaining"] = 61.0
    assert trial_table.headline(shown).endswith(", remaining about 1:01")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0:00"), (59.6, "1:00"), (192, "3:12"), (3599.7, "1:00:00"), (90061, "25:01:01")],
)
def test_a_clock_shows_seconds(seconds: float, words: str) -> None:
    assert trial_table.clock(seconds) == words


def test_a_row_is_told_apart_from_its_hyperparameters() -> None:
    row = {"trial_id": "1", "score": 0.5, "seed": 0, "history": [], "model.units": 8, "off": False,
           "tuner/epochs": 3, "model.filters": None}  # fmt: skip
    assert TrialRow.of(row).hyperparameters == {"model.units": 8, "off": False}


def test_a_trial_ends_in_a_line() -> None:
    shown = table([], ended(7, 0.25))
    expected = "trial 8  0.5000  1.0 s  rate=0.1  (best 0.2500)"
    assert trial_table.ending(ended(8, 0.5), shown) == expected
    rung = ended(8, 0.5)._replace(initial_epoch=3, epochs=8)
    assert "1.0 s  epochs 4 to 8  rate=0.1" in trial_table.ending(rung, shown)
    failed = ended(9, None)._replace(message="No\nlayer.")
    assert trial_table.ending(failed, shown) == "trial 9  failed  1.0 s  rate=0.1  No layer."


def test_the_best_come_first() -> None:
    trials = [ended(0, 0.5), ended(1, None), ended(2, 0.25)]
    best = [row.number for row in trial_table.best_first(trials, maximize=False)]
    assert best == ["2", "0"]


def test_what_only_shows_is_no_code_of_the_search() -> None:
    names = ("trial_table", "live_table", "parallel_coordinates", "importance")
    shows = {f"darkroom.components.tuning.{name}" for name in names}
    code = f"import sys, darkroom.components.tuning.tuner; print({shows} & set(sys.modules))"
    done = subprocess.check_output([sys.executable, "-c", code], env=environment(), text=True)
    assert done == "set()\n"
