"""Writes the tables of docs/benchmarks.md from the JSON in results/.

A table stands between ``<!-- NAME -->`` and ``<!-- end -->``: rows of results/NAME.json, or with
``NAME.facts`` its single figures. After ``NAME:`` may come the columns, or else all are shown.
"""

import argparse
import json
import re
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
DOCUMENT = HERE.parent / "docs" / "benchmarks.md"
_MARKED = re.compile(
    r"(?P<begin><!-- (?P<name>\w+)(?P<facts>\.facts)?(?:: (?P<columns>[\w, ]+))? -->\n)"
    r".*?(?P<end><!-- end -->)",
    re.DOTALL,
)


def main() -> None:
    """The command."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    write()


def write() -> None:
    """Writes them."""
    text = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(with_tables(text), encoding="utf-8")


def with_tables(text: str) -> str:
    """A document with what is between its marks written anew."""
    return _MARKED.sub(_written, text)


def _written(mark: re.Match[str]) -> str:
    results = json.loads((RESULTS / f"{mark['name']}.json").read_text(encoding="utf-8"))
    if mark["facts"]:
        pairs = dict(flat(results["facts"]))
        rows = [{"what": name, "measured": value} for name, value in pairs.items()]
        text = _table(rows, ["what", "measured"])
    else:
        machine, commit = results["machine"], results["commit"]
        place = f"commit {commit[:12]}{'-dirty' * commit.endswith('-dirty')}" if commit else ""
        said = (f"`{results['command']}`", results["date"][:10], place,
                f"{machine['cores']} cores of {machine['cpu']}")  # fmt: skip
        columns = re.split(r",\s*", mark["columns"]) if mark["columns"] else []
        text = f"{', '.join(filter(None, said))}:\n\n{_table(results['rows'], columns)}"
    return f"{mark['begin']}\n{text}\n{mark['end']}"


def _table(rows: list[dict[str, Any]], columns: list[str]) -> str:
    columns = columns or list(rows[0])
    cells = [[heading(key) for key in columns], ["---"] * len(columns)]
    cells += [[shown(row[key]) for key in columns] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def print_table(rows: list[dict[str, Any]]) -> None:
    """Prints rows of the same keys, words to the left and numbers to the right."""
    table = [[heading(key) for key in rows[0]]]
    table += [[shown(value) for value in row.values()] for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        first, *others = (cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
        print("  ".join([first.strip().ljust(widths[0]), *others]))


def heading(key: str) -> str:
    """A figure's name in words."""
    units = {"us": "µs", "gib": "GiB", "mib": "MiB", "cpu": "CPU", "percent": "%", "grpc": "gRPC"}
    return " ".join(units.get(word, word) for word in key.split("_"))


def shown(value: Any) -> str:
    """A figure as people read it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and value:
        digits = next((n for limit, n in ((100, 0), (10, 1), (1, 2)) if abs(value) >= limit), 4)
        return f"{value:,.{digits}f}"
    if isinstance(value, int | float):
        return f"{value:,.0f}"
    if isinstance(value, list):
        return "; ".join(map(shown, value))
    return "" if value is None else str(value)


def flat(facts: dict[str, Any], name: str = "") -> list[tuple[str, Any]]:
    """Facts with their names in words, those of facts in facts too."""
    pairs: list[tuple[str, Any]] = []
    for key, value in facts.items():
        words = f"{name}, {heading(key)}" if name else heading(key)
        pairs += flat(value, words) if isinstance(value, dict) else [(words, value)]
    return pairs


if __name__ == "__main__":
    main()
