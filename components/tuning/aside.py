"""What is said and drawn of a search: its words and pictures decide nothing that is made.

So they are imported by name, which the fingerprint of a node's code doesn't follow: another word or
colour makes no search run again, nor what is trained by it.
"""

import importlib
from collections.abc import Collection
from typing import TYPE_CHECKING

from darkroom.components.base import progress
from darkroom.components.tuning.tuner_results import TrialRow

if TYPE_CHECKING:
    from darkroom.components.tuning.trial_table import SearchProgress


def report(table: "SearchProgress") -> None:
    """Says how far Tuner's search is: a line in the log, which has the table attached."""
    module = importlib.import_module("darkroom.components.tuning.trial_table")
    progress.LOGGER.info("Tuner: %s", module.headline(table), extra={"trials": table})


def draw(
    rows: list[TrialRow], objective: str, maximize: bool, log: Collection[str], path: str
) -> None:
    """As ``parallel_coordinates.draw``."""
    module = importlib.import_module("darkroom.components.tuning.parallel_coordinates")
    module.draw(rows, objective, maximize, log, path)
