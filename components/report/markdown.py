"""The report as GitHub's Markdown, for a comment on a pull request. Light to import."""

import re
from collections.abc import Sequence

from darkroom.components.evaluation.metric_names import OF_NUMBERS, OVERALL
from darkroom.components.report import views
from darkroom.components.report.facts import Data, Evaluation, Facts, Search, Training

LONG = 20  # a table of more rows is folded
_SPECIAL = re.compile(r"([\\`*_\[\]|~#])")
_METRICS = ("accuracy", "loss", "macro_f1", "weighted_f1", "micro_f1", "auc", "calibration_error")


def markdown(facts: Facts) -> str:
    """The report in short: verdict, thresholds, metrics, classes, data, training, lineage."""
    verdict = views.verdict(facts)
    written = {"Intended use": text(facts["intended_use"]), "Limits": text(facts["limits"])}
    lists = {
        "Data": _data(facts["data"]),
        "Search": _search(facts["search"]),
        "Training": _training(facts["training"]),
        "Model": _model(facts),
    }
    parts = [
        f"## {verdict.sign} {text(facts['pipeline'])}: {verdict.words}",
        text(verdict.sentence),
        bullets([*facts["verdict"]["reasons"], *facts["verdict"]["remarks"]]),
        *(f"### {head}\n\n{words}" for head, words in written.items() if words),
        *_evaluation(facts["evaluation"]),
        *(f"### {head}\n\n{bullets(lines)}" for head, lines in lists.items() if lines),
        *_lineage(facts),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _evaluation(evaluation: Evaluation | None) -> list[str]:
    if evaluation is None:
        return []
    thresholds = [cells[:-1] for cells in views.thresholds(evaluation)]
    metrics = [
        [
            views.metric_name(name),
            views.number(row.value),
            views.interval(row),
            views.number(row.baseline),
            " ".join(views.change(row)).rstrip(),
        ]
        for name, row in evaluation.whole.items()
        if name in _METRICS or name not in OVERALL  # the user's own
    ]
    averages = views.average_rows(evaluation)
    classes = [
        [
            row.name,
            *(views.number(value, 3) for value in (row.precision, row.recall, row.f1)),
            views.count(row.support),
        ]
        for row in [*views.class_rows(evaluation), *averages]
    ]
    examples = f"{views.count(evaluation.examples)} examples of the {evaluation.split} split"
    examples += f", against {evaluation.baseline.name}" if evaluation.baseline else ""
    percent = f"{views.short(evaluation.confidence * 100)} % interval"
    return [
        f"### Evaluation on {text(examples)}",
        table(["result", "metric", "must be", "value", percent, "baseline"], thresholds, 3),
        table(["metric", "value", percent, "baseline", "change"], metrics, 1),
        table(["number", *map(views.metric_name, OF_NUMBERS)], views.number_rows(evaluation), 1),
        table(
            ["class", "precision", "recall", "F1", "support"],
            classes,
            1,
            f"{len(evaluation.classes)} classes",
            LONG + len(averages),
        ),
    ]


def _data(data: Data | None) -> list[str]:
    if data is None:
        return []
    version = data.get("version")  # which earlier reports lack
    splits = [f"version {version}"] if version else []
    for name, split in data["splits"].items():
        counts = split["classes"].values()
        words = f"{name}: {views.count(split['images'])} images"
        if counts:
            ends = f"{views.count(min(counts))} to {views.count(max(counts))}"
            words += f", {len(counts)} classes of {ends}"
        splits.append(words)
    anomalies = [f"anomaly: {anomaly}" for anomaly in data["anomalies"]]
    return [*splits, *(anomalies or ["no anomalies"])]


def _search(search: Search | None) -> list[str]:
    if search is None:
        return []
    done = [row for row in search["rows"] if not views.trial(row).failed]
    best = ", ".join(f"{key} = {value}" for key, value in search["best"].items())
    words = [f"{len(done)} of {len(search['rows'])} trials finished, by {search['objective']}"]
    return [*words, *([f"best: {best}"] if best else [])]


def _training(training: Training | None) -> list[str]:
    if training is None:
        return []
    history, exported = training["history"], training["exported_epoch"]
    at = ", ".join(
        f"{name} {views.number(values[exported])}"
        for name, values in history.items()
        if name != "learning_rate"
    )
    words = f"epoch {exported + 1} of {len(history['loss'])} was exported: {at}"
    return [words, *training["diagnosis"]]


def _model(facts: Facts) -> list[str]:
    model, evaluation, serving = facts["model"], facts["evaluation"], facts["serving"]
    if model is None:
        return []
    words = [
        *([model["architecture"]] if model["architecture"] else []),
        f"{views.count(model['parameters'])} parameters",
        f"{views.number(model['size_mib'], 2)} MiB",
    ]
    if evaluation is not None and (latency := evaluation.latency):
        words.append(f"{views.number(latency.p50_ms, 1)} ms per request in the median")
    lines = [", ".join(words)]
    if serving is not None and (served := views.served(serving)):
        measured = "; ".join(f"{name} {value}" for name, value in served)
        lines.append(f"served by {serving['server']}: {measured}")
    return lines


def _lineage(facts: Facts) -> list[str]:
    nodes = [
        [node["node"], node["state"], node["result"], views.duration(node["seconds"])]
        for node in facts["lineage"]
    ]
    versions = facts["environment"]["versions"].items()
    commit = views.git(facts["environment"])
    return [
        "### Lineage",
        bullets(
            [
                f"run {facts['run']}, report of {views.moment(facts['created'])}",
                *([f"git commit {commit}"] if commit else []),
                ", ".join(f"{name} {version}" for name, version in versions),
            ]
        ),
        table(["node", "state", "result", "time"], nodes, 3, f"{len(nodes)} nodes", 0),
    ]


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    words: int,
    summary: str = "All of them",
    most: int = LONG,
) -> str:
    """A table; none without rows, folded under ``summary`` where it has more than ``most``.

    The first ``words`` columns hold words; numbers stand on the right.
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
