import logging

import pytest

from darkroom.components.base import progress
from tests.conftest import python


def test_a_search_is_a_readable_line_and_its_table(caplog: pytest.LogCaptureFixture) -> None:
    table = {"planned": 3, "ended": []}
    with caplog.at_level(logging.INFO, "darkroom.progress"):
        progress.trials("Tuner", "0 of 3 trials, elapsed 0:02", table)
    [record] = caplog.records
    assert record.getMessage() == "Tuner: 0 of 3 trials, elapsed 0:02"
    assert record.trials is table  # type: ignore[attr-defined]


def test_it_is_light_to_import_and_depends_on_nothing_else() -> None:
    code = (
        "import logging, sys; before = set(sys.modules)\n"
        "import darkroom.components.base.progress\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    result = python("-c", code)
    assert result.stdout.split() == [
        "darkroom",
        "darkroom.components",
        "darkroom.components.base",
        "darkroom.components.base.progress",
    ]
