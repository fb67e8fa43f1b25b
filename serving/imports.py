"""Imports of large libraries, which take two fifths of their time when garbage is collected."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def without_collections() -> Iterator[None]:
    """For imports of TensorFlow and TFX: collects no garbage, as there is none.

    They make half a million objects, and Python looks at all of them again and again. What was
    imported stays: later collections don't look at it either.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
