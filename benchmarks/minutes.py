"""What a run learns from few images in some minutes: by the recipe, and by the defaults without it.

Both sides are whole runs from images to a pushed version, which is then asked about a test set that
no node has seen. From random weights the recipe is measured as well, beside AutoKeras's search in
the same minutes where ``--autokeras`` names an environment.
"""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

import few_images
import measure
import numpy as np
import yaml

from darkroom.components.base import tfrecord

# A model is pushed however good it is, as it is the one that is measured.
_GATE = {"min_accuracy": 0.0, "min_class_recall": 0.0}
_SCRATCH = "recipe: auto, from random weights"


def main() -> None:
    """Runs both sides on each set and reports."""
    parser = measure.Parser(__doc__)
    parser.add_argument(
        "--per-class", type=int, nargs="*", default=[40, 100, 400], metavar="N",
        help="of CIFAR-10's images to train on (default: 40 100 400)",
    )  # fmt: skip
    parser.add_size("--minutes", 10, 4, "of each run on them")
    parser.add_place(
        "--photos", "PHOTOS", "folder of photographs as darkroom ingest takes it, with a test split"
    )
    parser.add_size("--photos-minutes", 15, 4, "of the run on them")
    parser.add_size("--test", 10_000, 50, "of CIFAR-10's images to test on, at most")
    parser.add_place("--autokeras", "PYTHON", "of an environment with AutoKeras 3.0 and Keras 3.8")
    options = parser.parse_args()
    rows = []
    with measure.folder() as folder:
        for count in [4] if options.smoke else options.per_class:
            name = f"CIFAR-10, {count} a class"
            data = folder / str(count)
            _few(options.data / "cifar10", data, count, options)
            rows += [_row(name, data, folder, options.minutes, *side) for side in _sides(options)]
            if options.autokeras:
                rows.append(_searched(name, data, options))
        if options.photos:
            data = folder / "photos"
            command = [sys.executable, "-m", "darkroom", "ingest", str(options.photos), str(data)]
            measure.run(command, folder)
            minutes = options.photos_minutes
            name = f"photographs, {minutes} minutes"
            sides = [side for side in _sides(options) if side[0] != _SCRATCH]
            rows += [_row(name, data, folder, minutes, *side) for side in sides]
    measure.report(options, rows)


def _sides(options: argparse.Namespace) -> list[tuple[str, dict[str, Any]]]:
    none = {"training": {"recipe": "none", "epochs": 20}}
    auto: dict[str, Any] = {}
    if options.smoke:  # networks that train in seconds, on fewer images than a batch has
        auto = {"training": {"epochs": 1}, "model": {"filters": [4]}}
        none = {**auto, "training": {"recipe": "none", "epochs": 1, "batch_size": 8}}
    scratch = {**auto, "model": {"weights": None, **auto.get("model", {})}}
    return [("recipe: none", none), ("recipe: auto", auto), (_SCRATCH, scratch)]


def _few(source: Path, target: Path, per_class: int, options: argparse.Namespace) -> None:
    """CIFAR-10's first images of each class, a tenth of them for eval, and of its test set."""
    test = few_images.records(source / "test", most=options.test)
    kept: dict[str, list[bytes]] = {"train": [], "eval": [], "test": [each.data for each in test]}
    for each in few_images.records(source / "train", per_class=per_class):
        kept["eval" if each.number <= per_class // 10 + 1 else "train"].append(each.data)
    for split, records in kept.items():
        (target / split).mkdir(parents=True)
        tfrecord.write(target / split / "images.tfrecord", records)


def _row(
    name: str, data: Path, folder: Path, minutes: float, side: str, sections: dict[str, Any]
) -> dict[str, Any]:
    is_auto = side != "recipe: none"
    tree = {"name": "few", "data": {"path": str(data)}, "evaluation": _GATE, **sections}
    home = folder / re.sub(r"\W+", "-", f"{data.name} {side}")
    home.mkdir()
    config = home / "few.yaml"
    config.write_text(yaml.safe_dump(tree), encoding="utf-8")
    limit = [f"training.minutes={float(minutes)}"] if is_auto else []
    done = measure.pipeline(home, str(config), limit)
    tested = measure.side("tested", done.pushed, data / "test").result()
    return {
        "set": name,
        "side": side,
        "minutes": float(minutes) if is_auto else None,
        "run_minutes": done.run.seconds / 60,
        "test_accuracy": tested["accuracy"],
        "tested_on": tested["tested_on"],
        "network": tested["network"],
    }


def _searched(name: str, data: Path, options: argparse.Namespace) -> dict[str, Any]:
    """AutoKeras on the images of the other sides."""
    splits = {split: list(few_images.records(data / split)) for split in ("train", "eval", "test")}
    names = sorted({record.label for record in splits["train"]})
    arrays = {}
    for split, records in splits.items():
        arrays[f"{split}_images"], arrays[f"{split}_labels"] = few_images.arrays(records, names)
    path = data.with_suffix(".npz")
    np.savez(path, **arrays)
    script = str(measure.HERE / "processes" / "autokeras_search.py")
    minutes = 0.5 if options.smoke else float(options.minutes)
    command = [str(options.autokeras), script, str(path), str(minutes)]
    done = measure.run(command, data.parent)
    found = done.result()
    return {
        "set": name,
        "side": "AutoKeras",
        "minutes": minutes,
        "run_minutes": done.seconds / 60,
        "test_accuracy": found["accuracy"],
        "tested_on": len(splits["test"]),
        "network": f"the best of {found['trials']} trials",
    }


if __name__ == "__main__":
    main()
