"""Which image goes to which split: seeded, in exact shares, and once and for all."""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from darkroom.components.base import features
from darkroom.serving import signatures

_QUANTILES = 10


def default_share(images: int) -> float:
    """What is usual to hold out: the smaller the set, the larger the share."""
    if images < 1_000:
        return 0.2
    return 0.1 if images < 10_000 else 0.05


class Grouped(NamedTuple):
    """An image that stays in one split with the others of its group."""

    label: str
    group: str
    content: str = ""  # hash of its pixels
    split: str = ""  # of an image whose split stands


def assign_groups(
    new: Iterable[Grouped],
    existing: Iterable[Grouped],
    shares: Mapping[str, float],
    seed: int,
    stratified: bool,
) -> dict[str, str]:
    """Divides new images as ``assign`` does, but whole groups, which can't meet shares exactly.

    Groups are drawn one after the other, and come to test or eval where that brings the numbers of
    their labels nearer to its share. What is of a group that stands comes to that.
    """
    splits: dict[str, str] = {}
    missing = {split: Counter[str]() for split in shares}  # images, by label
    standing: dict[str, str] = {}
    total: Counter[str] = Counter()

    def label_of(image: Grouped) -> str:
        return image.label if stratified else ""

    for image in existing:
        total[label_of(image)] += 1
        standing[image.group] = image.split
        if image.split in shares:
            missing[image.split][label_of(image)] -= 1
    groups: dict[str, list[Grouped]] = defaultdict(list)
    for image in new:
        total[label_of(image)] += 1
        groups[image.group].append(image)
    for name in groups.keys() & standing.keys():
        of_group = groups.pop(name)
        splits |= dict.fromkeys((image.content for image in of_group), standing[name])
        if standing[name] in shares:
            missing[standing[name]].subtract(map(label_of, of_group))
    left = sorted(groups, key=lambda name: draw(name, seed))
    for split in ("test", "eval"):
        for label, count in total.items():
            missing[split][label] += int(shares[split] * count + 0.5)
        if not shares[split] or missing[split].total() <= 0:
            continue
        taken: dict[str, None] = {}
        for least in ((1, -math.inf), (0, 1)):  # labels first, then the number in all
            for name in left:
                counts = Counter(map(label_of, groups[name]))
                if name not in taken and _nearer(missing[split], counts) >= least:
                    missing[split].subtract(counts)
                    taken[name] = None
        if not taken and len(left) > 1 and split not in standing.values():
            taken[min(left, key=lambda name: len(groups[name]))] = None
        left = [name for name in left if name not in taken]
        for name in taken:
            splits |= dict.fromkeys((image.content for image in groups[name]), split)
    for name in left:
        splits |= dict.fromkeys((image.content for image in groups[name]), "train")
    return splits


def _nearer(missing: Counter[str], counts: Counter[str]) -> tuple[int, int]:
    """By how much the squares of what is missing get less: label by label, and in all."""
    total = missing.total()
    of_labels = sum(missing[label] ** 2 - (missing[label] - n) ** 2 for label, n in counts.items())
    return of_labels, total**2 - (total - counts.total()) ** 2


def assign(
    new: Iterable[tuple[str, str]],
    existing: Iterable[tuple[str, str]],
    shares: Mapping[str, float],
    seed: int,
    stratified: bool,
) -> dict[str, str]:
    """Divides new images so that, with the existing ones, test and eval get their ``shares``.

    Takes pairs of content hash and label, and pairs of label and split of the images whose split
    stands; gives the split by content hash. ``stratified`` keeps the shares in every label; each
    of at least 3 images is in every split.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for content, label in new:
        groups[label if stratified else ""].append(content)
    standing: dict[str, Counter[str]] = defaultdict(Counter)
    for label, split in existing:
        standing[label if stratified else ""][split] += 1

    splits: dict[str, str] = {}
    for group, contents in groups.items():
        drawn = sorted(contents, key=lambda content: draw(content, seed))
        total = len(drawn) + standing[group].total()
        for split in ("test", "eval"):
            wanted = 0
            if shares[split] and total >= 3:  # to the nearest image; but one at least
                wanted = max(1, int(shares[split] * total + 0.5)) - standing[group][split]
            splits |= dict.fromkeys(drawn[: max(wanted, 0)], split)
            drawn = drawn[max(wanted, 0) :]
        splits |= dict.fromkeys(drawn, "train")
    return splits


def strata(labels: Collection[str]) -> dict[str, str]:
    """Chooses by what to stratify labels such as ``a|b``: the part that the fewest images have.

    So a rare label's shares are exact, and those of a common one, in many strata, come close.
    """
    several = {text: features.split_labels(text) for text in labels}
    counts = Counter(label for text in labels for label in several[text])
    return {
        text: min(labels, key=lambda label: (counts[label], label), default="")
        for text, labels in several.items()
    }


def quantiles(labels: Collection[str]) -> dict[str, str]:
    """Strata of numbers such as ``1.5`` or ``1.5|2``: tenths of all, by the first number."""
    numbers = {text: float(text.split(signatures.LABEL_SEPARATOR)[0]) for text in labels}
    places = {text: rank for rank, text in enumerate(sorted(labels, key=numbers.__getitem__))}
    return {text: str(place * _QUANTILES // len(labels)) for text, place in places.items()}


def draw(content: str, seed: int) -> bytes:
    """A key to shuffle by: random, but the same for the same picture."""
    return hashlib.blake2b(f"{seed} {content}".encode(), digest_size=8).digest()
