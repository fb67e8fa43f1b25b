"""The Tuner node's search on MNIST against a plain KerasTuner script: same space, same budget.

The script gets space, network and budget from the configuration. It runs as Keras does by default,
and once more with as many batches in a call of the graph as darkroom has. Compared are the Tuner
node's own seconds, which include decoding the images and starting the workers, and the script's
from loading the images to the end of the search.
"""

import argparse
import json
from typing import Any

import measure
import yaml

PLAIN, SEVERAL, DARKROOM = "KerasTuner in a script", "with 32 steps per execution", "darkroom"


def main() -> None:
    """Runs the sides in turn and reports."""
    parser = measure.Parser(__doc__)
    algorithms = ("random", "hyperband")
    parser.add_argument("--algorithm", choices=algorithms, nargs="+", help="one instead of both")
    parser.add_argument("--epochs", type=int, metavar="N", help="of a trial, at most")
    parser.add_size("--repeat", 1, 1, "runs of each side")
    options = parser.parse_args()
    # What comes after the search is not compared.
    overrides = [
        f"data.path={options.data / 'mnist'}", "training.epochs=1", "evaluation.min_accuracy=0",
        "tuner.carry_over=values", *options.smaller,
    ]  # fmt: skip
    if options.smoke:
        overrides += ["tuner.max_trials=2", "tuner.executions_per_trial=1", "tuner.epochs=1"]
    if options.epochs:
        overrides.append(f"tuner.epochs={options.epochs}")
    rows = []
    for algorithm in options.algorithm or (algorithms[:1] if options.smoke else algorithms):
        turns = measure.Turns(
            [_turn(f"mnist_{algorithm}", overrides, options) for _ in range(options.repeat)]
        )
        keys = ("seconds", "best_score", "trials", "epochs", "process_seconds")
        of_algorithm = turns.rows(*keys, times_plain=("seconds", PLAIN))
        rows += [{"search": algorithm, **row} for row in of_algorithm]
    measure.report(options, rows)


def _turn(
    config: str, overrides: list[str], options: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    with measure.folder() as folder:
        printed = measure.darkroom(folder, "config", config, overrides).stdout
    settings = json.dumps(yaml.safe_load(printed))
    sides = {
        name: _plain(options, settings, steps)
        for name, steps in ((PLAIN, 1), (SEVERAL, 32))
        if steps == 1 or not options.smoke
    }
    plain, ours = sides[PLAIN], _darkroom(config, overrides)
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
    return {**sides, DARKROOM: ours}


def _distinct(values: list[dict[str, Any]]) -> set[str]:
    return {json.dumps(trial, sort_keys=True) for trial in values}


def _plain(options: argparse.Namespace, settings: str, steps: int) -> dict[str, Any]:
    run = measure.side("plain_search", options.data / "mnist", settings, steps)
    result = run.result()
    seconds = result["load_seconds"] + result["search_seconds"]
    return {"seconds": seconds, "process_seconds": run.seconds, **result}


def _darkroom(config: str, overrides: list[str]) -> dict[str, Any]:
    with measure.folder() as folder:
        done = measure.pipeline(folder, config, overrides)
        trials = done.trials
    return {
        "seconds": done.node_seconds("Tuner"),
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


if __name__ == "__main__":
    main()
