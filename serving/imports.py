"""Imports of large libraries, which take two fifths of their time when garbage is collected."""

import contextlib
import gc
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def without_collections() -> Iterator[None]:
    """Collects no garbage during large imports, and never looks at what they made later on."""
    was_enabled, modules = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        # Without a new module, freezing would only keep the garbage of who calls again and again.
        if len(sys.modules) > modules:
            gc.freeze()
        if was_enabled:
            gc.enable()
