"""Layouts of files for the tests of ingest, written in short."""

import itertools
import re
from collections import Counter
from pathlib import Path

from darkroom.pipeline.ingest.listing import Listing


def expanded(pattern: str) -> list[str]:
    """``{a,b}/#2.jpg`` as a/1.jpg, a/2.jpg, b/1.jpg, b/2.jpg."""
    match = re.search(r"\{([^}]*)\}|#(\d+)", pattern)
    if not match:
        return [pattern]
    numbers = map(str, range(1, int(match[2] or 0) + 1))
    choices = numbers if match[2] else match[1].split(",")
    before, after = pattern[: match.start()], pattern[match.end() :]
    return [name for choice in choices for name in expanded(before + choice + after)]


def make(root: Path, files: str, texts: dict[str, str] | None = None) -> None:
    """Empty files by patterns apart by spaces, and files of text."""
    for name in itertools.chain.from_iterable(map(expanded, files.split())):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
        else:
            path.touch()
    for name, text in (texts or {}).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")


def counted(listing: Listing) -> str:
    """Classes and splits with their counts, as in ``cat 2, dog 1; train 3``."""
    splits = Counter(file.split for file in listing.files if file.split)
    both = (listing.classes(), splits)
    return "; ".join(
        ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
        for counts in both
        if counts
    )
