"""The whole pipeline on CIFAR-10 against a plain Keras script: what does the pipeline cost?

The script (plain_keras_script.py) gets the network's and the training's settings from the
configuration, so that both sides train the same.
"""

import json
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import measure
import yaml

SCRIPT = Path(__file__).with_name("plain_keras_script.py")


def main() -> None:
    """Runs the sides in turn and reports."""
    parser = measure.arguments(__doc__)
    parser.add_argument("--epochs", type=int, default=15, metavar="N", help="of the training")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="runs of each side")
    options = parser.parse_args()
    data = options.data / "cifar10"
    overrides = [f"data.path={data}", f"training.epochs={options.epochs}"]
    turns = [
        {"plain Keras": _plain(data, overrides), "darkroom": _darkroom(overrides)}
        for _ in range(options.repeat)
    ]
    measure.report(__file__, [_row(side, turns) for side in turns[0]])


def _plain(data: Path, overrides: list[str]) -> dict[str, float]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        config = yaml.safe_load(
            measure.darkroom(Path(folder), "config", "cifar10", overrides).stdout
        )
        settings = json.dumps({**config["model"], **config["training"]})
        run = measure.run([sys.executable, str(SCRIPT), str(data), settings], Path(folder))
    return {"seconds": run.seconds, "peak": run.peak_rss_bytes, **run.result()}


def _darkroom(overrides: list[str]) -> dict[str, float]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        done = measure.pipeline(Path(folder), "cifar10", overrides)
        return {
            "seconds": done.run.seconds,
            "peak": done.run.peak_rss_bytes,
            "accuracy": done.accuracy,
            "training_seconds": done.training_seconds,
        }


def _row(side: str, turns: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    def middle(key: str) -> float:
        return median(turn[side][key] for turn in turns)

    ratios = [turn[side]["seconds"] / turn["plain Keras"]["seconds"] for turn in turns]
    return {
        "side": side,
        "seconds": round(middle("seconds"), 2),
        "training_seconds": round(middle("training_seconds"), 2),
        "accuracy": round(middle("accuracy"), 4),
        "peak_gib": round(middle("peak") / measure.GIB, 2),
        "times_plain": round(median(ratios), 2),
        "runs": " ".join(f"{turn[side]['seconds']:.1f}" for turn in turns),
    }


if __name__ == "__main__":
    main()
