"""Imports of large libraries, which take two fifths of their time when garbage is collected."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def without_collections() -> Iterator[None]:
    """For large imports: looks for no garbage, as there is none, nor later at what was imported."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
