"""Which keys of the configuration a search may change, and to which values. Light to import."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from darkroom.components.base.errors import closest
from darkroom.components.base.sections import Section

if TYPE_CHECKING:
    from darkroom.pipeline.config import Config

# Only what one trial can change without the data being prepared again.
_SEARCHABLE = ("model", "augmentation", "training")
_CODE_AND_FILES = ("model.build_fn", "model.input_layer", "model.weights")


def check(config: Config) -> None:
    """The search space of a configuration, and its list of trials.

    Raises:
      ValueError: a key that can't be searched, or a value that its section wouldn't take.
    """
    tuner = config.tuner
    if tuner.algorithm == "hyperband" and "training.epochs" in tuner.space:
        raise ValueError(
            "tuner.space.training.epochs: hyperband chooses the epochs itself, up to "
            "tuner.epochs; take the key out"
        )
    if tuner.epochs is not None and "training.epochs" in tuner.space:
        raise ValueError("set either tuner.epochs, or training.epochs in tuner.space")
    if tuner.carry_epochs and "training.epochs" in tuner.space:
        raise ValueError("set either tuner.carry_epochs, or training.epochs in tuner.space")
    for key, values in tuner.space.items():
        ends = values.choices if values.choices is not None else [values.min, values.max]
        for value in ends:
            if isinstance(_lookup(config, key), int) and isinstance(value, float):
                value = int(value) if value.is_integer() else value
            _check_hyperparameter(config, f"tuner.space.{key}", key, value)
    keys = sorted(tuner.space)
    for key, longer in itertools.pairwise(keys):
        if longer.startswith(f"{key}."):
            raise ValueError(f"tuner.space: {key} and {longer} contradict each other")
    for number, trial in enumerate(tuner.trials):
        if not trial:
            raise ValueError(f"tuner.trials.{number}: empty, expected values by key")
        for key, value in trial.items():
            _lookup(config, key, f"tuner.trials.{number}")
            _check_hyperparameter(config, f"tuner.trials.{number}.{key}", key, value)


def _lookup(config: Config, key: str, owner: str = "tuner.space") -> Any:
    section, _, path = key.partition(".")
    where = f"{owner}.{key}"
    if section not in _SEARCHABLE:
        raise ValueError(
            f"{where}: only keys of {', '.join(_SEARCHABLE)} can be searched, "
            "such as training.learning_rate"
        )
    if key == "training.strategy":
        raise ValueError(f"{where}: a trial runs on one machine; take the key out")
    if key in _CODE_AND_FILES:
        raise ValueError(
            f"{where}: code and files are checked before anything runs, and can't be searched; "
            "choose among them with hp.Choice in model.build_fn"
        )
    branch = cast(Section, getattr(config, section))
    valid = list(type(branch).model_fields)
    name, *places = path.split(".")
    if name not in valid:
        raise ValueError(
            f"{where}: no such key.{closest(name, valid)} {section} has {', '.join(valid)}"
        )
    found, named = getattr(branch, name), f"{section}.{name}"
    for place in places:
        if not isinstance(found, list):
            raise ValueError(f"{where}: {named} is no list, expected {named} alone")
        if place not in map(str, range(len(found))):
            numbers = f"numbers are 0 to {len(found) - 1}" if found else "list is empty"
            raise ValueError(f"{where}: {named} has no entry {place!r}, its {numbers}")
        found, named = found[int(place)], f"{named}.{place}"
    return found


def _check_hyperparameter(config: Config, where: str, key: str, value: Any) -> None:
    section, _, path = key.partition(".")
    branch = cast(Section, getattr(config, section))
    try:
        type(branch).model_validate(branch.changed(path, value).model_dump())
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Input should be ")
        remedy = f"; name an entry, such as {key}.0" if first["type"] == "list_type" else ""
        raise ValueError(
            f"{where}: expected values that are {message}, found {value!r}{remedy}"
        ) from None
