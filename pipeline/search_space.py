"""Which keys of the configuration a search may change, and to which values. Light to import."""

import itertools
from collections.abc import Mapping

from pydantic import ValidationError

from darkroom.components.base.errors import closest
from darkroom.components.base.sections import Section, Tuner

_CODE_AND_FILES = (
    "model.build_fn", "model.backbone_fn", "model.input_layer", "model.weights",
)  # fmt: skip


def check(tuner: Tuner, **sections: Section) -> None:
    """ValueError for a key that can't be searched in sections, or a value that they don't take."""
    if "training.epochs" in tuner.space:
        if tuner.algorithm == "hyperband":
            raise ValueError(
                "tuner.space.training.epochs: hyperband chooses the epochs itself, up to "
                "tuner.epochs; take the key out"
            )
        for key in ("epochs", "carry_epochs"):
            if getattr(tuner, key):
                raise ValueError(f"set either tuner.{key}, or training.epochs in tuner.space")
    for key, values in tuner.space.items():
        is_whole = isinstance(_value(sections, key, f"tuner.space.{key}"), int)
        ends = values.choices if values.choices is not None else [values.min, values.max]
        for value in ends:
            if is_whole and isinstance(value, float) and value.is_integer():
                value = int(value)
            _check(sections, f"tuner.space.{key}", key, value)
    for key, longer in itertools.pairwise(sorted(tuner.space)):
        if longer.startswith(f"{key}."):
            raise ValueError(f"tuner.space: {key} and {longer} contradict each other")
    for number, trial in enumerate(tuner.trials):
        if not trial:
            raise ValueError(f"tuner.trials.{number}: empty, expected values by key")
        for key, value in trial.items():
            _check(sections, f"tuner.trials.{number}.{key}", key, value)


def _value(sections: Mapping[str, Section], key: str, where: str) -> object:
    section, _, path = key.partition(".")
    if section not in sections:
        raise ValueError(
            f"{where}: only keys of {', '.join(sections)} can be searched, "
            "such as training.learning_rate"
        )
    if key == "training.strategy":
        raise ValueError(f"{where}: a trial runs on one machine; take the key out")
    if key in _CODE_AND_FILES:
        raise ValueError(
            f"{where}: code and files are checked before anything runs, and can't be searched; "
            "choose among them with hp.Choice in model.build_fn"
        )
    valid = list(type(sections[section]).model_fields)
    name, *places = path.split(".")
    if name not in valid:
        near = closest(name, valid)
        raise ValueError(f"{where}: no such key.{near} {section} has {', '.join(valid)}")
    value, named = getattr(sections[section], name), f"{section}.{name}"
    for place in places:
        if not isinstance(value, list):
            raise ValueError(f"{where}: {named} is no list, expected {named} alone")
        if place not in map(str, range(len(value))):
            numbers = f"numbers are 0 to {len(value) - 1}" if value else "list is empty"
            raise ValueError(f"{where}: {named} has no entry {place!r}, its {numbers}")
        value, named = value[int(place)], f"{named}.{place}"
    return value


def _check(sections: Mapping[str, Section], where: str, key: str, value: object) -> None:
    _value(sections, key, where)
    if key == "training.loss" and "." in str(value):
        raise ValueError(
            f"{where}: your own loss is checked before anything runs, and can't be searched; name "
            "it in training.loss"
        )
    name, _, path = key.partition(".")
    section = sections[name]
    try:
        type(section).model_validate(section.changed(path, value).model_dump())
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Input should be ")
        remedy = f"; name an entry, such as {key}.0" if first["type"] == "list_type" else ""
        expected = f"{where}: expected values that are {message}"
        raise ValueError(f"{expected}, found {value!r}{remedy}") from None
