"""Pictures that show the same, found by small copies of them.

Two pictures show the same if three things hold. The cosine of their 16×16 grey values, each less
its mean, is at least 0.98. They are twice as near to each other as pictures of this set that only
look alike: a 7 of one writer and a 7 of another may have a cosine of 0.99. And of coloured ones the
8×8 colours have a cosine of 0.96, too: a yellow and a grey shirt may be the same in grey.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

SIDE = 16  # pixels of the small picture
LEAST_COSINE = 0.98
_GREY = SIDE * SIDE  # values of a row, before its colours
_COLOUR_SIDE, _LEAST_OF_COLOURS = SIDE // 2, 0.96
_COLOURLESS = 0.004  # mean distance of a pixel's highest channel from its lowest, 1 is white
_LUMA = (0.299, 0.587, 0.114)
_NEARER = 0.25  # of the squared distance to what merely looks alike
_RANK = 30  # of the neighbour that merely looks alike; a picture may have nearly as many doubles
_SAMPLE = 2048  # pictures among which that neighbour is looked for
_FLAT = 2.0  # standard deviation of grey levels, of 255, below which a picture shows nothing
_DIMENSIONS = 64  # principal ones: distances in them are no larger, so that no pair is lost
_BLOCK = 4096  # pictures whose distances to as many others are in memory at a time
_EXACT = 20_000  # pictures up to which every pair is looked at
_OF_CELL = 2048  # pictures nearest to a pivot, on average
_PROBES = 4  # pivots near which a picture's doubles are looked for
_ROUNDING = 1e-5  # of float32


class Pairs(NamedTuple):
    """Pictures that show the same, by their places: first < second, int64 [pairs].

    Of pictures that are all the same to the bit, the first has a pair with each of the others.
    """

    first: np.ndarray
    second: np.ndarray
    cosine: np.ndarray  # float32 [pairs]


def rows(small: np.ndarray) -> np.ndarray:
    """What ``pairs`` compares: grey values and colours, uint8 [pictures, 448].

    ``small``: the pictures at 16×16 pixels, of which each is a mean, uint8 [pictures, 16, 16, 3].
    """
    grey = np.rint(small @ np.array(_LUMA, np.float32)).astype(np.uint8)
    blocks = small.reshape(-1, _COLOUR_SIDE, 2, _COLOUR_SIDE, 2, 3)
    colours = np.rint(blocks.mean(axis=(2, 4), dtype=np.float32)).astype(np.uint8)
    return np.hstack([grey.reshape(-1, _GREY), colours.reshape(-1, 3 * _COLOUR_SIDE**2)])


def pairs(pictures: np.ndarray, exact: int = _EXACT) -> Pairs:
    """All pairs of pictures, ``rows``, that show the same.

    Of more than ``exact`` pictures not every pair is looked at. Some pictures are drawn as pivots,
    and only pairs near the same pivot are compared: of 60,000 pictures no pair was missed
    (docs/benchmarks.md).
    """
    vectors, colours = np.split(pictures, [_GREY], axis=1)
    shown = np.flatnonzero(vectors.std(axis=1) >= _FLAT) if len(vectors) else np.empty(0, np.int64)
    octets = np.ascontiguousarray(vectors[shown]).view(f"V{_GREY}")[:, 0]
    _, first, copies = np.unique(octets, return_index=True, return_inverse=True)
    again = np.flatnonzero(first[copies] != np.arange(len(shown)))
    same = Pairs(shown[first[copies[again]]], shown[again], np.ones(len(again), np.float32))
    near = _near(vectors, shown[np.sort(first)], exact)
    found = Pairs(*(np.concatenate(each) for each in zip(same, near, strict=True)))
    alike = _alike_in_colour(colours, found)
    return Pairs(*(each[alike] for each in found))


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    """The cosine of two pictures' grey values, of ``rows``, uint8 [448] each."""
    first, second = units(np.stack([one, other])[:, :_GREY])
    return float(first @ second)


def _alike_in_colour(colours: np.ndarray, pairs: Pairs) -> np.ndarray:
    """Which pairs have alike colours, bool [pairs]; a grey copy has those of its original."""
    alike = np.empty(len(pairs.first), bool)
    for begin in range(0, len(alike), _BLOCK):
        block = slice(begin, begin + _BLOCK)
        one, other = (colours[ends[block]] for ends in (pairs.first, pairs.second))
        alike[block] = _colourless(one) | _colourless(other)
        alike[block] |= np.einsum("ij,ij->i", units(one), units(other)) >= _LEAST_OF_COLOURS
    return alike


def _colourless(colours: np.ndarray) -> np.ndarray:
    channels = colours.reshape(len(colours), -1, 3)
    spread = channels.max(axis=2) - channels.min(axis=2)
    colourless: np.ndarray = spread.mean(axis=1) < _COLOURLESS * 255
    return colourless


def units(vectors: np.ndarray) -> np.ndarray:
    """Values as float32 [pictures, values] of mean 0 and length 1."""
    centred = vectors.astype(np.float32)
    centred -= centred.mean(axis=1, keepdims=True)
    centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6)
    return centred


def _near(vectors: np.ndarray, places: np.ndarray, exact: int) -> Pairs:
    """The pairs among the pictures at ``places``, of which no two are the same to the bit."""
    generator = np.random.default_rng(0)
    sample = np.sort(generator.permutation(len(places))[:_SAMPLE])
    sampled = units(vectors[places[sample]])
    _, axes = np.linalg.eigh(sampled.T @ sampled)
    axes = axes[:, -_DIMENSIONS:]
    points = np.empty((len(places), axes.shape[1]), np.float32)
    radii = np.empty(len(places), np.float32)  # squared distances
    for begin in range(0, len(places), _BLOCK):
        rows = slice(begin, begin + _BLOCK)
        block = units(vectors[places[rows]])
        points[rows] = block @ axes
        radii[rows] = _radii(block @ sampled.T, sample - begin, len(places))
    if len(places) <= exact:
        blocks = [np.arange(b, min(b + _BLOCK, len(places))) for b in range(0, len(places), _BLOCK)]
        tasks = iter([(one, other) for i, one in enumerate(blocks) for other in blocks[i:]])
    else:
        tasks = _cells(points, generator)
    found = [_candidates(points, radii, *task) for task in tasks]
    one, other = np.concatenate([np.empty((2, 0), np.int64), *found], axis=1)
    first, second = np.unique(np.sort([one, other], axis=0), axis=1)
    cosine = np.empty(len(first), np.float32)
    for begin in range(0, len(first), _BLOCK):
        rows = slice(begin, begin + _BLOCK)
        one, other = (units(vectors[places[ends[rows]]]) for ends in (first, second))
        cosine[rows] = np.einsum("ij,ij->i", one, other)
    kept = 2 - 2 * cosine <= np.minimum(radii[first], radii[second])
    return Pairs(places[first[kept]], places[second[kept]], cosine[kept])


def _radii(cosines: np.ndarray, own: np.ndarray, count: int) -> np.ndarray:
    """The squared distance within which each of some pictures has its doubles.

    ``cosines`` are those to the sample, which has the pictures themselves at the rows ``own``.
    """
    columns = np.flatnonzero((own >= 0) & (own < len(cosines)))
    cosines[own[columns], columns] = -1  # a picture is no neighbour of its own
    rank = max(1, round(_RANK * cosines.shape[1] / count))
    rank = min(rank, max(1, cosines.shape[1] - 1))
    neighbour = np.partition(cosines, -rank, axis=1)[:, -rank]
    radii: np.ndarray = 2 * np.minimum(1 - LEAST_COSINE, _NEARER * (1 - neighbour))
    return radii


def _cells(
    points: np.ndarray, generator: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Blocks of the pictures that have a pivot among their nearest, and of those nearest to it."""
    count = len(points) // _OF_CELL + _PROBES
    pivots = points[generator.permutation(len(points))[:count]].T
    halves = np.einsum("ij,ij->j", pivots, pivots) / 2
    near = min(_PROBES, len(halves))
    probes = np.empty((len(points), near), np.int32)
    for begin in range(0, len(points), _BLOCK):
        nearness = points[begin : begin + _BLOCK] @ pivots - halves
        order = np.argpartition(-nearness, near - 1, axis=1)[:, :near]
        nearest = np.argsort(-np.take_along_axis(nearness, order, axis=1), axis=1)
        probes[begin : begin + _BLOCK] = np.take_along_axis(order, nearest, axis=1)
    visitors, residents = np.argsort(probes.ravel(), kind="stable"), np.argsort(probes[:, 0])
    cells = np.arange(probes.max() + 2)
    visits = np.searchsorted(probes.ravel()[visitors], cells)
    homes = np.searchsorted(probes[residents, 0], cells)
    for cell in cells[:-1]:
        at_home = residents[homes[cell] : homes[cell + 1]]
        for begin in range(visits[cell], visits[cell + 1], _BLOCK):
            end = min(begin + _BLOCK, visits[cell + 1])
            for other in range(0, len(at_home), _BLOCK):
                yield visitors[begin:end] // near, at_home[other : other + _BLOCK]


def _candidates(
    points: np.ndarray, radii: np.ndarray, one: np.ndarray, other: np.ndarray
) -> np.ndarray:
    """Pairs of one's and the other's pictures that are near enough in the principal dimensions.

    int64 [2, pairs].
    """
    here, there = points[one], points[other]
    # |a - b|² <= r  where  a·b - |b|²/2 >= (|a|² - r) / 2
    nearness = here @ there.T
    nearness -= np.einsum("ij,ij->i", there, there) / 2
    least = (np.einsum("ij,ij->i", here, here) - radii[one] - _ROUNDING) / 2
    rows, columns = np.nonzero(nearness >= least[:, None])
    found = np.stack([one[rows], other[columns]])
    pairs: np.ndarray = found[:, found[0] != found[1]]
    return pairs
