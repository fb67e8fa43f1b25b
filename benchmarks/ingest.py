"""``darkroom ingest`` of CIFAR-10's 50,000 JPEG files against a plain Python loop.

The loop verifies headers with PIL and writes one TFRecord file, in one process. darkroom decodes
every image, hashes its pixels, splits, shuffles, and writes an index.
"""

import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import measure

from darkroom.components.base import features, tfrecord

SCRIPT = Path(__file__).with_name("ingest_script.py")


def main() -> None:
    """Runs the sides in turn and reports medians, and the median of the ratios of each turn."""
    parser = measure.arguments(__doc__)
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="runs of each side")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        source = Path(folder) / "images"
        count = _write_files(options.data / "cifar10" / "train", source)
        turns = [{"plain loop": _plain(source), "darkroom ingest": _darkroom(source, count)}
                 for _ in range(options.repeat)]  # fmt: skip
    measure.report(__file__, [_row(side, turns, count) for side in turns[0]])


def _write_files(records: Path, target: Path) -> int:
    count = 0
    for file in sorted(records.iterdir()):
        for record in tfrecord.read(file):
            values = tfrecord.decode_example(record)
            folder = target / values[features.LABEL_KEY][1][0].decode()
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{count:05}.jpg").write_bytes(values[features.IMAGE_KEY][1][0])
            count += 1
    return count


def _plain(source: Path) -> dict[str, float]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        run = measure.run([sys.executable, str(SCRIPT), str(source)], Path(folder))
    return {"loop": run.result()["seconds"], "process": run.seconds}


def _darkroom(source: Path, count: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        command = [sys.executable, "-m", "darkroom.pipeline.cli", "ingest", str(source), "records"]
        run = measure.run(command, Path(folder))
        written = sum(1 for f in Path(folder).glob("records/*/*") for _ in tfrecord.read(f))
        if written != count:
            raise SystemExit(f"darkroom wrote {written} of {count} images")
    return {"loop": run.seconds, "process": run.seconds}


def _row(side: str, turns: list[dict[str, dict[str, float]]], count: int) -> dict[str, Any]:
    seconds = [turn[side]["loop"] for turn in turns]
    ratios = [turn[side]["loop"] / turn["plain loop"]["loop"] for turn in turns]
    return {
        "side": side,
        "seconds": round(median(seconds), 2),
        "images_per_second": round(count / median(seconds)),
        "times_plain": round(median(ratios), 2),
        "process_seconds": round(median(turn[side]["process"] for turn in turns), 2),
        "runs": " ".join(f"{s:.1f}" for s in seconds),
    }


if __name__ == "__main__":
    main()
