"""A smoke run: the whole graph on a few images, as quickly as it can be, beside the real runs."""

import os
from collections import defaultdict
from itertools import chain, zip_longest
from pathlib import Path

from darkroom.components.base import tfrecord
from darkroom.pipeline import data_files
from darkroom.pipeline.config import Config
from darkroom.pipeline.recipe import facts

_SUFFIX = "-smoke"
_LONGEST_NAME = 63
_IMAGES = 160  # of each split
_BATCH = 32
_TRIALS = 2
# Hyperparameters that would make it long, or need more images.
_LEFT_OUT = ("training.epochs", "training.batch_size", "training.steps_per_epoch")
_QUICK: dict[str, object] = {
    "training.recipe": "none",
    "training.minutes": None,
    "training.epochs": 1,
    "training.steps_per_epoch": None,
    "training.warmup_epochs": 0,
    "training.starts": 1,
    "training.warm_start_epochs": 0,
    "augmentation.copies": 1,
    "transfer.groups": 1,
    "transfer.group_epochs": 1,
    "transfer.scratch_epochs": 0,
    "tuner.epochs": 1,
    "tuner.executions_per_trial": 1,
    "tuner.iterations": 1,
    "tuner.initial_trials": 1,
    "tuner.carry_over": "values",
    # What comes of it is no model to be judged.
    "evaluation.thresholds": [],
    "serving.validation.requests": 5,
    "serving.validation.max_latency_p50_ms": None,
    "serving.validation.max_latency_p99_ms": None,
    "serving.validation.max_memory_mib": None,
}
_NOT_JUDGED: dict[str, dict[str, object]] = {
    "class": {
        "evaluation.min_accuracy": 0.0,
        "evaluation.min_class_recall": 0.0,
        "evaluation.max_accuracy_drop": 1.0,
    },
    "number": {
        "evaluation.max_mae": None,
        "evaluation.min_r2": None,
        "evaluation.baseline": "none",
    },
}


def name(config: Config) -> str:
    """The pipeline of its own, so that nothing of the real one's is touched."""
    return config.name[: _LONGEST_NAME - len(_SUFFIX)].rstrip("-") + _SUFFIX


def shrunk(config: Config) -> Config:
    """Writes the few images of each split, and gives the configuration that takes them."""
    folder = config.home / "few"
    values = {**_QUICK, **_NOT_JUDGED[config.data.target]}
    values |= {"data.path": str(folder), "data.bundled": None}
    for split, pattern in config.data.splits.patterns.items():
        _write(config, pattern, folder / split / "images.tfrecord")
        values[f"data.splits.{split}"] = f"{split}/*"
    values["training.batch_size"] = min(config.training.batch_size, _BATCH)
    tuner = config.tuner
    kept = {key: range_ for key, range_ in tuner.space.items() if key not in _LEFT_OUT}
    trials = [{k: v for k, v in trial.items() if k not in _LEFT_OUT} for trial in tuner.trials]
    values["tuner.trials"] = trials[:_TRIALS]
    values["tuner.space"] = {key: range_.model_dump() for key, range_ in kept.items()}
    values["tuner.enabled"] = tuner.enabled and bool(kept or any(trials))
    if tuner.algorithm != "list":
        values["tuner.max_trials"] = _TRIALS
    values["tuner.folds"] = tuner.folds and 2
    return config.with_values(values)


def _write(config: Config, pattern: str, file: Path) -> None:
    """As many records of each class as of the others, as far as there are any."""
    by_class = defaultdict[tuple[str, ...], list[bytes]](list)
    for record in data_files.sample(config, pattern):
        try:
            labels = facts.labels(config, tfrecord.decode_example(record))
        except ValueError:
            labels = []  # it is set aside as in a real run
        if len(own := by_class[tuple(labels)]) < _IMAGES:
            own.append(record)
    rounds = zip_longest(*by_class.values())
    few = [record for record in chain.from_iterable(rounds) if record is not None][:_IMAGES]
    file.parent.mkdir(parents=True, exist_ok=True)
    # The same file again would be new data to ImportExampleGen.
    if not file.exists() or list(tfrecord.read(file)) != few:
        whole = file.parent.with_suffix(".part")  # where no pattern of a split finds it
        tfrecord.write(whole, few)
        os.replace(whole, file)
