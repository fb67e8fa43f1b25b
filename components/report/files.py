"""A report as files: a page that needs nothing else, text for pull requests, JSON for programs."""

import base64
import functools
import inspect
import json
from pathlib import Path

import jinja2
import yaml
from markupsafe import Markup
from PIL import Image
from pydantic_core import to_jsonable_python

from darkroom.components.base import results
from darkroom.components.report import markdown, plots, views
from darkroom.components.report.facts import Facts

_TEMPLATE = "report.html.jinja"
_REASONS = 5  # reasons of the verdict before the rest is folded
_SMALL = 96  # pictures up to this number of pixels are enlarged with their pixels sharp


def write(facts: Facts, folder: Path) -> None:
    """Writes the page, the text and the facts beside the pictures that ``facts`` names."""
    evaluation = facts["evaluation"] and facts["evaluation"].as_json()
    # JSON has no number for the score of a failed trial.
    plain = to_jsonable_python(facts | {"evaluation": evaluation}, inf_nan_mode="null")
    text = json.dumps(plain, ensure_ascii=False, indent=1)
    (folder / results.REPORT_FACTS).write_text(text, encoding="utf-8")
    (folder / results.REPORT_TEXT).write_text(markdown.markdown(facts), encoding="utf-8")
    (folder / results.REPORT_PAGE).write_text(page(facts, folder), encoding="utf-8")


def page(facts: Facts, folder: Path) -> str:
    """The report as HTML, with its plots, its styles and the pictures of its folder inside."""
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
        picture=functools.partial(_inline, folder),
        plots=plots,
        settings=yaml.safe_dump(facts["config"], sort_keys=False, allow_unicode=True),
    )
    return environment.get_template(_TEMPLATE).render(**facts)


def _inline(folder: Path, path: str | None, words: str) -> str:
    """A picture with its data inside; where there is none, a frame that says so."""
    file = folder / (path or "")
    try:
        with Image.open(file) as image:
            width, height = image.size
    except OSError:  # a report that lacks one is of use
        return Markup('<span class="blank">no picture</span>')
    element = '<img class="{}" width="{}" height="{}" alt="{}" src="data:image/png;base64,{}">'
    kind = "small" if max(width, height) <= _SMALL else ""
    data = base64.b64encode(file.read_bytes()).decode()
    return Markup(element).format(kind, width, height, words, data)
