"""The report of a run as one page that needs nothing else."""

import base64
import struct
from collections.abc import Callable
from pathlib import Path

import jinja2
import yaml
from markupsafe import Markup

from darkroom.components.report import plots, views
from darkroom.components.report.facts import Data, Evaluation, Facts, Search, Training
from darkroom.components.tuning import trial_table
from darkroom.components.tuning.tuner_results import TrialRow

_TEMPLATE = "report.html.jinja"
# A table with more rows is folded.
_LONG = 20
# Reasons of the verdict before the rest is folded.
_REASONS = 5
_CURVES = {"loss": "Loss", "accuracy": "Accuracy", "learning_rate": "Learning rate"}
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_SIZE = slice(16, 24)  # of a file: width and height, four bytes each
# Pictures up to so many pixels are enlarged with their pixels sharp.
_SMALL = 96


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
    environment.globals.update(long=_LONG, most_reasons=_REASONS, nothing=views.NOTHING)
    environment.filters.update(
        bound=views.bound,
        change=views.change,
        count=views.count,
        duration=views.duration,
        interval=views.interval,
        metric=views.metric_name,
        moment=views.moment,
        number=views.number,
        outcome=views.outcome,
        short=views.short,
        subject=views.subject,
        threshold_interval=views.threshold_interval,
        thresholds=views.thresholds,
    )
    return environment.get_template(_TEMPLATE).render(
        **facts,
        told=views.verdict(facts),
        numbers=views.key_numbers(facts),
        git=views.git(facts["environment"]),
        served=views.served(facts["serving"]),
        settings=yaml.safe_dump(facts["config"], sort_keys=False, allow_unicode=True),
        picture=_inliner(folder),
        **_of_data(facts["data"]),
        **_of_search(facts["search"]),
        **_of_training(facts["training"]),
        **_of_evaluation(facts["evaluation"]),
    )


def _of_data(data: Data | None) -> dict[str, object]:
    if data is None:
        return {}
    counts = {name: split["classes"] for name, split in data["splits"].items()}
    classes = views.ordered(list({name for split in counts.values() for name in split}))
    varied, constant = views.features(data)
    return {
        "counts": counts,
        "classes": classes,
        "classes_plot": Markup(plots.class_counts(counts, classes)),
        "distributions": [Markup(plots.distribution(f["name"], f["splits"])) for f in varied],
        "constant": constant,
    }


def _of_search(search: Search | None) -> dict[str, object]:
    if search is None:
        return {}
    values = [TrialRow.of(row).hyperparameters for row in search["rows"]]
    keys = list(dict.fromkeys(key for of_trial in values for key in of_trial))
    return {
        "names": trial_table.short_names(keys),
        "trials": list(zip(search["rows"], values, strict=True)),
        "failed": lambda row: TrialRow.of(row).failed,
    }


def _of_training(training: Training | None) -> dict[str, object]:
    if training is None:
        return {}
    history, exported = training["history"], training["exported_epoch"]
    titles = dict(_CURVES)
    if len(set(history.get("learning_rate", []))) < 2:  # a constant is no curve
        titles.pop("learning_rate")
    curves = [Markup(plots.curve(history, m, exported, title)) for m, title in titles.items()]
    return {"curves": [drawn for drawn in curves if drawn]}


def _of_evaluation(evaluation: Evaluation | None) -> dict[str, object]:
    if evaluation is None:
        return {}
    matrix, bins = evaluation["confusion"], evaluation["calibration"]
    order = views.ordered(evaluation["classes"])
    at = [evaluation["classes"].index(name) for name in order]
    return {
        "metrics": list(views.overall(evaluation).values()),
        "rows": views.class_rows(evaluation),
        "averages": views.average_rows(evaluation),
        "slice_metrics": views.slice_metrics(evaluation),
        "slices": views.slice_rows(evaluation),
        "confusion_plot": Markup(
            plots.confusion([[matrix[row][column] for column in at] for row in at], order)
            if matrix  # there is none of several labels
            else ""
        ),
        "calibration_plot": Markup(plots.calibration(bins)),
    }


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
