"""What a report says, the same on the page and in a comment: verdict, numbers, tables of words."""

import math
from datetime import datetime
from typing import NamedTuple, TypeGuard

from darkroom.components.evaluation.metrics import OF_CLASSES, OVERALL
from darkroom.components.report.facts import (
    Data,
    Evaluation,
    Facts,
    Feature,
    Metric,
    Serving,
    Threshold,
)
from darkroom.components.runs.environment import Environment

NOTHING = "–"
# Of our own metrics: whether more of a user's is better nobody has said.
_KNOWN = {*OVERALL, *OF_CLASSES}
_LOWER_IS_BETTER = {"loss", "calibration_error"}
_OF_ROWS = ("precision", "recall", "f1")
# Of a slice; more columns than that nobody reads.
_OF_SLICES = ("accuracy", "macro_f1", "auc", "loss")
_WRITTEN = {"auc": "AUC", "f1": "F1"}
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


class Number(NamedTuple):
    """One of the few numbers that matter."""

    name: str
    value: str
    note: str  # may be empty


class Change(NamedTuple):
    """A metric beside the baseline's."""

    value: str  # signed
    words: str  # better, worse or same; empty of a user's metric


class ClassRow(NamedTuple):
    """A line of scikit-learn's classification_report; shares, None where not defined."""

    name: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int | None
    baseline_f1: float | None
    recall_interval: str


class SliceRow(NamedTuple):
    """A part of the split: a metric for each of ``slice_metrics``, None where there is none."""

    name: str
    examples: int
    metrics: list[Metric | None]
    interval: str  # of the accuracy
    below: bool | None  # its whole interval is below the accuracy of all; None: there is none


def verdict(facts: Facts) -> Verdict:
    """The run's end: a failed node comes before all that was decided until then."""
    failure, decided = facts["failure"], facts["verdict"]
    if failure is not None:
        return Verdict("bad", "✗", f"{failure['node']} failed", failure["sentence"])
    if decided["blessed"] is None:
        return Verdict("open", "?", "Not evaluated", "The run didn't get to a verdict.")
    if not decided["blessed"]:
        return Verdict("bad", "✗", "Not blessed", "What was pushed before stays as it was.")
    if decided["servable"] is False:
        words = "Blessed by Evaluator, not for serving"
        return Verdict("bad", "✗", words, "What was pushed before stays as it was.")
    if decided["pushed_version"] is None:
        return Verdict("good", "✓", "Blessed", "Nothing was pushed.")
    return Verdict("good", "✓", "Blessed and pushed", f"Version {decided['pushed_version']}.")


def key_numbers(facts: Facts) -> list[Number]:
    """The few numbers that matter, of what the run got to."""
    numbers = []
    if (evaluation := facts["evaluation"]) is not None:
        metrics = overall(evaluation)
        for name in ("accuracy", "macro_f1"):
            if name in metrics:
                numbers.append(_of_metric(metrics[name]))
        recalls = [row for row in class_rows(evaluation) if row.recall is not None]
        if recalls:
            weakest = min(recalls, key=lambda row: row.recall or 0.0)
            numbers.append(Number("Lowest recall", number(weakest.recall, 3), weakest.name))
    if (data := facts["data"]) is not None:
        images = {name: split["images"] for name, split in data["splits"].items()}
        others = ", ".join(f"{count(n)} {name}" for name, n in images.items() if name != "train")
        if "train" in images:
            numbers.append(Number("Train images", count(images["train"]), others))
    if (model := facts["model"]) is not None:
        note = f"{count(model['parameters'])} parameters"
        numbers.append(Number("Model", f"{number(model['size_mib'], 1)} MiB", note))
    if evaluation is not None and (latency := evaluation.get("latency")):
        note = f"{number(latency['p99_ms'], 1)} ms in 1 of 100 requests"
        numbers.append(Number("Median latency", f"{number(latency['p50_ms'], 1)} ms", note))
    seconds = [node["seconds"] for node in facts["lineage"] if node["seconds"] is not None]
    if seconds:
        nodes = "1 node" if len(seconds) == 1 else f"{len(seconds)} nodes"
        numbers.append(Number("Time", duration(sum(seconds)), f"in {nodes}"))
    return numbers


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


def _of_metric(row: Metric) -> Number:
    note = ""
    if (changed := change(row)) is not None:
        note = f"{changed.value} against the baseline"
    elif row["low"] is not None and row["high"] is not None:
        note = interval(row)
    return Number(metric_name(row["metric"]), number(row["value"]), note)


def overall(evaluation: Evaluation) -> dict[str, Metric]:
    """The metrics of the whole split by name."""
    rows = [row for row in evaluation["metrics"] if not row["class"] and not row["slice"]]
    return {row["metric"]: row for row in rows}


def class_rows(evaluation: Evaluation) -> list[ClassRow]:
    """A row for each class, in the order of ``ordered``."""
    by_class: dict[str, dict[str, Metric]] = {}
    for metric in evaluation["metrics"]:
        if metric["class"] is not None and not metric["slice"]:
            by_class.setdefault(metric["class"], {})[metric["metric"]] = metric
    return [_class_row(name, by_class.get(name, {})) for name in ordered(evaluation["classes"])]


def average_rows(evaluation: Evaluation) -> list[ClassRow]:
    """The averages below the classes, as far as they were computed."""
    metrics = overall(evaluation)
    rows = []
    for kind in ("micro", "macro", "weighted"):
        names = {f"{kind}_{name}": name for name in _OF_ROWS}
        of_kind = {names[name]: metric for name, metric in metrics.items() if name in names}
        if of_kind:
            row = _class_row(f"{kind} average", of_kind)
            rows.append(row._replace(support=evaluation["examples"]))
    return rows


def _class_row(name: str, metrics: dict[str, Metric]) -> ClassRow:
    values = {key: metrics[key]["value"] for key in _OF_ROWS if key in metrics}
    return ClassRow(
        name,
        values.get("precision"),
        values.get("recall"),
        values.get("f1"),
        support=next((metrics[key]["examples"] for key in values), None),
        baseline_f1=metrics["f1"]["baseline"] if "f1" in metrics else None,
        recall_interval=interval(metrics["recall"]) if "recall" in metrics else NOTHING,
    )


def slice_metrics(evaluation: Evaluation) -> list[str]:
    """The metrics of which slices have a column."""
    names = {row["metric"] for row in evaluation["metrics"] if row["slice"]}
    return [name for name in _OF_SLICES if name in names]


def slice_rows(evaluation: Evaluation) -> list[SliceRow]:
    """A row for each slice, as they were evaluated."""
    names = slice_metrics(evaluation)
    slices: dict[str, dict[str, Metric]] = {}
    for row in evaluation["metrics"]:
        if row["slice"] and not row["class"]:
            slices.setdefault(slice_name(row["slice"]), {})[row["metric"]] = row
    whole = overall(evaluation).get("accuracy")
    everywhere = whole["value"] if whole else None
    rows = []
    for name, metrics in slices.items():
        accuracy = metrics.get("accuracy")
        high = accuracy["high"] if accuracy else None
        below = high < everywhere if _is_number(high) and _is_number(everywhere) else None
        examples = max(metric["examples"] for metric in metrics.values())
        certain = interval(accuracy) if accuracy else NOTHING
        rows.append(SliceRow(name, examples, [metrics.get(key) for key in names], certain, below))
    return rows


def slice_name(values: dict[str, str]) -> str:
    """A slice as ``key = value``."""
    return ", ".join(f"{key} = {value}" for key, value in values.items())


def subject(threshold: Threshold) -> str:
    """Of what a threshold is: metric, class, slice."""
    words = metric_name(threshold["metric"])
    if threshold["class"] is not None:
        words += f" of {threshold['class']}"
    if threshold["slice"]:
        words += f" where {slice_name(threshold['slice'])}"
    return words


def bound(threshold: Threshold) -> str:
    """What a threshold asks for."""
    words, limit = _BOUNDS[threshold["bound"]], threshold["limit"]
    if limit < 0 and threshold["bound"] in _OPPOSITE:  # of a baseline that must be surpassed
        words, limit = f"{_OPPOSITE[threshold['bound']]} than the baseline by at least", -limit
    return f"{words} {short(limit)}"


def thresholds(evaluation: Evaluation) -> list[Threshold]:
    """The thresholds, missed ones first, then kept ones, then what nothing was compared with."""
    places = {False: 0, True: 1, None: 2}
    return sorted(evaluation["thresholds"], key=lambda one: places[one["passed"]])


def outcome(threshold: Threshold) -> str:
    """What became of a threshold, with a sign."""
    return {True: "✓ passed", False: "✗ missed", None: "– not judged"}[threshold["passed"]]


def threshold_interval(threshold: Threshold) -> str:
    """The confidence interval of what a threshold bounds: the value, or its change."""
    if threshold["bound"] not in _OPPOSITE:
        return interval(threshold)
    low, high = threshold["difference_low"], threshold["difference_high"]
    if not _is_number(low) or not _is_number(high):
        return NOTHING
    return f"change {_signed(low, 3)} to {_signed(high, 3)}"


def change(row: Metric) -> Change | None:
    """A metric less the baseline's, on what both know; None where that can't be said."""
    difference = row["difference"]
    if not _is_number(difference):
        return None
    known = row["metric"] in _KNOWN
    if abs(difference) < 0.00005:
        return Change("±0", "same" if known else "")
    if not known:
        return Change(_signed(difference), "")
    better = (difference < 0) == (row["metric"] in _LOWER_IS_BETTER)
    return Change(_signed(difference), "better" if better else "worse")


def ordered(classes: list[str]) -> list[str]:
    """Classes as scikit-learn has them: sorted, numbers by value."""
    if all(name.isdecimal() for name in classes):
        return sorted(classes, key=int)
    return sorted(classes)


def features(data: Data) -> tuple[list[Feature], list[str]]:
    """The features to draw, and the name and value of those that have but one."""
    varied, constant = [], []
    for feature in data["features"]:
        values: set[str | float] = set()
        for split in feature["splits"].values():
            values.update(split["values"] if "values" in split else (split["min"], split["max"]))
        if len(values) == 1:
            value = values.pop()
            constant.append(f"{feature['name']} {_plain(value)}")
        elif values:
            varied.append(feature)
    return varied, constant


def metric_name(metric: str) -> str:
    """A metric as people write it."""
    words = " ".join(_WRITTEN.get(word, word) for word in metric.split("_"))
    return words[:1].upper() + words[1:]


def number(value: float | None, digits: int = 4) -> str:
    """A number with so many decimal places; a dash where there is none."""
    return f"{value:,.{digits}f}" if _is_number(value) else NOTHING


def short(value: float | None) -> str:
    """A number without zeros at its end."""
    return f"{value:.4g}" if _is_number(value) else NOTHING


def count(value: float | None) -> str:
    """A whole number with its thousands apart."""
    return f"{value:,.0f}" if _is_number(value) else NOTHING


def interval(row: Metric, digits: int = 3) -> str:
    """The confidence interval of a value; a dash where none was computed."""
    if not _is_number(row["low"]) or not _is_number(row["high"]):
        return NOTHING
    return f"{number(row['low'], digits)} to {number(row['high'], digits)}"


def duration(seconds: float | None) -> str:
    """Seconds as people say them."""
    if seconds is None:
        return NOTHING
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 10:
        return f"{minutes} min {rest} s"
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def moment(written: str) -> str:
    """An ISO 8601 time as people read it."""
    time = datetime.fromisoformat(written)
    zone = f" {time.tzname()}" if time.tzinfo else ""
    return f"{time.day} {time:%B %Y, %H:%M}{zone}"


def git(environment: Environment) -> str:
    """Of which commit the code was; empty where that isn't known."""
    head = environment["git"]
    if head is None:
        return ""
    changed = ", with changes that were not committed" if head["changed"] else ""
    branch = f" on {head['branch']}" if head["branch"] else ""  # CI checks a commit out
    return f"{head['commit'][:10]}{branch}{changed}"


def _signed(value: float, digits: int = 4) -> str:
    return f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _plain(value: str | float) -> str:
    return short(value) if isinstance(value, float) else str(value)


def _is_number(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)
