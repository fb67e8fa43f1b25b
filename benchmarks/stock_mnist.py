"""TFX's own MNIST example against darkroom: the same images, network and training steps.

The example runs exactly as TFX ships it, from floats that were decoded beforehand. darkroom
reads the PNG files and does the decoding within the measured time. What differs: the example
splits all 70,000 images 2:1 by hash, darkroom takes MNIST's own 60,000 and 10,000.
"""

import importlib.util
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import measure
import stock_mnist_pipeline

DARKROOM = [
    "model.name=dense",
    "model.units=[64, 64]",
    "model.dropout=0.2",
    "training.optimizer=rmsprop",
    "training.learning_rate=0.0015",
    "training.batch_size=40",
    "training.epochs=1",
    "training.steps_per_epoch=5000",
    "training.schedule=constant",
    "training.warmup_epochs=0",
    "augmentation={}",
    "preprocessing.normalization=rescale",
    "evaluation.min_accuracy=0.8",
    "tuner.enabled=false",
]


def main() -> None:
    """Runs the sides in turn and reports medians, and the median of the ratios of each turn."""
    parser = measure.arguments(__doc__)
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="runs of each side")
    options = parser.parse_args()
    if importlib.util.find_spec("pip") is None:
        raise SystemExit(
            f"TFX installs the example's module file with pip, which {sys.executable} doesn't "
            "have: python -m ensurepip"
        )
    turns: list[dict[str, tuple[float, float, int]]] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        examples = Path(folder) / "examples"
        stock_mnist_pipeline.write_examples(options.data / "mnist", examples)
        for _ in range(options.repeat):
            turns.append(
                {
                    "stock example": _stock(examples, "as_shipped"),
                    "stock, in_memory": _stock(examples, "in_memory"),
                    "darkroom": _darkroom(options.data / "mnist"),
                }
            )
    measure.report(__file__, [_row(side, turns) for side in turns[0]])


def _stock(examples: Path, beam: str) -> tuple[float, float, int]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        run = measure.run(stock_mnist_pipeline.command(examples, beam), Path(folder))
    return run.seconds, run.result()["accuracy"], run.peak_rss_bytes


def _darkroom(data: Path) -> tuple[float, float, int]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        done = measure.pipeline(Path(folder), "mnist", [f"data.path={data}", *DARKROOM])
    return done.run.seconds, done.accuracy, done.run.peak_rss_bytes


def _row(side: str, turns: list[dict[str, tuple[float, float, int]]]) -> dict[str, Any]:
    seconds, accuracies, peaks = zip(*(turn[side] for turn in turns), strict=True)
    return {
        "side": side,
        "median_seconds": round(median(seconds), 2),
        "times_darkroom": round(median(t[side][0] / t["darkroom"][0] for t in turns), 2),
        "accuracy": round(median(accuracies), 4),
        "peak_gib": round(max(peaks) / measure.GIB, 2),
        "runs": " ".join(f"{s:.1f}" for s in seconds),
    }


if __name__ == "__main__":
    main()
