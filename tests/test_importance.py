import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkroom.components.tuning import importance

RATE, UNITS, FLIP, KIND = "training.learning_rate", "model.units.0", "flip", "model.activation"


def searched(count: int = 40, seed: int = 0) -> list[dict]:
    """Values of random trials."""
    random = np.random.default_rng(seed)
    return [
        {
            RATE: float(10 ** random.uniform(-5, -1)),
            UNITS: int(random.integers(8, 256)),
            FLIP: bool(random.random() < 0.5),
            KIND: str(random.choice(["relu", "tanh", "gelu"])),
        }
        for _ in range(count)
    ]


@pytest.mark.parametrize(
    ("name", "score"),
    [(RATE, lambda v: -abs(np.log10(v[RATE]) + 3)), (UNITS, lambda v: 1.0 / v[UNITS]),
     (FLIP, lambda v: float(v[FLIP])), (KIND, lambda v: 0.9 - 0.1 * (v[KIND] == "relu"))],
)  # fmt: skip
def test_what_the_score_depends_on_gets_the_largest_share(name: str, score: object) -> None:
    values = searched()
    found = importance.importances(values, [score(v) for v in values], {RATE})  # type: ignore
    assert next(iter(found)) == name
    assert found[name] > 0.8
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_a_choice_of_many_counts_as_one() -> None:
    """Were its one-hot columns shuffled one by one, each would hardly matter."""
    random = np.random.default_rng(1)
    values = [{"kind": f"k{i % 10}", "rate": float(random.random())} for i in range(80)]
    scores = [i % 10 * 7 % 10 / 10 + 0.5 * v["rate"] for i, v in enumerate(values)]
    found = importance.importances(values, scores)
    assert set(found) == {"kind", "rate"}
    assert found["kind"] > 0.6


def test_whether_a_conditional_hyperparameter_is_there_can_matter() -> None:
    values = [
        {"rate": v[RATE], **({"momentum": 0.9 + i / 1000} if i % 2 else {})}
        for i, v in enumerate(searched())
    ]
    scores = [0.9 if "momentum" in v else 0.5 for v in values]
    assert importance.importances(values, scores)["momentum"] > 0.9


@pytest.mark.parametrize("count", [0, 1, importance.FEWEST_TRIALS - 1])
def test_few_trials_tell_nothing(count: int) -> None:
    values = searched(count)
    assert importance.importances(values, [v[RATE] for v in values]) == {}


def test_what_never_changes_tells_nothing() -> None:
    values = [{"same": 1, "rate": v[RATE]} for v in searched()]
    assert importance.importances(values, [0.5] * len(values)) == {}
    assert set(importance.importances(values, [v["rate"] for v in values])) == {"rate"}
    assert importance.importances([{"same": 1}] * 20, list(range(20))) == {}


VALUES = st.fixed_dictionaries(
    {},
    optional={
        "a": st.floats(1e-6, 1e6),
        "b": st.integers(-1000, 1000),
        "c": st.booleans(),
        "d": st.sampled_from(["x", "y", "z"]),
        "e": st.one_of(st.integers(0, 2), st.sampled_from(["auto", "none"])),
    },
)


@settings(max_examples=12, deadline=None)
@given(
    st.lists(
        st.tuples(VALUES, st.floats(-1e6, 1e6) | st.sampled_from([np.nan, np.inf])), max_size=20
    )
)
def test_shares_sum_to_one_and_are_the_same_each_time(found: list) -> None:
    values, scores = [v for v, _ in found], [s for _, s in found]
    shares = importance.importances(values, scores, {"a"})
    assert not shares or sum(shares.values()) == pytest.approx(1)
    assert all(share >= 0 for share in shares.values())
    assert shares == importance.importances(values, scores, {"a"})
