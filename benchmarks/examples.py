"""The data nodes on CIFAR-10, inspection included, against TFX's own; and at ten times the data.

ImportExampleGen, StatisticsGen, SchemaGen and ExampleValidator, both sides with in-memory Beam.
Larger data are the same files many times.
"""

import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import examples_pipeline
import measure


def main() -> None:
    """Runs the sides in turn and reports medians, and the median of the ratios of each turn."""
    parser = measure.arguments(__doc__)
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="runs of each side")
    parser.add_argument("--times", type=int, default=10, metavar="N", help="size of larger data")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        once = options.data / "cifar10"
        many = Path(folder) / "many"
        _repeat(once, many, options.times)
        turns = [
            {
                "stock": _run("stock", once),
                "darkroom": _run("darkroom", once),
                f"darkroom, {options.times} times the data": _run("darkroom", many),
            }
            for _ in range(options.repeat)
        ]
    measure.report(__file__, [_row(side, turns) for side in turns[0]])


def _repeat(data: Path, target: Path, times: int) -> None:
    """Links to the same files under many names."""
    for file in data.glob("*/*"):
        folder = target / file.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(times):
            (folder / f"{number:03}-{file.name}").symlink_to(file)


def _run(side: str, data: Path) -> dict[str, float]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        run = measure.run(examples_pipeline.command(side, data), Path(folder))
    return {"peak": run.peak_rss_bytes, "process": run.seconds, **run.result()}


def _row(side: str, turns: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    def middle(key: str) -> float:
        return median(turn[side][key] for turn in turns)

    def ratio(key: str, other: str) -> float:
        return round(median(turn[side][key] / turn[other][key] for turn in turns), 2)

    return {
        "side": side,
        "nodes_seconds": round(middle("nodes_seconds"), 2),
        "process_seconds": round(middle("process"), 2),
        "peak_gib": round(middle("peak") / measure.GIB, 2),
        "times_stock": ratio("nodes_seconds", "stock"),
        "times_darkroom": ratio("nodes_seconds", "darkroom"),
        "memory_times_darkroom": ratio("peak", "darkroom"),
        "runs": " ".join(f"{turn[side]['nodes_seconds']:.1f}" for turn in turns),
    }


if __name__ == "__main__":
    main()
