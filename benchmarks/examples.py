"""The data nodes on CIFAR-10, inspection included, against TFX's own; and at ten times the data.

ImportExampleGen, StatisticsGen, SchemaGen and ExampleValidator, both sides with in-memory Beam.
Larger data are the same files many times.
"""

from pathlib import Path
from typing import Any

import measure


def main() -> None:
    """Runs the sides in turn and reports medians, and the median of the ratios of each turn."""
    parser = measure.Parser(__doc__)
    parser.add_size("--repeat", 3, 1, "runs of each side")
    parser.add_size("--times", 10, 2, "size of larger data")
    options = parser.parse_args()
    with measure.folder() as folder:
        once = options.data / "cifar10"
        many = folder / "many"
        _repeat(once, many, options.times)
        turns = measure.Turns(
            [
                {
                    "stock": _run("stock", once),
                    "darkroom": _run("darkroom", once),
                    f"darkroom, {options.times} times the data": _run("darkroom", many),
                }
                for _ in range(options.repeat)
            ]
        )
    rows = turns.rows(
        "nodes_seconds",
        "process_seconds",
        "peak_gib",
        times_stock=("nodes_seconds", "stock"),
        times_darkroom=("nodes_seconds", "darkroom"),
        memory_times_darkroom=("peak_gib", "darkroom"),
    )
    measure.report(options, rows)


def _repeat(data: Path, target: Path, times: int) -> None:
    """Links to the same files under many names."""
    for file in data.glob("*/*"):
        folder = target / file.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(times):
            (folder / f"{number:03}-{file.name}").symlink_to(file)


def _run(side: str, data: Path) -> dict[str, Any]:
    run = measure.side("examples", side, data)
    return {"peak_gib": run.peak_gib, "process_seconds": run.seconds, **run.result()}


if __name__ == "__main__":
    main()
