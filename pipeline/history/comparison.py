"""Two runs side by side: what came of them, and in what they differ."""

import json
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from darkroom.components.report import markup
from darkroom.components.report.facts import Facts, Metric
from darkroom.components.tuning import trial_table

# Rows of a table: there may be a thousand classes.
_SHOWN = 40


def compare(one: Facts, other: Facts) -> dict[str, Any]:
    """The differences of two runs.

    Args:
      one: the facts of a report (``report.json``).
      other: those of another, of any pipeline.

    Returns:
      ``runs`` with the verdicts of both; ``metrics`` with their ``difference``, the other's minus
      the one's; and, where they differ, ``recall`` by class (the largest change first), ``data``
      counts, ``settings`` of the configuration, ``versions`` and commits; ``seconds`` by node. Each
      is a list of dicts with ``name`` and ``values``, a pair; None stands for what a run doesn't
      have.
    """
    pair = (one, other)
    return {
        "runs": [
            {
                "pipeline": facts["pipeline"],
                "run": facts["run"],
                "failure": facts["failure"],
                **facts["verdict"],
            }
            for facts in pair
        ],
        "metrics": _measured(_side_by_side(map(_overall, pair))),
        "recall": sorted(_measured(_different(_side_by_side(map(_recall, pair)))), key=_change),
        "data": _different(_side_by_side(map(_counts, pair))),
        "settings": _different(_side_by_side(flat(facts["config"]) for facts in pair)),
        "versions": _different(_side_by_side(map(_versions, pair))),
        "seconds": _side_by_side(map(_seconds, pair)),
    }


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A tree's values by dotted key; lists are values."""
    values: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            values |= flat(value, f"{prefix}{key}.")
        else:
            values[prefix + key] = value
    return values


def show(console: Console, found: dict[str, Any]) -> None:
    """The comparison for people."""
    one, other = _headings(found)
    for name, rows in _tables(found):
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        numeric = "difference" in rows[0]
        for heading in (name, one, other, *["difference"] * numeric):
            table.add_column(escape(heading), justify="left" if heading == name else "right")
        for row in rows:
            table.add_row(*map(escape, _cells(row)))
        console.print(table)
        console.print()


def markdown(found: dict[str, Any]) -> str:
    """The comparison as tables of GitHub's Markdown."""
    runs = _headings(found)
    tables = [
        markup.table(
            [name, *runs, *["difference"] * ("difference" in rows[0])],
            [_cells(row) for row in rows],
            words=1,
            most=len(rows),
        )
        for name, rows in _tables(found)
    ]
    return "\n\n".join(tables) + "\n"


def _headings(found: dict[str, Any]) -> tuple[str, str]:
    """The runs' names, with their pipelines' where these differ."""
    one, other = found["runs"]
    if one["pipeline"] == other["pipeline"]:
        return one["run"], other["run"]
    return f"{one['pipeline']} {one['run']}", f"{other['pipeline']} {other['run']}"


def _tables(found: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Name and rows of each table that has any."""
    one, other = found["runs"]
    verdicts = [
        {"name": "blessed", "values": [_blessed(run) for run in (one, other)]},
        {"name": "pushed version", "values": [run["pushed_version"] for run in (one, other)]},
    ]
    named = {
        "verdict": verdicts,
        "metric": found["metrics"],
        "recall of": found["recall"],
        "images": found["data"],
        "setting": found["settings"],
        "version": found["versions"],
        "seconds": found["seconds"],
    }
    return [(name, _first(rows)) for name, rows in named.items() if rows]


def _first(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As many rows as can be looked through."""
    more = len(rows) - _SHOWN
    if more <= 0:
        return rows
    ellipsis = {**rows[0], "name": f"and {more:,} more in --json", "values": ["", ""]}
    if "difference" in ellipsis:
        ellipsis["difference"] = None
    return [*rows[:_SHOWN], ellipsis]


def _change(row: dict[str, Any]) -> float:
    """Sorts the largest change first, and what can't be compared last."""
    return 1.0 if row["difference"] is None else -abs(row["difference"])


def _blessed(run: dict[str, Any]) -> str:
    if run["failure"] is not None:
        return f"{run['failure']['node']} failed"
    if run["blessed"] is None:
        return "not evaluated"
    return "yes" if run["blessed"] else f"no: {'; '.join(run['reasons'])}"


def _cells(row: dict[str, Any]) -> list[str]:
    cells = [row["name"], *map(_cell, row["values"])]
    if "difference" in row:
        change = row["difference"]
        cells.append("" if change is None else f"{change:+.4g}")
    return cells


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return " ".join(trial_table.brief(value).split())


def _side_by_side(values: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    one, other = values
    names = dict.fromkeys([*one, *other])
    return [{"name": name, "values": [one.get(name), other.get(name)]} for name in names]


def _different(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["values"][0] != row["values"][1]]


def _measured(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    measured = []
    for row in rows:
        one, other = row["values"]
        difference = None if None in (one, other) else other - one
        measured.append({**row, "difference": difference})
    return measured


def _overall(facts: Facts) -> dict[str, float | None]:
    metrics = _metrics(facts)
    return {m["metric"]: m["value"] for m in metrics if m["class"] is None and m["slice"] is None}


def _recall(facts: Facts) -> dict[str, float | None]:
    return {
        m["class"]: m["value"]
        for m in _metrics(facts)
        if m["metric"] == "recall" and m["class"] is not None and m["slice"] is None
    }


def _metrics(facts: Facts) -> list[Metric]:
    evaluation = facts["evaluation"]
    return evaluation.get("metrics", []) if evaluation is not None else []


def _counts(facts: Facts) -> dict[str, int]:
    data, counts = facts["data"], {}
    for name, split in (data["splits"] if data is not None else {}).items():
        counts[f"{name} split"] = split["images"]
        counts |= {f"{name} split, {label}": count for label, count in split["classes"].items()}
    return counts


def _versions(facts: Facts) -> dict[str, object]:
    environment = facts["environment"]
    git = environment["git"]
    return {
        **environment["versions"],
        "commit": git and git["commit"],
        "branch": git and git["branch"],
        "uncommitted changes": git and git["changed"],
    }


def _seconds(facts: Facts) -> dict[str, object]:
    return {
        node["node"]: "cached" if node["state"] == "cached" else node["seconds"]
        for node in facts["lineage"]
    }
