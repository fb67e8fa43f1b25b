"""Text files that list images: those of a split, as train.txt does, or each with its class."""

import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from darkroom.components.base.errors import DarkroomError
from darkroom.pipeline.ingest import tree
from darkroom.pipeline.ingest.listing import plural, some, split_of
from darkroom.pipeline.ingest.locator import Locator, NotUsable

SUFFIX = ".txt"


def splits(
    root: tree.Folder, paths: Iterable[str], images: Collection[str], notes: list[str]
) -> dict[str, str]:
    """The splits of images by those of the lists at ``paths`` that are named as splits are.

    A line is an image's path, whose suffix may be missing, and maybe a number. Gives nothing, with
    a note, where lists contradict each other, as those of several folds do.
    """
    found: dict[str, set[str]] = defaultdict(set)
    used: list[str] = []
    for path in paths:
        split = split_of(os.path.splitext(os.path.basename(path))[0])
        if not split:
            continue
        name = os.path.relpath(path, root.path)
        locator = Locator(root.path, os.path.dirname(path), root)
        lines = list(_lines(path))
        listed = [image for line in lines if (image := _image(line, locator))]
        for image in listed:
            found[image].add(split)
        used += [name] * bool(listed)
        if listed and len(listed) < len(lines):
            rows = plural(len(lines) - len(listed), "line")
            notes.append(f"{name} has {rows} of no image here, or of one of several.")
    twice = next((image for image in found if len(found[image]) > 1), None)
    if twice is not None:
        where = os.path.relpath(twice, root.path)
        notes.append(
            f"{where} is in several splits by {some(used)}: what they say is left aside. Keep "
            "one list for each split."
        )
        return {}
    if used:
        others = sum(image not in found for image in images)
        rest = f" {plural(others, 'image')} in none of them." if others else ""
        notes.append(f"Splits are those of {some(used)}.{rest}")
    return {image: split for image, (split,) in found.items()}


def classes(
    root: tree.Folder, paths: Iterable[str], known: Collection[str]
) -> dict[str, tuple[str, str]]:
    """The class and the list's name of each image that a line names with one of known classes."""
    found: dict[str, tuple[str, str]] = {}
    for path in paths:
        locator = Locator(root.path, os.path.dirname(path), root)
        for line in _lines(path):
            words = line.split("\t") if "\t" in line else line.split()
            if len(words) > 1 and words[1] in known and (image := _find(words[0], locator)):
                found[image] = words[1], os.path.relpath(path, root.path)
    return found


def _lines(path: str) -> Iterator[str]:
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DarkroomError(f"{path}: can't be read: {error.strerror}.") from error
    return (line.strip() for line in text.splitlines() if line.strip())


def _image(line: str, locator: Locator) -> str | None:
    return _find(line, locator) or _find(line.rsplit(None, 1)[0], locator)


def _find(name: str, locator: Locator) -> str | None:
    try:
        found = locator.find(name)
    except NotUsable:
        return None
    return found.path if found.exists else None
