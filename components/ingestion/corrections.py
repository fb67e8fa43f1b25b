"""What people decided about images: the file that ``darkroom review`` saves and ingest applies."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from darkroom.components.base.errors import DarkroomError
from darkroom.serving import files

CORRECTIONS_FILE = "corrections.csv"  # in the folder of the records
Action = Literal["keep", "relabel", "drop", "same"]
ANY_NAME = "surrogateescape"  # file names need not be UTF-8


class Correction(NamedTuple):
    """A decision about one image.

    ``keep``: it is right as it is, and not asked about again. ``relabel``: its label is ``label``.
    ``drop``: it is left out. ``same``: it shows the same thing as the image at ``label``, so that
    both belong into one split.
    """

    path: str  # of the image, as in the index of the records
    action: Action
    label: str = ""  # of relabel; of same the other image's path


def read(path: Path) -> dict[str, Correction]:
    """The corrections by the path of their image, none where there is no file.

    Raises a DarkroomError, with the line, where the file isn't what ``write`` writes.
    """
    corrections: dict[str, Correction] = {}
    try:
        with open(path, encoding="utf-8", newline="", errors=ANY_NAME) as file:
            rows = csv.reader(file)
            header = next(rows, [])
            if header != list(Correction._fields):
                expected = ",".join(Correction._fields)
                raise DarkroomError(
                    f"{path}, line 1: expected {expected}, received {','.join(header)!r}."
                )
            for row in rows:
                corrections[row[0]] = _correction(row, f"{path}, line {rows.line_num}")
    except FileNotFoundError:
        pass
    return corrections


def _correction(row: list[str], where: str) -> Correction:
    if len(row) != len(Correction._fields):
        raise DarkroomError(f"{where}: expected path,action,label, received {','.join(row)!r}.")
    path, word, label = row
    for action in get_args(Action):
        if word == action:
            if action in ("relabel", "same") and not label:
                raise DarkroomError(f"{where}: {action} needs a label.")
            return Correction(path, action, label)
    raise DarkroomError(f"{where}: expected {', '.join(get_args(Action))}, received {word!r}.")


def write(path: Path, corrections: Iterable[Correction]) -> None:
    """Replaces the file, whole or not at all, sorted by path."""
    with (
        files.replacing(path) as unfinished,
        open(unfinished, "w", encoding="utf-8", newline="", errors=ANY_NAME) as file,
    ):
        writer = csv.writer(file)
        writer.writerow(Correction._fields)
        writer.writerows(sorted(corrections))
