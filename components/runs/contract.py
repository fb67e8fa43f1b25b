"""What a model tells apart, as the contract in its SavedModel says."""

import json
import os
from typing import NamedTuple

from tfx.dsl.io import fileio

from darkroom.serving import signatures


class Contract(NamedTuple):
    """What a model tells apart."""

    multi_label: bool  # images have any number of classes
    classes: set[str]


def comparable(one: Contract, other: Contract) -> bool:
    """Whether one evaluation can judge both models."""
    return one.multi_label == other.multi_label and len(one.classes & other.classes) > 1


def contract(folder: str) -> Contract:
    """That of a SavedModel; without classes where it has none."""
    path = os.path.join(folder, signatures.CONTRACT_PATH)
    if not fileio.exists(path):
        return Contract(False, set())
    with fileio.open(path) as file:
        read = json.load(file)
    return Contract(read.get("multi_label", False), set(read["classes"]))
