"""Parts of the train split, of which each is held out once: cross-validation."""

from collections.abc import Iterator

import numpy as np

from darkroom.components.base.errors import DarkroomError
from darkroom.components.training.dataset import Examples, Splits


def check(train: Examples, count: int, key: str) -> None:
    """Raises a DarkroomError where a part can't have some of each class, or a group of its own.

    ``key`` is that of the configuration that asks for so many parts.
    """
    least = min(train.counts().values()) if train.labels.ndim == 1 else len(train)
    groups = len(train) if train.groups is None else len(np.unique(train.groups))
    if groups < count:
        raise DarkroomError(
            f"{key} is {count}, and the train split has {groups} groups of images that stay "
            f"together. Set it to {groups} or less."
        )
    if least < count:
        raise DarkroomError(
            f"{key} is {count}, and the smallest class has {least} examples in the train "
            f"split. Set it to {least} or less."
        )


def split(train: Examples, count: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Numbers of the examples that are fitted and that are held out, int [examples], of each part.

    Each class is shared out evenly, as far as groups, which stay in one part, let it be.
    """
    from sklearn import model_selection  # half a second, for those who ask

    of_one_label, drawn = train.labels.ndim == 1, {"shuffle": True, "random_state": seed}
    if train.groups is None:
        kind = model_selection.StratifiedKFold if of_one_label else model_selection.KFold
        parts = kind(count, **drawn)
    elif of_one_label:
        parts = model_selection.StratifiedGroupKFold(count, **drawn)
    else:
        parts = model_selection.GroupKFold(count)
    yield from parts.split(np.arange(len(train)), train.labels, train.groups)


def pairs(train: Examples, count: int, seed: int) -> Iterator[Splits]:
    """What is fitted and what is held out, of each part."""
    for fitted, held_out in split(train, count, seed):
        yield train.part(fitted), train.part(held_out)
