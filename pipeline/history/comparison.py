"""Two runs side by side: what came of them, and in what they differ."""

import json
from collections.abc import Iterator, Mapping
from typing import TypedDict

from rich.console import Console
from rich.markup import escape
from typing_extensions import NotRequired

from darkroom.components.report import markdown as markup
from darkroom.components.report.facts import Facts, Failure, Verdict, flat
from darkroom.components.tuning import trial_table
from darkroom.pipeline import tables

_SHOWN = 40  # rows of a table: there may be a thousand classes


class Run(Verdict):
    """What came of a run."""

    pipeline: str
    run: str
    failure: Failure | None


class Row(TypedDict):
    """A fact of two runs."""

    name: str
    values: list[object]  # of the one and of the other; None: it has none
    difference: NotRequired[float | None]  # of a measured one: the other's minus the one's


class Comparison(TypedDict):
    """The differences of two runs."""

    runs: list[Run]
    metrics: list[Row]
    recall: list[Row]  # by class, the largest change first
    data: list[Row]  # counts of images
    settings: list[Row]  # of the configuration
    versions: list[Row]  # and commits
    seconds: list[Row]  # by node


def compare(one: Facts, other: Facts) -> Comparison:
    """Two reports' facts, of any pipelines: verdicts, metrics, seconds, and what else differs."""
    first, second = _values(one), _values(other)

    def rows(key: str) -> list[Row]:
        names = {**first[key], **second[key]}
        pairs = {name: [first[key].get(name), second[key].get(name)] for name in names}
        return [{"name": name, "values": pair} for name, pair in pairs.items()]

    return {
        "runs": [
            {"pipeline": f["pipeline"], "run": f["run"], "failure": f["failure"], **f["verdict"]}
            for f in (one, other)
        ],
        "metrics": _measured(rows("metrics")),
        "recall": sorted(_measured(_different(rows("recall"))), key=_change),
        "data": _different(rows("data")),
        "settings": _different(rows("settings")),
        "versions": _different(rows("versions")),
        "seconds": rows("seconds"),
    }


def _values(facts: Facts) -> dict[str, Mapping[str, object]]:
    """What is compared, by the keys of a ``Comparison``; metrics of all examples."""
    evaluation, git = facts["evaluation"], facts["environment"]["git"]
    metrics = [row for row in evaluation.metrics if not row.slice] if evaluation else []
    images: dict[str, int] = {}
    for name, split in ((facts["data"] and facts["data"]["splits"]) or {}).items():
        images[f"{name} split"] = split["images"]
        images |= {f"{name} split, {label}": count for label, count in split["classes"].items()}
    versions: dict[str, object] = {**facts["environment"]["versions"]}
    if git is not None:
        versions |= {"commit": git["commit"], "branch": git["branch"]}
        versions["uncommitted changes"] = git["changed"]
    settings = flat(facts["config"])
    if evaluation is not None:
        settings["evaluation.split"] = evaluation.split  # which auto chose, too
    seconds = {"cached": "cached"}  # instead of those of a node in this state
    return {
        "metrics": {row.metric: row.value for row in metrics if row.class_name is None},
        "recall": {
            row.class_name: row.value
            for row in metrics
            if row.metric == "recall" and row.class_name is not None
        },
        "data": images,
        "settings": settings,
        "versions": versions,
        "seconds": {n["node"]: seconds.get(n["state"], n["seconds"]) for n in facts["lineage"]},
    }


def show(console: Console, comparison: Comparison) -> None:
    """The comparison for people."""
    for heading, cells in _tables(comparison):
        table = tables.plain(tables.APART)
        for number, word in enumerate(heading):
            table.add_column(escape(word), justify="right" if number else "left")
        for row in cells:
            table.add_row(*map(escape, row))
        console.print(table)
        console.print()


def markdown(comparison: Comparison) -> str:
    """The comparison as tables of GitHub's Markdown."""
    named = _tables(comparison)
    texts = (markup.table(head, cells, words=1, most=len(cells)) for head, cells in named)
    return "\n\n".join(texts) + "\n"


def _tables(comparison: Comparison) -> Iterator[tuple[list[str], list[list[str]]]]:
    one, other = comparison["runs"]
    runs = [one["run"], other["run"]]
    if one["pipeline"] != other["pipeline"]:
        runs = [f"{run['pipeline']} {run['run']}" for run in (one, other)]
    verdicts: list[Row] = [
        {"name": "blessed", "values": [_blessed(one), _blessed(other)]},
        {"name": "pushed version", "values": [one["pushed_version"], other["pushed_version"]]},
    ]
    named = {
        "verdict": verdicts,
        "metric": comparison["metrics"],
        "recall of": comparison["recall"],
        "images": comparison["data"],
        "setting": comparison["settings"],
        "version": comparison["versions"],
        "seconds": comparison["seconds"],
    }
    for name, rows in named.items():
        if not rows:
            continue
        heading = [name, *runs, *["difference"] * ("difference" in rows[0])]
        cells = [[row["name"], *map(_cell, row["values"])] for row in rows[:_SHOWN]]
        for row, line in zip(rows, cells, strict=False):
            if "difference" in row:
                change = row["difference"]
                line.append("" if change is None else f"{change:+.4g}")
        if len(rows) > _SHOWN:
            more = f"and {len(rows) - _SHOWN:,} more in --json"
            cells.append([more, *[""] * (len(heading) - 1)])
        yield heading, cells


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return " ".join(trial_table.brief(value).split())


def _blessed(run: Run) -> str:
    if run["failure"] is not None:
        return f"{run['failure']['node']} failed"
    if run["blessed"] is None:
        return "not evaluated"
    return "yes" if run["blessed"] else f"no: {'; '.join(run['reasons'])}"


def _different(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row["values"][0] != row["values"][1]]


def _measured(rows: list[Row]) -> list[Row]:
    for row in rows:
        one, other = row["values"]
        row["difference"] = None
        if isinstance(one, (int, float)) and isinstance(other, (int, float)):
            row["difference"] = other - one
    return rows


def _change(row: Row) -> float:
    difference = row["difference"]
    return 1.0 if difference is None else -abs(difference)
