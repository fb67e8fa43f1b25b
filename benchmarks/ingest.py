"""``darkroom ingest`` of CIFAR-10's 50,000 JPEG files against a plain Python loop.

The loop verifies headers with PIL and writes one TFRecord file, in one process; its imports are not
counted. darkroom decodes every image, hashes its pixels, splits, shuffles, and writes an index.
"""

import sys
from pathlib import Path

import measure

from darkroom.components.base import features, tfrecord

PLAIN, OURS = (
    "plain loop: PIL's verify, TensorFlow's TFRecord writer",
    "darkroom ingest, whole process",
)


def main() -> None:
    """Runs the sides in turn and reports medians, and the median of the ratios of each turn."""
    parser = measure.Parser(__doc__)
    parser.add_size("--repeat", 3, 1, "runs of each side")
    options = parser.parse_args()
    with measure.folder() as folder:
        source = folder / "images"
        count = _write_files(options.data / "cifar10" / "train", source)
        turns = measure.Turns(
            [
                {
                    PLAIN: _plain(source, count),
                    OURS: _darkroom(source, count),
                }
                for _ in range(options.repeat)
            ]
        )
    keys = ("seconds", "images_per_second", "process_seconds")
    measure.report(options, turns.rows(*keys, times_plain=("seconds", PLAIN)))


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


def _plain(source: Path, count: int) -> dict[str, float]:
    run = measure.side("ingest", source)
    return _figures(run.result()["seconds"], run.seconds, count)


def _darkroom(source: Path, count: int) -> dict[str, float]:
    with measure.folder() as folder:
        command = [sys.executable, "-m", "darkroom", "ingest", str(source), "records"]
        run = measure.run(command, folder)
        written = sum(1 for f in folder.glob("records/*/*.tfrecord") for _ in tfrecord.read(f))
        if written != count:
            raise SystemExit(f"darkroom wrote {written} of {count} images")
    return _figures(run.seconds, run.seconds, count)


def _figures(seconds: float, process_seconds: float, count: int) -> dict[str, float]:
    rate = round(count / seconds)
    return {"seconds": seconds, "images_per_second": rate, "process_seconds": process_seconds}


if __name__ == "__main__":
    main()
