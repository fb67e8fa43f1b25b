"""A report as files: a page that needs nothing else, text for pull requests, JSON for programs."""

import base64
import inspect
import json
import math
import struct
from collections.abc import Callable
from pathlib import Path

import jinja2
import yaml
from markupsafe import Markup

from darkroom.components.base import results
from darkroom.components.report import markdown, plots, views
from darkroom.components.report.facts import Evaluation, Facts
from darkroom.components.tuning import trial_table

_TEMPLATE = "report.html.jinja"
# Reasons of the verdict before the rest is folded.
_REASONS = 5
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_SIZE = slice(16, 24)  # of a file: width and height, four bytes each
# Pictures up to so many pixels are enlarged with their pixels sharp.
_SMALL = 96


def write(facts: Facts, folder: Path) -> None:
    """Writes the page, the text and the facts beside the pictures that ``facts`` names."""
    text = json.dumps(_plain(facts), ensure_ascii=False, indent=1, allow_nan=False)
    (folder / results.REPORT_FACTS).write_text(text, encoding="utf-8")
    (folder / results.REPORT_TEXT).write_text(markdown.markdown(facts), encoding="utf-8")
    (folder / results.REPORT_PAGE).write_text(page(facts, folder), encoding="utf-8")


def _plain(value: object) -> object:
    """The same without what JSON has no number for, such as the score of a failed trial."""
    if isinstance(value, Evaluation):
        value = value.as_json()
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def page(facts: Facts, folder: Path) -> str:
    """The report as HTML, with its pictures, plots and styles inside.

    Args:
      facts: of a run; a section that is None is said not to have been reached.
      folder: below which the facts' pictures are.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # names of classes and files are anybody's
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(inspect.getmembers(views, inspect.isfunction))
    environment.globals.update(
        facts=facts,
        long=markdown.LONG,
        most_reasons=_REASONS,
        nothing=views.NOTHING,
        picture=_inliner(folder),
        plots=plots,
        settings=yaml.safe_dump(facts["config"], sort_keys=False, allow_unicode=True),
        trial_table=trial_table,
    )
    return environment.get_template(_TEMPLATE).render(**facts)


def _inliner(folder: Path) -> Callable[[str | None, str], str]:
    """A function of a picture's path and its words that gives an image with its data inside.

    Where there is no picture, it gives a frame that says so: a report that lacks one is of use.
    """

    def inline(path: str | None, words: str) -> str:
        file = folder / path if path else None
        content = file.read_bytes() if file and file.is_file() else b""
        if not content.startswith(_PNG):
            return Markup('<span class="blank">no picture</span>')
        width, height = struct.unpack(">II", content[_PNG_SIZE])
        element = '<img class="{}" width="{}" height="{}" alt="{}" src="data:image/png;base64,{}">'
        kind = "small" if max(width, height) <= _SMALL else ""
        data = base64.b64encode(content).decode()
        return Markup(element).format(kind, width, height, words, data)

    return inline
