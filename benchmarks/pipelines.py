"""What the shipped configurations take and reach, what a search takes, and a second run.

Each is run twice in a fresh folder. The rows of a search are of the Tuner node.
"""

import argparse
from typing import Any

import measure

CONFIGS = (
    "digits", "mnist", "cifar10", "cifar10_quick", "cifar10_residual",
    "mnist_random", "mnist_hyperband", "mnist_grid_cv", "mnist_bayesian",
)  # fmt: skip


def main() -> None:
    """Runs each configuration and reports."""
    parser = measure.Parser(__doc__)
    parser.add_argument("--only", choices=CONFIGS, nargs="+", help="some instead of all")
    parser.add_argument("--epochs", type=int, metavar="N", help="instead of the configuration's")
    options = parser.parse_args()
    configs = options.only or (["digits"] if options.smoke else CONFIGS)
    measure.report(options, [_row(config, options) for config in configs])


def _row(config: str, options: argparse.Namespace) -> dict[str, Any]:
    overrides = [f"training.epochs={options.epochs}"] if options.epochs else []
    overrides += ["tuner.max_trials=1"] if options.smoke else []
    first = measure.kept(options, config, overrides)
    training, trials = first.training_seconds, first.trials
    second = first.again()
    return {
        "config": config,
        "seconds": first.run.seconds,
        "training_seconds": training,
        "other_seconds": first.run.seconds - training,
        "accuracy": first.accuracy,
        "peak_gib": first.run.peak_gib,
        "second_run_seconds": second.run.seconds,
        "second_run_all_cached": second.all_cached,
        "search_seconds": first.node_seconds("Tuner"),
        "trials": len(trials) or None,
        "best_score": trials[0]["score"] if trials else None,
    }


if __name__ == "__main__":
    main()
