"""Two runs side by side: what came of them, and in what they differ."""

import json
from collections.abc import Callable, Mapping
from typing import TypedDict

from rich.console import Console
from rich.markup import escape

from darkroom.components.report import markdown as markup
from darkroom.components.report.facts import Facts, Failure, Verdict
from darkroom.components.tuning import trial_table
from darkroom.pipeline import tables

# Rows of a table: there may be a thousand classes.
_SHOWN = 40


class Run(Verdict):
    """What came of a run."""

    pipeline: str
    run: str
    failure: Failure | None


class _Values(TypedDict):
    name: str
    values: list[object]  # of the one and of the other; None: it has none


class Row(_Values, total=False):
    """A fact of two runs."""

    difference: float | None  # of a measured one: the other's minus the one's


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
    """The verdicts, metrics and seconds of two runs, and whatever else differs.

    Args:
      one: the facts of a report (``report.json``).
      other: those of another, of any pipeline.
    """

    def rows(values: Callable[[Facts], Mapping[str, object]]) -> list[Row]:
        first, second = values(one), values(other)
        names = {**first, **second}
        return [{"name": name, "values": [first.get(name), second.get(name)]} for name in names]

    return {
        "runs": [
            {
                "pipeline": facts["pipeline"],
                "run": facts["run"],
                "failure": facts["failure"],
                **facts["verdict"],
            }
            for facts in (one, other)
        ],
        "metrics": _measured(rows(_overall)),
        "recall": sorted(_measured(_different(rows(_recall))), key=_change),
        "data": _different(rows(_counts)),
        "settings": _different(rows(lambda facts: flat(facts["config"]))),
        "versions": _different(rows(_versions)),
        "seconds": rows(_seconds),
    }


def flat(tree: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """A tree's values by dotted key; lists are values."""
    values: dict[str, object] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            values |= flat(value, f"{prefix}{key}.")
        else:
            values[prefix + key] = value
    return values


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
    tables = [
        markup.table(heading, cells, words=1, most=len(cells))
        for heading, cells in _tables(comparison)
    ]
    return "\n\n".join(tables) + "\n"


def _tables(comparison: Comparison) -> list[tuple[list[str], list[list[str]]]]:
    """Heading and cells of each table that has any."""
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
    return [
        ([name, *runs, *["difference"] * ("difference" in rows[0])], _cells(rows))
        for name, rows in named.items()
        if rows
    ]


def _cells(rows: list[Row]) -> list[list[str]]:
    """As many rows as can be looked through."""
    cells = []
    for row in rows[:_SHOWN]:
        cells.append([row["name"], *map(_cell, row["values"])])
        if "difference" in row:
            change = row["difference"]
            cells[-1].append("" if change is None else f"{change:+.4g}")
    if len(rows) > _SHOWN:
        empty = [""] * (len(cells[0]) - 1)
        cells.append([f"and {len(rows) - _SHOWN:,} more in --json", *empty])
    return cells


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
    """Sorts the largest change first, and what can't be compared last."""
    difference = row["difference"]
    return 1.0 if difference is None else -abs(difference)


def _overall(facts: Facts) -> dict[str, float | None]:
    evaluation = facts["evaluation"]
    return {name: row.value for name, row in evaluation.whole.items()} if evaluation else {}


def _recall(facts: Facts) -> dict[str, float | None]:
    metrics = facts["evaluation"].metrics if facts["evaluation"] else []
    recall = [row for row in metrics if row.metric == "recall" and row.slice is None]
    return {row.class_name: row.value for row in recall if row.class_name is not None}


def _counts(facts: Facts) -> dict[str, int]:
    counts = {}
    splits = (facts["data"] and facts["data"]["splits"]) or {}
    for name, split in splits.items():
        counts[f"{name} split"] = split["images"]
        counts |= {f"{name} split, {label}": count for label, count in split["classes"].items()}
    return counts


def _versions(facts: Facts) -> dict[str, object]:
    environment = facts["environment"]
    git = environment["git"]
    commit = git and {
        "commit": git["commit"],
        "branch": git["branch"],
        "uncommitted changes": git["changed"],
    }
    return {**environment["versions"], **(commit or {})}


def _seconds(facts: Facts) -> dict[str, float | str]:
    return {
        node["node"]: "cached" if node["state"] == "cached" else node["seconds"]
        for node in facts["lineage"]
    }
