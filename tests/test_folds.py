import numpy as np
import pytest

from darkroom.components.base.errors import DarkroomError
from darkroom.components.training import dataset, folds
from tests.arrays import of_arrays


def numbers(count: int) -> dataset.Examples:
    """Of three classes in turn, each input its example's number."""
    return of_arrays(np.arange(count, dtype="float32"), np.arange(count) % 3)


def test_folds_hold_out_every_example_once_and_keep_the_shares() -> None:
    examples = numbers(90)
    held_out: list[float] = []
    for fitted, rest in folds.pairs(examples, 5, seed=0):
        assert (len(fitted), len(rest)) == (72, 18)
        assert set(rest.counts().values()) == {6}
        held_out += rest.first(18).tolist()
        assert not set(rest.first(18).tolist()) & set(fitted.first(72).tolist())
    assert sorted(held_out) == [*range(90)]


def test_groups_stay_in_one_fold() -> None:
    examples = numbers(90)
    examples.groups = np.arange(90) // 6  # 15 patients
    seen: list[float] = []
    for pair in folds.pairs(examples, 5, seed=0):
        fitted, rest = (set((part.first(len(part)) // 6).tolist()) for part in pair)
        assert not fitted & rest
        assert len(rest) == 3
        assert set(pair[1].counts().values()) == {6}  # each class evenly, as the groups allow it
        seen += rest
    assert sorted(seen) == [*range(15)]
    folds.check(examples, 15, "tuner.folds")
    with pytest.raises(DarkroomError, match=r"evaluation.folds is 16, .* has 15 groups"):
        folds.check(examples, 16, "evaluation.folds")


def test_groups_of_several_labels() -> None:
    examples = of_arrays(np.arange(40, dtype="float32"), np.ones([40, 2], "float32"))
    examples.groups = np.arange(40) // 4
    for pair in folds.pairs(examples, 5, seed=0):
        fitted, rest = (set((part.first(len(part)) // 4).tolist()) for part in pair)
        assert not fitted & rest


def test_more_folds_than_a_class_has_examples() -> None:
    folds.check(numbers(12), 4, "tuner.folds")
    with pytest.raises(DarkroomError, match=r"tuner.folds is 5, and the smallest class has 4"):
        folds.check(numbers(12), 5, "tuner.folds")
