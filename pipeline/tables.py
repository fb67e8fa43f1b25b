"""Tables for people: images by class, trials by score."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from rich.cells import cell_len
from rich.markup import escape
from rich.table import Table

from darkroom.components.base.settings import Value
from darkroom.components.tuning import trial_table

_GAP = 2  # characters between columns
APART = (0, _GAP, 0, 0)


class Trial(NamedTuple):
    """A row of a table of trials."""

    name: str
    values: Mapping[str, Value]  # of the hyperparameters, by key
    score: str  # or what it is doing
    seconds: str
    epochs: str = ""  # after which it has that score
    style: str = ""


def trials(names: list[str], rows: list[Trial], objective: str, width: int) -> Table:
    """A table of trials with as many hyperparameters, by their keys, as fit into ``width``.

    Of trials with different numbers of epochs, as Hyperband's, those are shown.
    """
    short = trial_table.short_names(names)
    columns = [("trial", [row.name for row in rows])]
    ends = [(objective, [row.score for row in rows]), ("time", [row.seconds for row in rows])]
    if len({row.epochs for row in rows} - {""}) > 1:
        ends.insert(0, ("epochs", [row.epochs for row in rows]))
    left = width - sum(_width(column) for column in (*columns, *ends))
    for number, name in enumerate(names):
        cells = [trial_table.brief(row.values[name]) if name in row.values else "" for row in rows]
        left -= _width((short[name], cells))
        more = f"+ {len(names) - number} more"
        if left < (0 if number == len(names) - 1 else len(more) + _GAP):
            columns.append((more, [""] * len(rows)))
            break
        columns.append((short[name], cells))
    table = plain(APART)
    columns += ends
    for heading, _ in columns:
        table.add_column(escape(heading), justify="right", no_wrap=True)
    for number, row in enumerate(rows):
        table.add_row(*(escape(cells[number]) for _, cells in columns), style=row.style)
    return table


def classes(examples: Mapping[str, Mapping[str, int]]) -> Table:
    """Images per class and split."""
    table = plain()
    table.add_column("class", min_width=11)
    for split in examples:
        table.add_column(split, justify="right", min_width=7)
    names = {name for counts in examples.values() for name in counts}
    for name in sorted(names, key=_natural):
        table.add_row(escape(name), *(f"{counts.get(name, 0):,}" for counts in examples.values()))
    return table


def plain(padding: tuple[int, int] | tuple[int, int, int, int] = (0, 1)) -> Table:
    """A table without lines; ``padding`` of each cell: above, right, below, left."""
    return Table(box=None, pad_edge=False, header_style="bold", padding=padding)


def _width(column: tuple[str, list[str]]) -> int:
    heading, cells = column
    return max(map(cell_len, (heading, *cells))) + _GAP


def _natural(name: str) -> list[tuple[int, str]]:
    """A key to sort names by, with which 10 comes after 9."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name)]
