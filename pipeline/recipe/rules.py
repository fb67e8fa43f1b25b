"""The rules by which a recipe chooses, from facts alone: the same facts, the same values.

Their numbers come from trainings on CIFAR-10, MNIST and photographs of clothing on two cores
(docs/benchmarks.md). Counts are rounded, so that a few images more change nothing.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

from darkroom.pipeline.config import Config
from darkroom.pipeline.recipe.facts import Facts, Machine

Value = int | float | str | list[int] | list[list[int]]


class Choice(NamedTuple):
    """What was chosen for one reason."""

    why: str
    values: dict[str, Value]  # by dotted key


# Minutes for which a recipe is made where nobody says.
_MINUTES = 15.0
# What the nodes around the training take of them.
_AROUND = 2.0
# Below so many pixels a side, and with so many images, a network of one's own learns as well.
_SMALL, _MANY = 64, 20_000
# Images of 128 by 128 a second that train the upper groups of EfficientNetLite0, on two cores.
_PACE, _PACE_AT = 60.0, 128
_GPU_PACE = 20.0  # times as quick: a guess, no GPU was at hand; the Trainer goes by its clock
_LITE2 = 2.0  # times the work of Lite0
# Passes over the images that fine-tuning needs, and after which it gains nothing more.
_LEAST_PASSES, _MOST_PASSES = 5, 40
_BATCH = 32
# From this ratio of the most frequent class to the rarest, classes are weighed.
_IMBALANCE = 3.0
# Keys that go with any network; another one of `model` says that the network is the user's choice.
_OF_ANY_NETWORK = {
    *("model.units", "model.dropout", "model.activation", "model.initializer", "model.head"),
    *("model.pooling", "model.image_size", "model.max_norm", "model.logit_scale"),
}


# What may change a number, or means nothing to it.
_OF_CLASSES = ("augmentation.", "training.label_smoothing", "training.class_weights")


def chosen(config: Config, facts: Facts, machine: Machine) -> list[Choice]:
    """What the recipe sets of the keys that the user doesn't, by reason."""
    theirs = _set_keys(config)
    unweighted = "model.weights" in theirs and config.model.weights is None
    of_any = _OF_ANY_NETWORK | ({"model.weights"} if unweighted else set())
    is_theirs = "transfer.mode" in theirs or any(
        key.startswith("model.") and key not in of_any for key in theirs
    )
    photographs = _takes_photographs(config) and not _is_simple(facts)
    choices = [*_training(facts)]
    if is_theirs:
        choices += _own(facts)
    elif photographs and machine.pretrained and not unweighted:
        choices += _pretrained(config, facts, machine)
    else:
        choices += _scratch(facts, machine, unweighted)
    decided = theirs | config.tuner.searched
    if config.data.target == "number":  # labels aren't smoothed, and changed images may have others
        keys = (key for choice in choices for key in choice.values)
        decided |= {key for key in keys if key.startswith(_OF_CLASSES)}
    left = (
        Choice(why, {k: v for k, v in values.items() if k not in decided})
        for why, values in choices
    )
    return [choice for choice in left if choice.values]


def _set_keys(config: Config) -> set[str]:
    """The dotted keys of the sections that the configuration's file or command line sets."""
    sections = ("preprocessing", "model", "augmentation", "training", "transfer")
    return {f"{name}.{key}" for name in sections for key in getattr(config, name).model_fields_set}


def _takes_photographs(config: Config) -> bool:
    """Whether the preprocessing that is set gives pixels as pretrained weights know them."""
    is_set, prepared = config.preprocessing.model_fields_set, config.preprocessing
    of_others = {"channels": 3, "normalization": "rescale", "image_fn": None}
    return all(getattr(prepared, key) == value for key, value in of_others.items() if key in is_set)


def _is_simple(facts: Facts) -> bool:
    """Whether weights of photographs help little: small grey images, or very many small ones."""
    small = max(facts.height, facts.width) <= _SMALL
    return small and (facts.grey or facts.images >= _MANY)


def _training(facts: Facts) -> Iterator[Choice]:
    batch = _BATCH if facts.images < _MANY else 2 * _BATCH
    while batch > 1 and batch * 4 > facts.images:
        batch //= 2
    yield Choice(f"{facts.images:,} images", {"training.batch_size": batch})
    counts = facts.classes.values()
    if counts and max(counts) > _IMBALANCE * min(counts):
        ratio = f"{max(counts):,} images of the most frequent class, {min(counts):,} of the rarest"
        yield Choice(ratio, {"training.class_weights": "balanced"})
    if facts.held_out > 2 * facts.images:
        why = f"{facts.held_out:,} images are validated after each epoch"
        yield Choice(why, {"training.steps_per_epoch": -(-facts.held_out // batch)})
    yield Choice("16 bits, where they are quicker", {"training.precision": "mixed"})


def _own(facts: Facts) -> Iterator[Choice]:
    yield Choice(
        "the network is set: nothing is chosen of it",
        {
            "training.epochs": _rounded(200_000 / facts.images, 10, 60),
            "training.schedule": "cosine",
        },
    )


def _pretrained(config: Config, facts: Facts, machine: Machine) -> Iterator[Choice]:
    seconds = max(30.0, ((config.training.minutes or _MINUTES) - _AROUND) * 60)
    pace = _PACE * (machine.cores / 2 if machine.gpus == 0 else _GPU_PACE * machine.gpus)
    side = max(facts.height, facts.width)
    best = _sizes(side)[0]
    for candidate in _sizes(side):
        if seconds * pace / candidate.work >= _LEAST_PASSES * facts.images:
            best = candidate
    passes = _rounded(seconds * pace / best.work / facts.images, 2, _MOST_PASSES)
    yield Choice(
        f"{_minutes(config)}, images of {facts.height}×{facts.width}: the largest network and size "
        f"that see each image {_LEAST_PASSES} times",
        {
            "model.name": best.name,
            "model.weights": "imagenet",
            "preprocessing.height": best.size,
            "preprocessing.width": best.size,
            "preprocessing.channels": 3,
            "preprocessing.normalization": "rescale",
        },
    )
    yield Choice(
        "weights of ImageNet: the classifier first, then the upper half of the network",
        {
            "model.units": [],
            "model.dropout": 0.2,
            "transfer.mode": "distinct",
            "transfer.unfreezing": "together",
            "transfer.groups": 2,
            "transfer.group_epochs": passes,
            "transfer.group_learning_rate": 5e-4,
            "training.epochs": 20,
            "training.schedule": "cosine",
            "training.warmup_epochs": 1,
            "training.label_smoothing": 0.1,
            "training.average_epochs": 0.5,
        },
    )
    yield Choice(
        "photographs: mirrored, and in parts",
        {"augmentation.flip": "horizontal", "augmentation.crop": 0.6},
    )


class _Network(NamedTuple):
    name: str
    size: int  # height and width of its images, pixels
    times: float = 1.0  # the work of EfficientNetLite0

    @property
    def work(self) -> float:
        """For an image, in times that of EfficientNetLite0 at ``_PACE_AT``."""
        return self.times * (self.size / _PACE_AT) ** 2


def _sizes(side: int) -> list[_Network]:
    """Networks and sizes, from the quickest; to enlarge small images helps up to a point."""
    most = max(160, side) if side > _SMALL else 160
    sizes = [_Network("EfficientNetLite0", size) for size in (128, 160, 192, 224) if size <= most]
    return [*sizes, _Network("EfficientNetLite2", 224, _LITE2)] if most >= 224 else sizes


def _scratch(facts: Facts, machine: Machine, unweighted: bool) -> Iterator[Choice]:
    why = "the preprocessing that is set is no pretrained network's"
    if unweighted:
        why = "model.weights is set to none"
    elif _is_simple(facts):
        why = "small images"
    elif not machine.pretrained:
        why = "darkroom-tfx[pretrained] isn't installed"
    side = min(_SMALL, max(facts.height, facts.width))
    scale = side / max(facts.height, facts.width)
    grey, colour = [[32], [48, 48], [96, 96]], [[32, 64], [64, 128], [128, 128], [128]]
    blocks = grey if facts.grey else colour
    if side >= 48:
        blocks = [*blocks, blocks[-1][-1:]]
    yield Choice(
        f"{why}: a network from random weights",
        {
            "preprocessing.height": max(round(scale * facts.height), 4),
            "preprocessing.width": max(round(scale * facts.width), 4),
            "preprocessing.channels": 1 if facts.grey else 3,
            "model.filters": blocks,
            "model.normalize": "each",
            "model.units": [],
            "model.dropout": 0.4,
            "training.epochs": _rounded(700_000 / facts.images, 12, 60),
            "training.schedule": "one_cycle",
            "training.learning_rate": 3e-3,
            "training.label_smoothing": 0.1,
        },
    )
    turned = {"augmentation.rotation": 0.03, "augmentation.zoom": 0.1}
    mirrored = {"augmentation.flip": "horizontal"}
    yield Choice(
        "grey images may be signs, which aren't mirrored" if facts.grey else "photographs",
        {"augmentation.translation": 0.1, **(turned if facts.grey else mirrored)},
    )


def _minutes(config: Config) -> str:
    minutes = config.training.minutes
    return "15 minutes, as none are set" if minutes is None else f"{minutes:g} minutes"


def _rounded(number: float, least: int, most: int) -> int:
    """To a power of two or half as much again, within these ends: no image more changes it."""
    if number <= least:
        return least
    power: int = 2 ** math.floor(math.log2(number))
    return min(most, power * 3 // 2 if number >= power * 1.5 else power)
