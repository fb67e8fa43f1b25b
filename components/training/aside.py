"""What is said and drawn beside a training: its words and pictures decide nothing that is made.

So they are imported by name, which the fingerprint of a node's code doesn't follow: another
sentence of advice makes no node train again.
"""

import importlib

import numpy as np

from darkroom.components.base.sections import Augmentation
from darkroom.components.training.model_run import History


def diagnose(history: History, constant_accuracy: float) -> dict[str, str]:
    """As ``diagnosis.diagnose``."""
    module = importlib.import_module("darkroom.components.training.diagnosis")
    sentences: dict[str, str] = module.diagnose(history, constant_accuracy)
    return sentences


def draw_contact_sheet(images: np.ndarray, config: Augmentation, seed: int, path: str) -> None:
    """As ``contact_sheet.draw``."""
    module = importlib.import_module("darkroom.components.training.contact_sheet")
    module.draw(images, config, seed, path)
