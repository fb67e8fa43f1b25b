"""What is said and drawn beside a training or a search: another word makes no node run again."""

import importlib
from types import ModuleType


def module(name: str) -> ModuleType:
    """A module of ``components`` by its name, which the fingerprint of code doesn't follow."""
    return importlib.import_module(f"darkroom.components.{name}")
