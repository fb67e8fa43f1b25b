"""What a report says, the same on the page and in a comment: verdict, numbers, tables of words.

The page has each of these functions as a filter.
"""

import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import NamedTuple, TypeGuard

from darkroom.components.evaluation.artifacts import Check, MetricRow
from darkroom.components.evaluation.metric_names import OF_NUMBERS, is_better
from darkroom.components.report.facts import Data, Evaluation, Facts, Feature, Search, Serving
from darkroom.components.runs.environment import Environment
from darkroom.components.tuning import trial_table
from darkroom.components.tuning.tuner_results import TrialRow

NOTHING = "–"
_OF_ROWS = ("precision", "recall", "f1")
# Metrics of a slice; nobody reads more columns than that.
_OF_SLICES = ("accuracy", "macro_f1", "auc", "loss", *OF_NUMBERS)
_WRITTEN = {"auc": "AUC", "f1": "F1", "mae": "MAE", "rmse": "RMSE", "r2": "R²"}
# A threshold's bound in words, before its limit.
_BOUNDS = {
    "min": "at least",
    "max": "at most",
    "max_drop": "lower than the baseline by at most",
    "max_rise": "higher than the baseline by at most",
}
_OPPOSITE = {"max_drop": "higher", "max_rise": "lower"}


class Verdict(NamedTuple):
    """What became of the model, in large words."""

    tone: str  # good, bad or open
    sign: str  # says it without colour
    words: str
    sentence: str


class ClassRow(NamedTuple):
    """A line of scikit-learn's classification_report; shares, None where not defined."""

    name: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int | None
    baseline_f1: float | None
    recall_interval: str


def verdict(facts: Facts) -> Verdict:
    """The run's end: a failed node comes before all that was decided until then."""
    failure, decided = facts["failure"], facts["verdict"]
    stays = "What was pushed before stays as it was."
    if failure is not None:
        return Verdict("bad", "✗", f"{failure['node']} failed", failure["sentence"])
    if decided["blessed"] is None:
        return Verdict("open", "?", "Not evaluated", "The run didn't get to a verdict.")
    if not decided["blessed"]:
        return Verdict("bad", "✗", "Not blessed", stays)
    if decided["servable"] is False:
        return Verdict("bad", "✗", "Blessed by Evaluator, not for serving", stays)
    if decided["pushed_version"] is None:
        return Verdict("good", "✓", "Blessed", "Nothing was pushed.")
    return Verdict("good", "✓", "Blessed and pushed", f"Version {decided['pushed_version']}.")


def key_numbers(facts: Facts) -> Iterator[tuple[str, str, str]]:
    """The few numbers that matter, of what the run got to: name, value, perhaps a note."""
    evaluation = facts["evaluation"]
    if evaluation is not None:
        metrics = evaluation.whole
        shown = ("accuracy", "macro_f1", "mae", "r2", "coverage")
        for row in (metrics[name] for name in shown if name in metrics):
            changed, _ = change(row)
            note = f"{changed} against the baseline"
            if changed == NOTHING:
                note = interval(row).strip(NOTHING)
            yield (metric_name(row.metric), number(row.value), note)
        rows = class_rows(evaluation)
        if recalls := [(row.recall, row.name) for row in rows if row.recall is not None]:
            recall, weakest = min(recalls, key=lambda pair: pair[0])
            yield ("Lowest recall", number(recall, 3), weakest)
    if (data := facts["data"]) is not None:
        images = {name: split["images"] for name, split in data["splits"].items()}
        others = ", ".join(f"{count(n)} {name}" for name, n in images.items() if name != "train")
        if "train" in images:
            yield ("Train images", count(images["train"]), others)
    if (model := facts["model"]) is not None:
        note = f"{count(model['parameters'])} parameters"
        yield ("Model", f"{number(model['size_mib'], 1)} MiB", note)
    if evaluation is not None and (latency := evaluation.latency):
        note = f"{number(latency.p99_ms, 1)} ms in 1 of 100 requests"
        yield ("Median latency", f"{number(latency.p50_ms, 1)} ms", note)
    if seconds := [node["seconds"] for node in facts["lineage"] if node["seconds"] is not None]:
        nodes = "1 node" if len(seconds) == 1 else f"{len(seconds)} nodes"
        yield ("Time", duration(sum(seconds)), f"in {nodes}")


def served(serving: Serving | None) -> list[tuple[str, str]]:
    """What ServingValidator measured of a server with the model, each under its name."""
    if serving is None or "server" not in serving:
        return []
    measured = [
        ("ready after", f"{number(serving['ready_seconds'], 1)} s"),
        ("memory", f"{count(round(serving['memory_mib']))} MiB"),
    ]
    for name, words in (("grpc", "over gRPC"), ("rest", "over REST")):
        latency = serving["latency"][name]
        median, tail = (f"{number(latency[key], 1)} ms" for key in ("p50_ms", "p99_ms"))
        measured.append((words, f"{median} in the median, {tail} at the 99th percentile"))
    difference, images = serving["largest_difference"], count(serving["images"])
    measured.append(("scores", f"of {images} images at most {difference:.1g} off the model's own"))
    return measured


def hyperparameters(search: Search) -> dict[str, str]:
    """Short names of the hyperparameters that its trials have, by key."""
    rows = [trial(row).hyperparameters for row in search["rows"]]
    return trial_table.short_names(list(dict.fromkeys(key for row in rows for key in row)))


def trial(row: Mapping[str, object]) -> TrialRow:
    """Reads a trial from its row in a report's facts."""
    return TrialRow.of(row)


def class_rows(evaluation: Evaluation) -> list[ClassRow]:
    """A row for each class, in the order of ``ordered``; none of numbers."""
    if evaluation.numbers:
        return []
    by_class: dict[str, dict[str, MetricRow]] = {name: {} for name in ordered(evaluation.classes)}
    for row in evaluation.metrics:
        if row.class_name in by_class and not row.slice:
            by_class[row.class_name][row.metric] = row
    return [_class_row(name, metrics) for name, metrics in by_class.items()]


def number_rows(evaluation: Evaluation) -> list[list[str]]:
    """Of several numbers, for each its name and ``OF_NUMBERS``; of one the whole says it."""
    if not evaluation.numbers or len(evaluation.classes) < 2:
        return []
    values = {
        (row.class_name, row.metric): row.value for row in evaluation.metrics if not row.slice
    }
    return [
        [name, *(number(values.get((name, metric))) for metric in OF_NUMBERS)]
        for name in evaluation.classes
    ]


def average_rows(evaluation: Evaluation) -> list[ClassRow]:
    """The averages below the classes, as far as they were computed."""
    rows, metrics = [], evaluation.whole
    for kind in ("micro", "macro", "weighted"):
        of_kind = {n: metrics[f"{kind}_{n}"] for n in _OF_ROWS if f"{kind}_{n}" in metrics}
        if of_kind:
            row = _class_row(f"{kind} average", of_kind)
            rows.append(row._replace(support=evaluation.examples))
    return rows


def _class_row(name: str, metrics: Mapping[str, MetricRow]) -> ClassRow:
    precision, recall, f1 = (metrics.get(key, MetricRow(metric=key)) for key in _OF_ROWS)
    support = next((metrics[key].examples for key in _OF_ROWS if key in metrics), None)
    values = (precision.value, recall.value, f1.value)
    return ClassRow(name, *values, support, f1.baseline, interval(recall))


def slice_metrics(evaluation: Evaluation) -> list[str]:
    """The metrics that have a column in the table of slices."""
    names = {row.metric for row in evaluation.metrics if row.slice}
    return [name for name in _OF_SLICES if name in names]


def slice_rows(evaluation: Evaluation) -> list[tuple[list[str], bool | None]]:
    """A row for each slice: name, examples, ``slice_metrics``, the interval of ``main_metric``.

    With each, whether that interval is wholly worse than the value of all; None: there is none.
    """
    main = main_metric(evaluation)
    slices: dict[str, dict[str, MetricRow]] = {}
    for row in evaluation.metrics:
        if row.slice and not row.class_name:
            slices.setdefault(slice_name(row.slice), {})[row.metric] = row
    nothing, columns = MetricRow(metric=main), slice_metrics(evaluation)
    everywhere = evaluation.whole.get(main, nothing).value
    rows = []
    for name, metrics in slices.items():
        of_main = metrics.get(main, nothing)
        best, below = of_main.low if evaluation.numbers else of_main.high, None
        if _is_number(best) and _is_number(everywhere):
            below = best > everywhere if evaluation.numbers else best < everywhere
        examples = max(row.examples for row in metrics.values())
        shown = [metrics.get(key, nothing).value for key in columns]
        rows.append(([name, count(examples), *map(number, shown), interval(of_main)], below))
    return rows


def main_metric(evaluation: Evaluation) -> str:
    """The metric by which slices are compared."""
    return "mae" if evaluation.numbers else "accuracy"


def slice_name(values: dict[str, str]) -> str:
    """A slice as ``key = value``."""
    return ", ".join(f"{key} = {value}" for key, value in values.items())


def subject(threshold: Check) -> str:
    """What a threshold is about: metric, class, slice."""
    words = metric_name(threshold.metric)
    if threshold.class_name is not None:
        words += f" of {threshold.class_name}"
    return f"{words} where {slice_name(threshold.slice)}" if threshold.slice else words


def bound(threshold: Check) -> str:
    """What a threshold asks for."""
    words, limit = _BOUNDS[threshold.bound], threshold.limit
    if limit < 0 and threshold.bound in _OPPOSITE:  # of a baseline that must be surpassed
        words, limit = f"{_OPPOSITE[threshold.bound]} than the baseline by at least", -limit
    return f"{words} {short(limit)}"


def thresholds(evaluation: Evaluation) -> list[list[str]]:
    """Cells of a row for each: missed ones first, then kept ones, then what can't be compared."""
    outcomes = {False: "✗ missed", True: "✓ passed", None: "– not judged"}
    return [
        [
            words,
            subject(one),
            bound(one),
            number(one.value),
            threshold_interval(one),
            number(one.baseline),
            count(one.examples),
        ]
        for passed, words in outcomes.items()
        for one in evaluation.thresholds
        if one.passed is passed
    ]


def threshold_interval(threshold: Check) -> str:
    """The confidence interval of what a threshold bounds: the value, or its change."""
    if threshold.bound not in _OPPOSITE:
        return interval(threshold)
    low, high = threshold.difference_low, threshold.difference_high
    if not _is_number(low) or not _is_number(high):
        return NOTHING
    return f"change {_signed(low, 3)} to {_signed(high, 3)}"


def change(row: MetricRow) -> tuple[str, str]:
    """A metric less the baseline's, and whether that is better, worse or same; else a dash."""
    difference = row.difference
    if not _is_number(difference):
        return NOTHING, ""
    is_same = abs(difference) < 0.00005
    words = {True: "better", False: "worse", None: ""}[is_better(row.metric, difference)]
    return ("±0", words and "same") if is_same else (_signed(difference), words)


def ordered(classes: list[str]) -> list[str]:
    """Classes as scikit-learn has them: sorted, numbers by value."""
    return sorted(classes, key=int if all(map(str.isdecimal, classes)) else None)


def all_classes(data: Data) -> list[str]:
    """The classes of all splits together, in the order of ``ordered``."""
    return ordered(list({name for split in data["splits"].values() for name in split["classes"]}))


def features(data: Data) -> tuple[list[Feature], list[str]]:
    """The features to draw, and the name and value of those that have but one."""
    varied, constant = [], []
    for feature in data["features"]:
        values: set[str | float] = set()
        for split in feature["splits"].values():
            values.update(split["values"] if "values" in split else (split["min"], split["max"]))
        if len(values) == 1:
            value = values.pop()
            words = value if isinstance(value, str) else short(value)
            constant.append(f"{feature['name']} {words}")
        elif values:
            varied.append(feature)
    return varied, constant


def metric_name(metric: str) -> str:
    """A metric as people write it."""
    words = " ".join(_WRITTEN.get(word, word) for word in metric.split("_"))
    return words[:1].upper() + words[1:]


def number(value: float | None, digits: int = 4) -> str:
    """A number with ``digits`` decimal places; a dash where there is none."""
    return f"{value:,.{digits}f}" if _is_number(value) else NOTHING


def short(value: float | None) -> str:
    """A number without zeros at its end."""
    return f"{value:.4g}" if _is_number(value) else NOTHING


def count(value: float | None) -> str:
    """A whole number with its thousands apart."""
    return number(value, 0)


def interval(row: MetricRow) -> str:
    """The confidence interval of a value; a dash where none was computed."""
    if not _is_number(row.low) or not _is_number(row.high):
        return NOTHING
    return f"{number(row.low, 3)} to {number(row.high, 3)}"


def duration(seconds: float | None) -> str:
    """Seconds as people say them."""
    if seconds is None:
        return NOTHING
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min" + f" {rest} s" * (minutes < 10)
    return f"{minutes // 60} h {minutes % 60} min"


def moment(written: str) -> str:
    """An ISO 8601 time as people read it."""
    time = datetime.fromisoformat(written)
    zone = f" {time.tzname()}" if time.tzinfo else ""
    return f"{time.day} {time:%B %Y, %H:%M}{zone}"


def git(environment: Environment) -> str:
    """The commit and branch of the code; empty where that isn't known."""
    if (head := environment["git"]) is None:
        return ""
    changed = ", with changes that were not committed" if head["changed"] else ""
    branch = f" on {head['branch']}" if head["branch"] else ""  # CI checks a commit out
    return f"{head['commit'][:10]}{branch}{changed}"


def _signed(value: float, digits: int = 4) -> str:
    return f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _is_number(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)
