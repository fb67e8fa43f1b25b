"""What large imports do to the collection of garbage."""

import gc
import sys
from collections.abc import Iterator

import pytest

from darkroom.serving import imports


@pytest.fixture
def module() -> Iterator[str]:
    """One of Python's own that nothing here imports."""
    name = "this"
    sys.modules.pop(name, None)
    yield name
    sys.modules.pop(name, None)


def test_what_is_imported_is_not_looked_at_again(module: str) -> None:
    before = gc.get_freeze_count()
    with imports.without_collections():
        assert not gc.isenabled()
        __import__(module)
    assert gc.isenabled()
    assert gc.get_freeze_count() > before


def test_where_all_was_imported_garbage_is_collected_as_ever() -> None:
    before = gc.get_freeze_count()
    for _ in range(3):
        with imports.without_collections():
            __import__("json")
    assert gc.get_freeze_count() <= before  # what nobody needs any more may have gone


def test_who_collects_no_garbage_goes_on_so() -> None:
    gc.disable()
    try:
        with imports.without_collections():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
