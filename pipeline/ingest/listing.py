"""What a source of labelled images has: the files, and what was understood on the way."""

import math
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from darkroom.components.base import features
from darkroom.serving.image_files import SUFFIXES


def words(text: str) -> tuple[str, ...]:
    """Words of a list, in its order."""
    return tuple(text.split())


SPLITS = ("train", "eval", "test")
# Splits by what people call them.
_SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "trainset"), "train"),
    **dict.fromkeys(("eval", "evaluation", "val", "valid", "validation", "dev"), "eval"),
    **dict.fromkeys(("test", "testing", "testset", "holdout", "heldout"), "test"),
}
# What else stands in the name of a split's folder, as in train_images and test-set.
_FILLERS = frozenset(words("data dataset images image imgs img set split photos"))
_NAMED = 5  # of classes in a sentence


class Source(NamedTuple):
    """A file that should be an image."""

    path: str  # absolute
    name: str  # relative to the source's root, for people and for the index
    label: str  # of several, as in a|b: sorted
    split: str | None  # where the source says it
    columns: tuple[tuple[str, str], ...] = ()  # of a manifest, beside these
    group: str = ""  # what it stays in one split with; nothing: itself alone


@dataclass
class Listing:
    """All that a source has."""

    layout: str = ""  # where the classes come from, in a few words
    files: list[Source] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)  # name and reason
    ignored: Counter[str] = field(default_factory=Counter)  # files that are no images, by suffix
    notes: list[str] = field(default_factory=list)  # what was left out or decided, in sentences
    numbers: int = 0  # how many of them, joined by |, stand for each label

    def classes(self, multi_label: bool = False) -> Counter[str]:
        """How many images each class has, the most first."""
        labels = (file.label for file in self.files)
        if multi_label:
            return Counter(label for text in labels for label in features.split_labels(text))
        return Counter(labels)


def describe(listing: Listing, multi_label: bool = False) -> list[str]:
    """What was understood, a sentence each: layout, classes, splits, what is left out and why."""
    classes = listing.classes(multi_label)
    named = [f"{label} {count:,}" for label, count in classes.most_common()]
    splits = Counter(file.split for file in listing.files if file.split)
    reasons = Counter(reason for _, reason in listing.refused)
    counted = {
        "The splits of the source stand": [f"{s} {splits[s]:,}" for s in SPLITS if splits[s]],
        "Refused": [f"{count:,} {reason}" for reason, count in reasons.most_common()],
        "No images": [f"{count:,} {suffix}" for suffix, count in listing.ignored.most_common()],
    }
    return [
        f"{plural(len(listing.files), 'image')} by {listing.layout}.",
        f"{plural(len(classes), 'class')}: {some(named, _NAMED * 4)}.",
        *(f"{word}: {some(several)}." for word, several in counted.items() if several),
        *listing.notes,
    ]


def split_of(name: str) -> str | None:
    """The split that a folder's name or a table's word stands for, as train for Train_images."""
    return _SPLIT_WORDS.get("".join(word for word in _words(name) if word not in _FILLERS))


def split_within(name: str) -> tuple[str, tuple[str, ...]] | None:
    """The split that one word of a name stands for, and the others, as in cars_train."""
    found = [word for word in _words(name) if word in _SPLIT_WORDS]
    if len(found) != 1:
        return None
    return _SPLIT_WORDS[found[0]], tuple(word for word in _words(name) if word != found[0])


def _words(name: str) -> list[str]:
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)  # trainLabels
    return re.findall(r"[^\W\d_]+", apart.lower())


def is_image(name: str) -> bool:
    """Whether a file is named as an image is."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


def is_number(cell: str) -> bool:
    """Whether a text is a finite number."""
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def text(name: str) -> str:
    """A name as text that every machine spells the same way, accents composed."""
    return unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "replace"))


def some(names: Iterable[str], most: int = _NAMED) -> str:
    """Names for a sentence: the first, and how many there are beside them."""
    several = list(names)
    more = len(several) - most
    return ", ".join(several[:most]) + (f" and {more:,} more" if more > 0 else "")


def plural(count: int, noun: str) -> str:
    """A count with its noun: 1 image, 2 images, 3 classes."""
    ending = "" if count == 1 else "es" if noun.endswith("s") else "s"
    return f"{count:,} {noun}{ending}"
