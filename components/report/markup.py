"""GitHub's Markdown: words that may hold anything, lists and tables of them. Light to import."""

import re
from collections.abc import Sequence

# A table of more rows is folded.
LONG = 20
_SPECIAL = re.compile(r"([\\`*_\[\]|~#])")


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    words: int,
    summary: str = "All of them",
    most: int = LONG,
) -> str:
    """A table; empty where it has no rows, folded where it has more than ``most``.

    Args:
      head: of its columns.
      rows: of its cells.
      words: so many columns come first that hold words; numbers stand on the right.
      summary: what stands where it is folded.
      most: rows of a table that isn't.
    """
    if not rows:
        return ""
    ruler = ["---"] * words + ["--:"] * (len(head) - words)
    lines = [list(map(text, head)), ruler, *(list(map(text, row)) for row in rows)]
    whole = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    if len(rows) <= most:
        return whole
    return f"<details><summary>{summary}</summary>\n\n{whole}\n\n</details>"


def bullets(lines: Sequence[str]) -> str:
    """A list; empty where it has no lines."""
    return "\n".join(f"- {text(line)}" for line in lines)


def text(words: str) -> str:
    """Words that are shown as they are, in one line."""
    safe = " ".join(words.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", safe)
