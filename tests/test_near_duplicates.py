import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.components.ingestion import near_duplicates


def vectors(count: int, seed: int = 0) -> np.ndarray:
    """Small pictures with a few large shapes each, as photographs have."""
    shapes = np.random.default_rng(seed).integers(0, 256, (count, 4, 4), np.uint8)
    return np.kron(shapes, np.ones((4, 4), np.uint8)).reshape(count, 256)


def changed(pictures: np.ndarray, levels: int, seed: int = 1) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, levels, pictures.shape)
    return np.clip(pictures + noise, 0, 255).astype(np.uint8)


def rows(grey: np.ndarray) -> np.ndarray:
    side = near_duplicates.SIDE
    return near_duplicates.rows(np.repeat(grey.reshape(-1, side, side, 1), 3, axis=3))


def found(pictures: np.ndarray, exact: int = 10**6) -> set[tuple[int, int]]:
    first, second, _ = near_duplicates.pairs(rows(pictures), exact)
    assert (first < second).all()
    return set(zip(first.tolist(), second.tolist(), strict=True))


def test_copies_are_found_whatever_their_light() -> None:
    clean = vectors(300)
    brighter = (clean[:10] * 0.6 + 60).astype(np.uint8)
    copies = [changed(clean[:10], 6), brighter, clean[:10]]
    pairs = found(np.concatenate([clean, *copies]))
    for place in range(10):
        for copy in range(3):
            twins = {place, 300 + 10 * copy + place}
            assert any(twins & set(pair) == twins for pair in pairs) or copy == 2
        assert (place, 320 + place) in pairs
    assert all(first % 10 == second % 10 and first < 10 for first, second in pairs if first < 300)


def test_the_same_grey_in_other_colours_is_another_thing() -> None:
    """Of grey copies none is known to have had others."""
    side, generator = near_duplicates.SIDE, np.random.default_rng(0)
    light = vectors(20).reshape(-1, side, side, 1) / 255.0
    yellow, blue = light * [255, 226, 40], light * [90, 200, 255]
    yellow[..., 2] += generator.normal(0, 3, yellow.shape[:-1])  # no two are the same to the bit
    coloured = np.rint(np.concatenate([yellow, blue])).clip(0, 255).astype(np.uint8)
    grey = near_duplicates.rows(coloured)[:, : side * side]
    assert near_duplicates.cosine(*near_duplicates.rows(coloured)[[0, 20]]) > 0.999
    assert near_duplicates.pairs(near_duplicates.rows(coloured)).first.size == 0
    both = np.concatenate([near_duplicates.rows(coloured[:20]), rows(grey[:20])])
    assert near_duplicates.pairs(both).first.tolist() == list(range(20))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 40])
def test_a_set_of_any_size_without_copies_has_none(count: int) -> None:
    assert found(vectors(count)) == set()


def test_what_shows_nothing_is_no_double() -> None:
    flat = np.repeat(np.array([[0], [0], [255], [127]], np.uint8), 256, axis=1)
    assert found(np.concatenate([vectors(50), flat])) == set()


def test_pictures_of_which_all_look_alike_are_no_doubles() -> None:
    alike = changed(np.repeat(vectors(1), 500, axis=0), 8)
    centred = near_duplicates.units(alike)
    assert np.quantile(centred @ centred.T, 0.05) > near_duplicates.LEAST_COSINE
    assert found(alike) == set()
    assert found(np.concatenate([alike, alike[:1]])) == {(0, 500)}


def test_pivots_find_nearly_all_that_looking_at_every_pair_finds() -> None:
    clean = vectors(12_000)
    pictures = np.concatenate([clean, changed(clean[:400], 6)])
    every = found(pictures)
    assert {(place, 12_000 + place) for place in range(400)} <= every
    near = found(pictures, exact=0)
    assert near <= every
    assert len(near) >= 0.98 * len(every)


@given(st.integers(0, 2**32 - 1), st.integers(2, 60))
def test_pairs_are_real_and_the_same_for_any_order(seed: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    pictures = vectors(count, seed)
    pictures = pictures[generator.integers(0, count, 2 * count)]
    first, second, cosine = near_duplicates.pairs(rows(pictures))
    assert (cosine >= near_duplicates.LEAST_COSINE - 1e-5).all()
    order = generator.permutation(len(pictures))
    again = near_duplicates.pairs(rows(pictures[order]))

    def groups(pairs: near_duplicates.Pairs, places: np.ndarray) -> set[frozenset[bytes]]:
        return {
            frozenset([pictures[places[a]].tobytes(), pictures[places[b]].tobytes()])
            for a, b in zip(pairs.first, pairs.second, strict=True)
        }

    assert groups(near_duplicates.Pairs(first, second, cosine), np.arange(2 * count)) == groups(
        again, order
    )


@pytest.mark.parametrize("count", [2, 3, 4, 5, 40])
def test_few_pictures_are_enough_for_pivots(count: int) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (count, 256), dtype=np.uint8)
    both = np.concatenate([pictures, np.clip(pictures, 1, 254)])
    found = near_duplicates.pairs(rows(both), exact=0)
    assert set(zip(found.first.tolist(), found.second.tolist(), strict=True)) == {
        (place, place + count) for place in range(count)
    }
