"""The metrics' names, and whose they are, without computing them. Light to import."""

from typing import NamedTuple

Slice = tuple[tuple[str, str], ...]  # features and their values


class Group(NamedTuple):
    """The examples that a metric is of: all, those of a class, of a slice, or of both."""

    class_name: str | None = None
    slice: Slice = ()

    def subject(self, metric: str) -> str:
        """The group's metric in words, such as ``recall of 'pear' where camera is old``."""
        of_class = f" of {quoted(self.class_name)}" if self.class_name is not None else ""
        where = " and ".join(f"{key} is {value}" for key, value in self.slice)
        return f"{metric}{of_class}" + (f" where {where}" if where else "")


def quoted(name: str) -> str:
    """A class's name as it is, in quotation marks."""
    return f"'{name}'"


TOP = (3, 5)  # top-k accuracies: one of the k best must be right, of more than k classes
AVERAGES = ("macro", "weighted", "micro")
AVERAGED = ("precision", "recall", "f1")


def top_accuracy(number: int) -> str:
    """The name of a top-k accuracy."""
    return f"top_{number}_accuracy"


# What a threshold can name: of numbers, of the whole and of each; of classes, too.
OF_NUMBERS = ("mae", "rmse", "r2", "coverage")
OVERALL = (
    *("accuracy", "loss", "auc", "calibration_error"),
    *map(top_accuracy, TOP),
    *(f"{kind}_{name}" for kind in AVERAGES for name in AVERAGED),
)
OF_CLASSES = (*AVERAGED, "auc")
# All are from 0 to 1, the more the better, but for these.
_LOWER_IS_BETTER = {"loss", "calibration_error", "mae", "rmse"}
_UNBOUNDED = {"loss", "mae", "rmse", "r2"}
_NEITHER = {"coverage"}  # which should be what was asked for


def is_better(name: str, difference: float) -> bool | None:
    """Whether a metric that changed by so much is better; None of a user's: nobody said which."""
    if name not in (*OVERALL, *OF_CLASSES, *OF_NUMBERS) or name in _NEITHER:
        return None
    return (difference < 0) == (name in _LOWER_IS_BETTER)


def can_be(name: str, limit: float) -> bool:
    """Whether one of ours can have such a value."""
    return name in _UNBOUNDED or 0 <= limit <= 1


def meaningful(classes: int, multi_label: bool, of_numbers: bool = False) -> list[str]:
    """The metrics of the whole that say something about this number of classes, or numbers."""
    if of_numbers:
        return list(OF_NUMBERS)
    left_out = {top_accuracy(number) for number in TOP if multi_label or number >= classes}
    if not multi_label:  # all the same as the accuracy
        left_out |= {"micro_precision", "micro_recall", "micro_f1"}
    return [name for name in OVERALL if name not in left_out]
