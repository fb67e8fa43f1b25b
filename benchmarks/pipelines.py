"""How long the shipped configurations take, what they reach, and what a second run costs."""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import measure

CONFIGS = ("digits", "mnist", "cifar10")


def main() -> None:
    """Runs each configuration twice in a fresh folder and reports."""
    parser = measure.arguments(__doc__)
    parser.add_argument("--only", choices=CONFIGS, help="one configuration instead of all")
    parser.add_argument("--epochs", type=int, help="instead of the configuration's own")
    options = parser.parse_args()
    configs = [options.only] if options.only else CONFIGS
    measure.report(__file__, [_row(config, options) for config in configs])


def _row(config: str, options: argparse.Namespace) -> dict[str, Any]:
    overrides = [] if config == "digits" else [f"data.path={options.data / config}"]
    overrides += [f"training.epochs={options.epochs}"] if options.epochs else []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        first = measure.pipeline(Path(folder), config, overrides)
        training = first.training_seconds
        second = measure.pipeline(Path(folder), config, overrides)
    return {
        "config": config,
        "seconds": round(first.run.seconds, 2),
        "training_seconds": round(training, 2),
        "other_seconds": round(first.run.seconds - training, 2),
        "accuracy": first.accuracy,
        "peak_gib": round(first.run.peak_rss_bytes / measure.GIB, 2),
        "second_run_seconds": round(second.run.seconds, 2),
        "second_run_all_cached": second.all_cached,
    }


if __name__ == "__main__":
    main()
