"""Which image goes to which split: seeded, in exact shares, and once and for all."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping

from darkroom.components.base import features


def default_share(images: int) -> float:
    """What is usual to hold out: the smaller the set, the larger the share."""
    if images < 1_000:
        return 0.2
    return 0.1 if images < 10_000 else 0.05


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


def draw(content: str, seed: int) -> bytes:
    """A key to shuffle by: random, but the same for the same picture."""
    return hashlib.blake2b(f"{seed} {content}".encode(), digest_size=8).digest()
