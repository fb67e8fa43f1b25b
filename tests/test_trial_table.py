import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.components.tuning import trial_table

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


def test_a_row_is_told_apart_from_its_hyperparameters() -> None:
    row = {"trial_id": "1", "score": 0.5, "seed": 0, "history": [], "model.units": 8, "off": False,
           "tuner/epochs": 3, "model.filters": None}  # fmt: skip
    assert trial_table.hyperparameters(row) == {"model.units": 8, "off": False}


@pytest.mark.parametrize(
    ("row", "expected"),
    [({"score": 0.5}, False), ({"score": None}, True), ({"score": float("nan")}, True),
     ({"score": 0.5, "status": "FAILED"}, True), ({"score": 0.5, "status": "COMPLETED"}, False)],
)  # fmt: skip
def test_a_trial_without_a_score_failed(row: dict, expected: bool) -> None:
    assert trial_table.failed(row) is expected


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0:00"), (59.6, "1:00"), (192, "3:12"), (3599.7, "1:00:00"), (90061, "25:01:01")],
)
def test_a_clock_shows_seconds(seconds: float, words: str) -> None:
    assert trial_table.clock(seconds) == words


def test_a_search_is_a_readable_line() -> None:
    table = {
        "names": ["rate"], "running": [], "objective": "val_loss", "planned": None,
        "ended": [{"trial": "7", "values": {"rate": 0.1}, "score": 0.25, "seconds": 1.0,
                   "status": "COMPLETED", "message": None}],
        "best": {"trial": "7", "score": 0.25, "values": {"rate": 0.1}},
        "elapsed": 3725.4, "remaining": None,
    }  # fmt: skip
    words = "1 trial, best 0.2500 (trial 7), elapsed 1:02:05"
    assert trial_table.headline(table) == words
