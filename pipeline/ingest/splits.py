"""Which image goes to which split: seeded, in exact shares, and once and for all."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from typing import NamedTuple

from darkroom.components.base import features


class Shares(NamedTuple):
    """Shares of all images; the rest is the train split."""

    eval: float
    test: float


def default_share(images: int) -> float:
    """What is usual to hold out: the smaller the set, the larger the share."""
    if images < 1_000:
        return 0.2
    return 0.1 if images < 10_000 else 0.05


def assign(
    new: Iterable[tuple[str, str]],
    existing: Iterable[tuple[str, str]],
    shares: Shares,
    seed: int,
    stratified: bool,
) -> dict[str, str]:
    """Divides new images so that, with the existing ones, the shares are met.

    Args:
      new: pairs of content hash and label.
      existing: pairs of label and split, of images whose split stands.
      shares: of all images.
      seed: which images are drawn.
      stratified: keep the shares in every label; each of at least 3 images is in every split.

    Returns:
      Split by content hash.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for content, label in new:
        groups[label if stratified else ""].append(content)
    standing: dict[str, Counter[str]] = defaultdict(Counter)
    for label, split in existing:
        standing[label if stratified else ""][split] += 1

    splits = {}
    for group, contents in groups.items():
        drawn = sorted(contents, key=lambda content: draw(content, seed))
        total = len(drawn) + standing[group].total()
        for split, share in (("test", shares.test), ("eval", shares.eval)):
            wanted = _count(share, total) - standing[group][split]
            for content in drawn[: max(wanted, 0)]:
                splits[content] = split
            drawn = drawn[max(wanted, 0) :]
        splits.update(dict.fromkeys(drawn, "train"))
    return splits


def _count(share: float, total: int) -> int:
    """How many of ``total``, to the nearest image; but one at least, where three can share."""
    if share == 0 or total < 3:
        return 0
    return max(1, int(share * total + 0.5))


def strata(labels: Collection[str]) -> dict[str, str]:
    """By which to stratify labels such as ``a|b``: of each the one that the fewest images have.

    So a rare label's shares are exact, and those of a common one, in many strata, come close.
    """
    split = {text: features.split_labels(text) for text in labels}
    counts = Counter(label for text in labels for label in split[text])
    return {
        text: min(several, key=lambda label: (counts[label], label), default="")
        for text, several in split.items()
    }


def draw(content: str, seed: int) -> bytes:
    """A key to shuffle by: random, but the same for the same picture."""
    return hashlib.blake2b(f"{seed} {content}".encode(), digest_size=8).digest()
