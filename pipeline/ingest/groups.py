"""Which images belong together, as those of one patient, and so stay in one split."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

from darkroom.components.base.errors import DarkroomError, closest
from darkroom.pipeline.ingest.index import Entry
from darkroom.pipeline.ingest.listing import SPLITS, Listing, Source, plural, some

_TWICE = 2  # a split of more than so many times its share isn't what was asked for


def name(source: Path, listing: Listing, group: str | None, group_pattern: str | None) -> None:
    """Gives each file of a listing its group, by a table's column or a regular expression.

    What has none stands for itself, and is counted in a note. Raises a DarkroomError where the
    column or the expression finds nothing.
    """
    if group is not None and group_pattern is not None:
        raise DarkroomError("--group and --group-pattern both say what belongs together: give one.")
    if group is not None:
        group_of, what = _of_column(source, listing, group), f"the column {group}"
    elif group_pattern is not None:
        group_of, what = _of_name(group_pattern), f"the pattern {group_pattern}"
    else:
        return
    listing.files = [file._replace(group=group_of(file)) for file in listing.files]
    grouped = {file.group for file in listing.files if file.group}
    alone = [file.name for file in listing.files if not file.group]
    if not grouped:
        raise DarkroomError(
            f"{source}: {what} finds no group in any of {len(alone):,} images, such as {alone[0]}. "
            "A pattern is searched in the path below the source; its first parentheses, or all of "
            "it, name the group."
        )
    listing.notes.append(f"{plural(len(grouped), 'group')} by {what}, each in one split.")
    if alone:
        listing.notes.append(
            f"{plural(len(alone), 'image')} of no group, each for itself: {some(alone)}."
        )


def _of_column(source: Path, listing: Listing, column: str) -> Callable[[Source], str]:
    names = list(dict.fromkeys(name for file in listing.files for name, _ in file.columns))
    if column not in names:
        has = f"it has the columns {some(names, 20)}" if names else "it is no table with columns"
        raise DarkroomError(
            f"{source}: --group {column}: there is no such column besides path, label and split; "
            f"{has}. --group-pattern finds groups in the files' names.{closest(column, names)}"
        )
    return lambda file: dict(file.columns).get(column, "")


def _of_name(pattern: str) -> Callable[[Source], str]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise DarkroomError(
            f"--group-pattern: expected a regular expression such as 'patient\\d+', found "
            f"{pattern!r}: {error}."
        ) from error

    def group_of(file: Source) -> str:
        match = expression.search(file.name)
        return "" if match is None else (match[1] if expression.groups else match[0]) or ""

    return group_of


def check_shares(entries: Iterable[Entry], shares: dict[str, float]) -> None:
    """Raises a DarkroomError where whole groups leave a split empty, or far too large."""
    counts = dict.fromkeys(SPLITS, 0)
    groups: dict[str, int] = defaultdict(int)
    for entry in entries:
        counts[entry.split] += 1
        groups[entry.group or entry.content] += 1
    total = sum(counts.values())
    largest = max(groups, key=lambda group: groups[group])
    for split, share in shares.items():
        wanted = share * total
        if share and not 0 < counts[split] <= max(_TWICE * wanted, 1):
            raise DarkroomError(
                f"{plural(len(groups), 'group')} can't be divided to the shares that were asked "
                f"for: {split} would have {counts[split]:,} of {total:,} images instead of "
                f"{wanted:,.0f}. The largest group, {largest}, has {groups[largest]:,}. Choose "
                "another --seed or other shares, or what makes smaller groups."
            )


def divided(entries: Iterable[Entry]) -> dict[str, list[str]]:
    """Groups that are in several splits, which the source says itself, with those splits."""
    splits: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        if entry.group:
            splits[entry.group].add(entry.split)
    return {group: sorted(of) for group, of in sorted(splits.items()) if len(of) > 1}
