"""The whole pipeline on CIFAR-10 against a plain Keras script: what does the pipeline cost?

The script gets the network's and the training's settings from the configuration, so that both
sides train the same.
"""

import json
from pathlib import Path
from typing import Any

import measure
import yaml

PLAIN = "plain Keras"


def main() -> None:
    """Runs the sides in turn and reports."""
    parser = measure.Parser(__doc__)
    parser.add_size("--epochs", 15, 1, "of the training")
    parser.add_size("--repeat", 1, 1, "runs of each side")
    options = parser.parse_args()
    data = options.data / "cifar10"
    overrides = [*options.smaller, f"data.path={data}", f"training.epochs={options.epochs}"]
    turns = measure.Turns(
        [
            {PLAIN: _plain(data, overrides), "darkroom": _darkroom(overrides)}
            for _ in range(options.repeat)
        ]
    )
    keys = ("seconds", "training_seconds", "accuracy", "peak_gib")
    measure.report(options, turns.rows(*keys, times_plain=("seconds", PLAIN)))


def _plain(data: Path, overrides: list[str]) -> dict[str, float]:
    with measure.folder() as folder:
        printed = measure.darkroom(folder, "config", "cifar10", overrides).stdout
    config = yaml.safe_load(printed)
    settings = json.dumps({**config["model"], **config["training"]})
    run = measure.side("plain_keras", data, settings)
    return {"seconds": run.seconds, "peak_gib": run.peak_gib, **run.result()}


def _darkroom(overrides: list[str]) -> dict[str, Any]:
    with measure.folder() as folder:
        done = measure.pipeline(folder, "cifar10", overrides)
        return {
            "seconds": done.run.seconds,
            "training_seconds": done.training_seconds,
            "accuracy": done.accuracy,
            "peak_gib": done.run.peak_gib,
        }


if __name__ == "__main__":
    main()
