"""Imports of large libraries, which take two fifths of their time when garbage is collected."""

import contextlib
import gc
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def without_collections() -> Iterator[None]:
    """For large imports: looks for no garbage, as there is none, nor later at what was imported."""
    was_enabled, modules = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        # Where all was there already, freezing would keep garbage of whoever calls again and again.
        if len(sys.modules) > modules:
            gc.freeze()
        if was_enabled:
            gc.enable()
