"""The Tuner node's search on MNIST against a plain KerasTuner script: same space, same budget.

The script (plain_search_script.py) gets space, network and budget from the configuration. It runs
as Keras does by default, and once more with as many batches in a call of the graph as darkroom has.
Compared are the Tuner node's own seconds, which include decoding the images and starting the
workers, and the script's from loading the images to the end of the search.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import measure
import yaml

SCRIPT = Path(__file__).with_name("plain_search_script.py")


def main() -> None:
    """Runs the sides in turn and reports."""
    parser = measure.arguments(__doc__)
    parser.add_argument("--algorithm", choices=["hyperband", "random", "both"], default="both")
    parser.add_argument(
        "--epochs", type=int, default=argparse.SUPPRESS, metavar="N",
        help="of a trial, at most, instead of the configuration's",
    )  # fmt: skip
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="runs of each side")
    options = parser.parse_args()
    # What comes after the search is not compared.
    overrides = [
        f"data.path={options.data / 'mnist'}", "training.epochs=1", "evaluation.min_accuracy=0",
        "tuner.carry_over=values",
    ]  # fmt: skip
    if "epochs" in options:
        overrides.append(f"tuner.epochs={options.epochs}")
    rows = []
    for algorithm in (
        ["random", "hyperband"] if options.algorithm == "both" else [options.algorithm]
    ):
        turns = [
            _turn(f"mnist_{algorithm}", overrides, options.data) for _ in range(options.repeat)
        ]
        rows += [_row(algorithm, side, turns) for side in turns[0]]
    measure.report(__file__, rows)


def _turn(config: str, overrides: list[str], data: Path) -> dict[str, dict[str, Any]]:
    sides = {
        "plain KerasTuner": _plain(config, overrides, data / "mnist", steps_per_execution=1),
        "with 32 steps per execution": _plain(config, overrides, data / "mnist", 32),
        "darkroom": _darkroom(config, overrides),
    }
    plain, _, ours = sides.values()
    if plain["trials"] != ours["trials"]:
        raise SystemExit(
            f"{config}: expected as many trials on both sides, found {plain['trials']} of plain "
            f"KerasTuner and {ours['trials']} of darkroom."
        )
    if plain["epochs"] != ours["epochs"]:
        print(f"{config}: not as many epochs: {plain['epochs']} plain, {ours['epochs']} darkroom")
    # Some values make a trial slow; Hyperband has the same ones again in later rounds.
    if _distinct(plain["values"]) != _distinct(ours["values"]):
        print(f"{config}: the trials' hyperparameters are not the same on both sides")
    return sides


def _distinct(values: list[dict[str, Any]]) -> set[str]:
    return {json.dumps(trial, sort_keys=True) for trial in values}


def _plain(
    config: str, overrides: list[str], data: Path, steps_per_execution: int
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        printed = measure.darkroom(Path(folder), "config", config, overrides).stdout
        settings = json.dumps(yaml.safe_load(printed))
        words = [str(SCRIPT), str(data), settings, str(steps_per_execution)]
        run = measure.run([sys.executable, *words], Path(folder))
    found = run.result()
    return {
        "seconds": found["load_seconds"] + found["search_seconds"],
        "process_seconds": run.seconds,
        **{name: found[name] for name in ("best_score", "trials", "epochs", "values")},
    }


def _darkroom(config: str, overrides: list[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        done = measure.pipeline(Path(folder), config, overrides)
        trials = measure.trials(Path(folder))
    [node] = [node for node in done.status["nodes"] if node["id"] == "Tuner"]
    return {
        "seconds": node["seconds"],
        "process_seconds": done.run.seconds,
        "best_score": trials[0]["score"],
        "trials": len(trials),
        # A trial that Hyperband goes on with has the history of the one before too.
        "epochs": sum(
            len(fit["loss"]) - trial["initial_epoch"]
            for trial in trials
            for fit in trial["history"]
        ),
        "values": [{key: trial[key] for key in trial if "." in key} for trial in trials],
    }


def _row(algorithm: str, side: str, turns: list[dict[str, dict[str, Any]]]) -> dict[str, Any]:
    def middle(key: str) -> float:
        return median(turn[side][key] for turn in turns)

    ratios = [turn[side]["seconds"] / turn["plain KerasTuner"]["seconds"] for turn in turns]
    return {
        "algorithm": algorithm,
        "side": side,
        "seconds": round(middle("seconds"), 2),
        "times_plain": round(median(ratios), 2),
        "best_score": round(middle("best_score"), 4),
        "trials": int(middle("trials")),
        "epochs": int(middle("epochs")),
        "process_seconds": round(middle("process_seconds"), 2),
        "runs": " ".join(f"{turn[side]['seconds']:.1f}" for turn in turns),
    }


if __name__ == "__main__":
    main()
