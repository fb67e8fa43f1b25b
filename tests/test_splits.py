import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.pipeline.ingest.splits import (
    Grouped,
    assign,
    assign_groups,
    default_share,
    quantiles,
    strata,
)

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


GROUPS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 12)), max_size=80)


def grouped(pairs: list[tuple[str, int]], start: int = 0) -> list[Grouped]:
    return [
        Grouped(label, f"g{group}", f"{number:024x}")
        for number, (label, group) in enumerate(pairs, start)
    ]


@given(GROUPS, GROUPS, SHARES, st.integers(0, 5), st.booleans())
def test_a_group_is_in_one_split_whatever_is_added(
    first: list[tuple[str, int]],
    second: list[tuple[str, int]],
    shares: Shares,
    seed: int,
    stratified: bool,
) -> None:
    old, new = grouped(first), grouped(second, len(first))
    before = assign_groups(old, [], shares, seed, stratified)
    assert before.keys() == {image.content for image in old}
    standing = [image._replace(split=before[image.content]) for image in old]
    after = before | assign_groups(new, standing, shares, seed, stratified)
    assert after.keys() == {image.content for image in (*old, *new)}
    splits: dict[str, set[str]] = {}
    for image in (*old, *new):
        splits.setdefault(image.group, set()).add(after[image.content])
    assert all(len(of_group) == 1 for of_group in splits.values())


def test_groups_come_near_the_shares_of_every_class() -> None:
    generator = random.Random(0)
    images = grouped(
        [
            (label, patient)
            for patient in range(150)
            for label in "a" * generator.randrange(8) + "b" * generator.randrange(4)
        ]
    )
    for seed in range(5):
        splits = assign_groups(images, [], {"eval": 0.2, "test": 0.1}, seed, stratified=True)
        for label in "ab":
            counts = Counter(splits[image.content] for image in images if image.label == label)
            assert counts["eval"] / counts.total() == pytest.approx(0.2, abs=0.05)
            assert counts["test"] / counts.total() == pytest.approx(0.1, abs=0.05)


def test_a_few_large_groups_leave_no_split_empty() -> None:
    images = grouped([("a", group) for group in range(3) for _ in range(40)])
    splits = assign_groups(images, [], {"eval": 0.1, "test": 0.1}, 0, stratified=True)
    assert Counter(splits.values()) == {"train": 40, "eval": 40, "test": 40}


def test_a_groups_draw_does_not_depend_on_the_order() -> None:
    images = grouped([("ab"[n % 2], n // 5) for n in range(200)])
    shares = {"eval": 0.2, "test": 0.1}
    once = assign_groups(images, [], shares, 0, stratified=True)
    assert assign_groups(reversed(images), [], shares, 0, stratified=True) == once
    assert assign_groups(images, [], shares, 1, stratified=True) != once


@given(st.lists(st.floats(-1e6, 1e6), min_size=10, max_size=200), st.integers(0, 5))
def test_numbers_are_divided_by_tenths(numbers: list[float], seed: int) -> None:
    labels = [f"{number}|{at}" for at, number in enumerate(numbers)]
    strata = quantiles(labels)
    counts = Counter(strata.values())
    assert len(counts) == 10
    assert max(counts.values()) - min(counts.values()) <= 1
    order = sorted(labels, key=lambda label: float(label.split("|")[0]))
    assert [strata[label] for label in order] == sorted(strata.values(), key=int)
    new = [(f"{at:024x}", strata[label]) for at, label in enumerate(labels)]
    splits = assign(new, [], {"eval": 0.2, "test": 0.0}, seed, stratified=True)
    for stratum, count in counts.items():
        held_out = sum(splits[content] == "eval" for content, own in new if own == stratum)
        assert held_out == (max(1, int(0.2 * count + 0.5)) if count >= 3 else 0)


def test_the_same_number_of_many_images_is_in_one_tenth() -> None:
    assert len(set(quantiles(["1", "1", "1"]).values())) == 1
