"""How far a search is. Light to import."""

from typing import TypedDict

from darkroom.components.base.settings import Value


class ShownTrial(TypedDict):
    """A trial by its number, and its hyperparameters by key."""

    trial: str
    values: dict[str, Value]


class RunningTrial(ShownTrial):
    """What a trial is doing, in words, and for how long."""

    words: str
    seconds: float


class EndedTrial(ShownTrial):
    """How a trial ended."""

    score: float | None  # None: it failed
    seconds: float
    status: str  # COMPLETED or FAILED
    message: str | None  # why


class SearchProgress(TypedDict):
    """How far a search is, as plain data; what nobody knows is None."""

    names: list[str]  # the hyperparameters' keys
    running: list[RunningTrial]
    ended: list[EndedTrial]  # in that order
    best: EndedTrial | None
    objective: str  # the score's name
    maximize: bool  # whether more of it is better
    planned: int | None  # trials in all
    fraction: float | None  # share of the work that is done
    elapsed: float  # seconds
    remaining: float | None  # seconds


def report(node: str, table: SearchProgress) -> None:
    """Says how far the search of a node is: a line in the log, which has the table attached."""
    from darkroom.components.base import progress  # which loads Keras

    progress.LOGGER.info("%s: %s", node, headline(table), extra={"trials": table})


def headline(table: SearchProgress) -> str:
    """How far a search is, in a line."""
    ended, planned, best = table["ended"], table["planned"], table["best"]
    count = f"{len(ended)}" if planned is None else f"{len(ended)} of {planned}"
    words = [f"{count} trial" if count == "1" else f"{count} trials"]
    if failed := sum(trial["status"] == "FAILED" for trial in ended):
        words.append(f"{failed} failed")
    if best is not None:
        words.append(f"best {best['score']:.4f} (trial {best['trial']})")
    words.append(f"elapsed {clock(table['elapsed'])}")
    if table["remaining"] is not None:
        words.append(f"remaining about {clock(table['remaining'])}")
    return ", ".join(words)


def clock(seconds: float) -> str:
    """Seconds as ``3:12``, or ``1:03:12`` from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
