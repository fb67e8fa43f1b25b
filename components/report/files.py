"""A report as files: for people, for pull requests, and for programs."""

import json
import math
from pathlib import Path
from typing import cast

from darkroom.components.base import results
from darkroom.components.report.facts import Facts


def write(facts: Facts, folder: Path) -> None:
    """Writes the page, the text and the facts beside the pictures that ``facts`` names."""
    from darkroom.components.report.markdown import markdown
    from darkroom.components.report.page import page

    facts = cast(Facts, _plain(facts))
    text = json.dumps(facts, ensure_ascii=False, indent=1, allow_nan=False)
    (folder / results.REPORT_FACTS).write_text(text, encoding="utf-8")
    (folder / results.REPORT_TEXT).write_text(markdown(facts), encoding="utf-8")
    (folder / results.REPORT_PAGE).write_text(page(facts, folder), encoding="utf-8")


def _plain(value: object) -> object:
    """The same without what JSON has no number for, such as the score of a failed trial."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
