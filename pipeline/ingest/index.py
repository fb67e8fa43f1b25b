"""What a target says of itself: which images are in it, how they are divided, what was decided."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel

from darkroom.components.base.errors import DarkroomError
from darkroom.components.ingestion import corrections, data_version
from darkroom.components.ingestion.corrections import Correction
from darkroom.serving import files

INDEX_FILE = "index.csv"
LEFT_OUT_FILE = "left_out.csv"
SETTINGS_FILE = data_version.FILE


class Settings(BaseModel):
    """How a target is divided, in ``ingest.json``: decided the first time, the same ever after."""

    method: str = "stratified"  # or random
    eval_share: float
    test_share: float
    seed: int = 0
    multi_label: bool = False  # a label is any number of labels, as in a|b
    numbers: list[str] | None = None  # columns whose numbers, joined by |, stand for the label
    group: str | None = None  # column of the table that says which images belong together
    group_pattern: str | None = None  # regular expression that finds that in a file's name
    max_side: int | None = None  # pixels of an image's longer side; None: however many it has
    runs: int = 1  # ingests that changed something
    version: str = ""  # of the images: their number and what they are, as in 0002-3f9a1c52
    sources: list[str] = []  # whose images are there, absolute


class Entry(NamedTuple):
    """An image that is in the target: a row of the index."""

    path: str
    label: str
    split: str
    content: str  # hash of the pixels
    size: int  # of the file, bytes
    modified: int  # of the file, nanoseconds
    group: str = ""  # what it stays in one split with; nothing: itself alone


class Records(NamedTuple):
    """All that a target says of itself."""

    settings: Settings | None  # None before the first ingest
    entries: list[Entry]
    left_out: list[Entry]  # what was in it, or was dropped; it would come back to its split
    corrections: dict[str, Correction]  # by path


def read(target: Path) -> Records:
    """Raises a DarkroomError where a file is damaged."""
    return Records(
        read_settings(target),
        read_entries(target / INDEX_FILE),
        read_entries(target / LEFT_OUT_FILE),
        corrections.read(target / corrections.CORRECTIONS_FILE),
    )


def read_settings(target: Path) -> Settings | None:
    """None where nothing was ingested."""
    written = files.read_json(target / SETTINGS_FILE)
    return Settings(**written) if written else None


def write_settings(folder: Path, settings: Settings) -> None:
    """Whole or not at all."""
    with files.replacing(folder / SETTINGS_FILE) as unfinished:
        unfinished.write_text(settings.model_dump_json(indent=2), encoding="utf-8")


def read_entries(path: Path) -> list[Entry]:
    """None where there is no file; raises a DarkroomError where it is damaged."""
    try:
        with open(path, encoding="utf-8", newline="", errors=corrections.ANY_NAME) as file:
            rows = csv.reader(file)
            next(rows)
            # Those of an earlier darkroom have no groups.
            return [
                Entry(p, lb, sp, c, int(size), int(at), *group)
                for p, lb, sp, c, size, at, *group in rows
            ]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, StopIteration) as error:
        remedy = "Restore it, or ingest into another target."
        raise DarkroomError(f"{path} is damaged. {remedy}") from error


def write_entries(path: Path, entries: Iterable[Entry]) -> None:
    """A row each, below a header; with a column of groups where there are any."""
    rows = list(entries)
    columns = len(Entry._fields) - (not any(entry.group for entry in rows))
    with open(path, "w", newline="", encoding="utf-8", errors=corrections.ANY_NAME) as file:
        writer = csv.writer(file)
        writer.writerow(Entry._fields[:columns])
        writer.writerows(entry[:columns] for entry in rows)
