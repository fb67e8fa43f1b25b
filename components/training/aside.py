"""What is said and drawn beside a training or a search: it decides nothing that is made.

So it is imported by name, which the fingerprint of a node's code doesn't follow: another word or
colour makes no node run again.
"""

import importlib
from types import ModuleType


def module(name: str) -> ModuleType:
    """A module of ``components``, such as ``training.diagnosis``."""
    return importlib.import_module(f"darkroom.components.{name}")
