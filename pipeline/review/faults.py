"""Faults of images that show without a model."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from darkroom.components.ingestion import groups, near_duplicates
from darkroom.components.ingestion.findings import Fault
from darkroom.pipeline.review.images import SPLITS, Images

_USUAL = 0.1  # share of images above which something is this set's way, and no fault
_DARK, _BRIGHT = 0.2, 0.75  # grey values that nearly no pixel exceeds, or all but some
_ONE_COLOUR = 0.01  # standard deviation
_FEW_BITS = 3.0
_GREY, _COLOURED = 0.004, 0.05  # mean distance of the channels
_BLURRED, _NOISE = 0.015, 12.0  # sharpness
_JUDGED = 24  # pixels of the short side: in smaller ones every edge is as sharp as noise
_TINY = 1 / 4  # of the set's median side
_LONG = 3.0  # times the short side, and twice the set's median
_RARE = 10  # images of a class that has less than a tenth of the median class's
_HELD_OUT = list(SPLITS)  # the last is held out the most


EXACT, NEAR, ACROSS = "exact duplicate", "near duplicate", " in another split"
IN_TWO_SPLITS = (EXACT + ACROSS, NEAR + ACROSS)


class Rule(NamedTuple):
    """A measurement by which images are faulty."""

    fault: str
    value: np.ndarray  # [images]
    faulty: np.ndarray  # bool [images]


class Found(NamedTuple):
    """All faults, the gravest kind first, and what is no fault as most images have it."""

    faults: list[Fault]
    notes: list[str]


def find(images: Images) -> Found:
    """Faults of pixels, shapes, names, counts, and pictures that are there twice."""
    found = Found([], [])
    for each in images.damaged:
        suggested = Fault(each.path, each.split, each.label, "damaged", each.reason, "drop")
        found.faults.append(suggested)
    found.faults.extend(_doubles(images))
    for rule in _rules(images):
        share = rule.faulty.mean()
        if share > _USUAL:
            found.notes.append(
                f"{rule.faulty.sum():,} of {len(images.paths):,} images are {rule.fault}: taken as "
                "this set's way, and not listed."
            )
            continue
        suggestion = "drop" if rule.fault in ("single colour", "noise") else ""
        rows = np.flatnonzero(rule.faulty)
        for row in rows[np.argsort(rule.value[rows], kind="stable")]:
            found.faults.append(of(images, row, rule.fault, float(rule.value[row]), suggestion))
    found.faults.extend(_rare(images))
    found.faults.extend(_groups(images))
    return found


def of(
    images: Images,
    row: int,
    fault: str,
    value: float | str,
    suggestion: str = "",
    other: int | None = None,
) -> Fault:
    """A fault of the image in a row, maybe beside another's."""
    others = () if other is None else _named(images, other)
    value = round(value, 4) if isinstance(value, float) else value
    return Fault(*_named(images, row), fault, value, suggestion, *others)


def _named(images: Images, row: int) -> tuple[str, str, str]:
    return images.paths[row], images.splits[row], images.labels[row]


def _rules(images: Images) -> Iterator[Rule]:
    column = images.column
    flat = column("contrast") < _ONE_COLOUR
    yield Rule("single colour", column("contrast"), flat)
    light, shadow = column("light"), column("shadow")
    dark, bright = light < _DARK, shadow > _BRIGHT
    yield Rule("too dark", light, dark & ~flat)
    yield Rule("too bright", -shadow, bright & ~flat)
    sharpness = column("sharpness")
    height, width = column("height"), column("width")
    judged = (np.minimum(height, width) >= _JUDGED) & ~flat
    yield Rule("blurred", sharpness, (sharpness < _BLURRED) & judged)
    yield Rule("noise", -sharpness, (sharpness > _NOISE) & judged)
    entropy = column("entropy")
    yield Rule("low in information", entropy, (entropy < _FEW_BITS) & ~(flat | dark | bright))
    colour = column("colour")
    if np.median(colour) > _GREY:
        yield Rule("grey among coloured", colour, (colour < _GREY) & ~flat)
    else:
        yield Rule("coloured among grey", -colour, colour > _COLOURED)
    side = np.sqrt(height * width)
    yield Rule("tiny", side, side < np.median(side) * _TINY)
    ratio = np.maximum(height, width) / np.minimum(height, width)
    yield Rule("extreme in shape", -ratio, ratio > max(_LONG, 2 * np.median(ratio)))


def _doubles(images: Images) -> Iterator[Fault]:
    """Of every group that shows the same, all but the image that is held out the most."""
    small = images.small()
    found = (each.tolist() for each in near_duplicates.pairs(small))
    exact: dict[bytes, int] = {}
    partners: dict[int, dict[int, float]] = defaultdict(dict)
    for row, each in enumerate(images.measured):
        first = exact.setdefault(each.content, row)
        if first != row:
            partners[first][row] = partners[row][first] = 2.0  # above any cosine
    for first, second, cosine in zip(*found, strict=True):
        partners[first].setdefault(second, cosine)
        partners[second].setdefault(first, cosine)

    heads = _heads(images, partners)
    for row, head in heads.items():  # of many copies only one has a pair with each of the others
        if images.measured[row].content == images.measured[head].content and row != head:
            partners[row][head] = 2.0
        elif row != head and head not in partners[row]:
            cosine = near_duplicates.cosine(small[row], small[head])
            if cosine >= near_duplicates.LEAST_COSINE:
                partners[row][head] = cosine
    doubles = [_double(images, row, partners[row]) for row in partners if heads[row] != row]
    yield from sorted(doubles, key=lambda f: (-_gravity(f), f.fault, f.path))


def _heads(images: Images, partners: Mapping[int, Iterable[int]]) -> dict[int, int]:
    """Of each image the one of its group that stays: of those that are held out most, the first."""
    heads: dict[int, int] = {}
    for row in sorted(partners, key=lambda row: (-_rank(images, row), row)):
        waiting = [] if row in heads else [row]
        while waiting:
            member = waiting.pop()
            if member not in heads:
                heads[member] = row
                waiting.extend(partners[member])
    return heads


def _rank(images: Images, row: int) -> int:
    return _HELD_OUT.index(images.splits[row])


def _gravity(fault: Fault) -> int:
    return 2 * (fault.split != fault.other_split) + (fault.label != fault.other_label)


def _double(images: Images, row: int, partners: dict[int, float]) -> Fault:
    def weight(other: int) -> tuple[int, bool, float]:
        elsewhere = images.splits[other] != images.splits[row]
        relabelled = images.labels[other] != images.labels[row]
        return _rank(images, other) if elsewhere else -1, relabelled, partners[other]

    other = max(partners, key=weight)
    across = _rank(images, other) - _rank(images, row)
    relabelled = images.labels[other] != images.labels[row]
    fault = EXACT if partners[other] > 1.5 else NEAR
    fault += ACROSS * (across != 0) + " with another label" * relabelled
    suggestion = "drop" if across > 0 or fault == EXACT else ""
    if relabelled and across <= 0:
        suggestion = f"relabel {images.labels[other]}"
    return of(images, row, fault, min(1.0, partners[other]), suggestion, other)


def _rare(images: Images) -> Iterator[Fault]:
    counts = Counter(images.labels)
    middle = np.median(list(counts.values()))
    rare = {label for label, n in counts.items() if n < _RARE and n * 10 < middle}
    for row, label in enumerate(images.labels):
        if label in rare:
            yield of(images, row, "rare class", f"{counts[label]} images")


def _groups(images: Images) -> Iterator[Fault]:
    """Images whose names say that they belong to one of a split that is held out more."""
    found: dict[str, list[int]] = defaultdict(list)
    for row, (path, label) in enumerate(zip(images.paths, images.labels, strict=True)):
        if key := groups.of_name(path, label):
            found[key].append(row)
    of_all, labels = [], []
    for key, rows in found.items():
        of_all += [key] * len(rows)
        labels += [images.labels[row] for row in rows]
    classes = len(set(images.labels))
    if not groups.are_plausible(np.array(of_all), np.array(labels), classes):
        return
    for key, rows in sorted(found.items()):
        held_out = max(rows, key=lambda row: _rank(images, row))
        for row in rows:
            if images.splits[row] != images.splits[held_out]:
                yield of(images, row, "group in two splits", key, "same", held_out)
