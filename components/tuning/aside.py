"""What is said and drawn of a search: its words and pictures decide nothing that is made.

So they are imported by name, which the fingerprint of a node's code doesn't follow: another word or
colour makes no search run again, nor what is trained by it.
"""

import importlib
from collections.abc import Collection
from types import ModuleType
from typing import TYPE_CHECKING

from darkroom.components.tuning.tuner_results import TrialRow

if TYPE_CHECKING:
    from darkroom.components.tuning.live_table import LiveTable, Searched
    from darkroom.components.tuning.oracles import Plan
    from darkroom.components.tuning.process_pool import ProcessPool


def live_table(search: "Searched", plan: "Plan | None", pool: "ProcessPool") -> "LiveTable":
    """As ``live_table.LiveTable``."""
    table: LiveTable = _module("live_table").LiveTable(search, plan, pool)
    return table


def draw(
    rows: list[TrialRow], objective: str, maximize: bool, log: Collection[str], path: str
) -> None:
    """As ``parallel_coordinates.draw``."""
    _module("parallel_coordinates").draw(rows, objective, maximize, log, path)


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"darkroom.components.tuning.{name}")
