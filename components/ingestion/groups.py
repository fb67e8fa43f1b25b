"""What files' names say of images that belong together, as those of a patient or a burst."""

import re
from collections import Counter

import numpy as np

# Names of folders that are splits', not groups'.
_SPLITS = {"train", "training", "eval", "validation", "valid", "val", "test", "testing"}
_NUMBER = re.compile(r"\d")
_LAST_NUMBER = re.compile(r"[^0-9A-Za-z]*[A-Za-z]*[^0-9A-Za-z]*\d+$")


def of_name(path: str, label: str) -> str:
    """What a name says of its patient, burst or object: all before its last number, if a number.

    ``patient12_03.png`` and ``patient12/03.png`` belong to ``patient12``; ``cat.3.jpg`` to nothing.
    """
    *folders, file = path.split("/")
    stem = file.rpartition(".")[0] or file
    before = _LAST_NUMBER.sub("", stem, count=1)
    if before == stem:
        return ""
    own = (label.lower(), *_SPLITS)
    parts = [part for part in folders if part and part.lower() not in own]
    key = "/".join([*parts, before] if before else parts)
    return key if _NUMBER.search(key) else ""


def are_plausible(groups: np.ndarray, labels: np.ndarray, classes: int) -> bool:
    """Whether what names say are groups: a prefix that all of a class have is the class's name.

    As ImageNet's n01440764_1. ``groups`` and ``labels`` [images] are of the images that have a
    group, ``classes`` how many classes there are in all. Of half of them there must be several.
    """
    pairs = set(zip(labels.tolist(), groups.tolist(), strict=True))
    of_classes = Counter(label for label, _ in pairs)
    return bool(pairs) and sum(count > 1 for count in of_classes.values()) * 2 >= classes
