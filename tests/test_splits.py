from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.pipeline.ingest.splits import assign, default_share, strata

Shares = dict[str, float]
LABELS = st.lists(st.sampled_from("abc"), max_size=60)
SHARES = st.fixed_dictionaries({"eval": st.floats(0, 0.4), "test": st.floats(0, 0.4)})


def named(labels: list[str], start: int = 0) -> list[tuple[str, str]]:
    return [(f"{number:024x}", label) for number, label in enumerate(labels, start)]


@pytest.mark.parametrize(
    ("images", "share"), [(1, 0.2), (999, 0.2), (1000, 0.1), (9999, 0.1), (10_000, 0.05)]
)
def test_default_shares(images: int, share: float) -> None:
    assert default_share(images) == share


@given(LABELS, SHARES, st.integers(0, 5))
def test_each_class_keeps_its_share(labels: list[str], shares: Shares, seed: int) -> None:
    new = named(labels)
    splits = assign(new, [], shares, seed, stratified=True)
    assert splits.keys() == dict(new).keys()
    for label in set(labels):
        counts = Counter(splits[content] for content, own in new if own == label)
        total = counts.total()
        for split, share in shares.items():
            if total < 3 or share == 0:
                assert counts[split] == 0
            else:
                assert abs(counts[split] - share * total) <= 0.5 or counts[split] == 1


@given(LABELS, LABELS, SHARES, st.booleans())
def test_what_is_added_meets_the_shares_of_all(
    first: list[str], second: list[str], shares: Shares, stratified: bool
) -> None:
    old = named(first)
    before = assign(old, [], shares, 0, stratified)
    existing = [(label, before[content]) for content, label in old]
    after = assign(named(second, len(first)), existing, shares, 0, stratified)
    assert len(after) == len(second)
    total = len(first) + len(second)
    if not stratified and total >= 3 and shares["eval"]:
        held_out = Counter([*before.values(), *after.values()])["eval"]
        assert held_out <= max(1, shares["eval"] * total + 0.5, Counter(before.values())["eval"])


def test_the_seed_draws_and_the_order_does_not() -> None:
    new = named(["a"] * 200)
    shares = {"eval": 0.2, "test": 0.1}
    once = assign(new, [], shares, 0, stratified=True)
    assert Counter(once.values()) == {"train": 140, "eval": 40, "test": 20}
    assert assign(reversed(new), [], shares, 0, stratified=True) == once
    assert assign(new, [], shares, 1, stratified=True) != once


def test_random_meets_the_share_of_all_but_not_of_each() -> None:
    new = named(["a"] * 190 + ["b"] * 10)
    splits = assign(new, [], {"eval": 0.1, "test": 0.1}, 3, stratified=False)
    assert Counter(splits.values()) == {"train": 160, "eval": 20, "test": 20}


def test_several_labels_are_stratified_by_the_rarest() -> None:
    labels = ["a"] * 5 + ["a|b"] * 3 + ["b|c"] * 2 + [""]
    assert strata(labels) == {"a": "a", "a|b": "b", "b|c": "c", "": ""}
