"""TFX's own MNIST example against darkroom: the same images, network and training steps.

The example runs exactly as TFX ships it, from floats that were decoded beforehand. darkroom
reads the PNG files and does the decoding within the measured time. What differs: the example
splits all 70,000 images 2:1 by hash, darkroom takes MNIST's own 60,000 and 10,000.
"""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import measure
from processes import stock_mnist as example

# Beam's arguments: the example's own, or darkroom's.
STOCK = {
    "TFX's example as shipped (Beam multi_processing)": "as_shipped",
    "the same with Beam in_memory": "in_memory",
}
DARKROOM = [
    "model.name=dense",
    "model.units=[64, 64]",
    "model.dropout=0.2",
    "training.optimizer=rmsprop",
    "training.learning_rate=0.0015",
    "training.batch_size=40",
    "training.epochs=1",
    "training.schedule=constant",
    "training.label_smoothing=0",
    "training.average_epochs=0",
    "training.precision=float32",
    "augmentation={}",
    "preprocessing.normalization=rescale",
    "evaluation.min_accuracy=0.8",
    "tuner.enabled=false",
]


def main() -> None:
    """Runs the sides in turn and reports medians, and the median of the ratios of each turn."""
    parser = measure.Parser(__doc__)
    parser.add_size("--repeat", 3, 1, "runs of each side")
    parser.add_size("--steps", 5000, 20, "of the training")
    options = parser.parse_args()
    if importlib.util.find_spec("pip") is None:
        raise SystemExit(
            f"TFX installs the example's module file with pip, which {sys.executable} doesn't "
            "have: python -m ensurepip"
        )
    # Starting Beam's processes takes a minute, whatever the size.
    stock = list(STOCK)[1:] if options.smoke else list(STOCK)
    data = options.data / "mnist"
    overrides = [
        f"data.path={data}", *DARKROOM, f"training.steps_per_epoch={options.steps}",
        *options.smaller,
    ]  # fmt: skip
    with measure.folder() as folder:
        example.write_examples(data, folder / "examples")
        turns = measure.Turns(
            [
                {
                    **{side: _stock(folder, STOCK[side], options.steps) for side in stock},
                    "darkroom": _darkroom(overrides),
                }
                for _ in range(options.repeat)
            ]
        )
    keys = ("seconds", "accuracy", "peak_gib")
    measure.report(options, turns.rows(*keys, times_darkroom=("seconds", "darkroom")))


def _stock(folder: Path, beam: str, steps: int) -> dict[str, Any]:
    run = measure.side("stock_mnist", folder / "examples", beam, steps)
    accuracy = run.result()["accuracy"]
    return {"seconds": run.seconds, "accuracy": accuracy, "peak_gib": run.peak_gib}


def _darkroom(overrides: list[str]) -> dict[str, Any]:
    with measure.folder() as folder:
        done = measure.pipeline(folder, "mnist", overrides)
    run = done.run
    return {"seconds": run.seconds, "accuracy": done.accuracy, "peak_gib": run.peak_gib}


if __name__ == "__main__":
    main()
