"""Imports of large libraries, which take two fifths of their time when garbage is collected."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def without_collections() -> Iterator[None]:
    """Collects no garbage: there is none, and Python looks at half a million objects for it.

    What was imported stays: later collections don't look at it either.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
