"""A search's trials for people: the table on the terminal, and its lines. Light to import."""

from collections.abc import Iterable
from typing import TypedDict

from darkroom.components.base.settings import Value
from darkroom.components.tuning.tuner_results import TrialRow


class RunningTrial(TypedDict):
    """What a trial is doing, in words, and for how long."""

    trial: str  # its number
    values: dict[str, Value]  # of the hyperparameters, by key
    words: str
    seconds: float


class SearchProgress(TypedDict):
    """How far a search is, as plain data; what nobody knows is None."""

    names: list[str]  # the hyperparameters' keys
    running: list[RunningTrial]
    ended: list[TrialRow]  # in that order
    best: TrialRow | None
    objective: str  # the score's name
    maximize: bool  # whether more of it is better
    planned: int | None  # trials in all
    fraction: float | None  # share of the work that is done
    elapsed: float  # seconds
    remaining: float | None  # seconds


def headline(table: SearchProgress) -> str:
    """How far a search is, in a line."""
    ended, planned, best = table["ended"], table["planned"], table["best"]
    count = f"{len(ended)}" if planned is None else f"{len(ended)} of {planned}"
    words = [f"{count} trial" if count == "1" else f"{count} trials"]
    if failed := sum(row.status == "FAILED" for row in ended):
        words.append(f"{failed} failed")
    if best is not None:
        words.append(f"best {best.score:.4f} (trial {best.number})")
    words.append(f"elapsed {clock(table['elapsed'])}")
    if table["remaining"] is not None:
        words.append(f"remaining about {clock(table['remaining'])}")
    return ", ".join(words)


def ending(row: TrialRow, table: SearchProgress) -> str:
    """How one of the table's ended trials ended, in a line."""
    short, values = short_names(table["names"]), row.hyperparameters
    words = [
        f"trial {row.number}",
        "failed" if row.score is None else f"{row.score:.4f}",
        f"{row.seconds:.1f} s",
        # Hyperband goes on with a trial that was good after fewer epochs.
        f"epochs {row.initial_epoch + 1} to {row.epochs}" if row.initial_epoch else "",
        " ".join(f"{short[key]}={brief(values[key])}" for key in short if key in values),
    ]
    if row.score is None:
        words.append(" ".join((row.message or "").split()))
    elif table["best"] is not None:
        words.append(f"(best {table['best'].score:.4f})")
    return "  ".join(word for word in words if word)


def best_first(rows: Iterable[TrialRow], maximize: bool) -> list[TrialRow]:
    """The rows that have a score, the best first."""
    scored = [(row.score, row) for row in rows if row.score is not None]
    scored.sort(key=lambda pair: pair[0], reverse=maximize)
    return [row for _, row in scored]


def brief(value: object) -> str:
    """A value of a hyperparameter for people."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def clock(seconds: float) -> str:
    """Seconds as ``3:12``, or ``1:03:12`` from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def short_names(keys: list[str]) -> dict[str, str]:
    """The last parts of each key, as many as tell it from the others and are no mere number."""
    parts = {key: key.split(".") for key in keys}

    def shortest(key: str) -> str:
        own = parts[key]
        for count in range(1, len(own)):
            last = own[-count:]
            alike = sum(other[-count:] == last for other in parts.values())
            if alike == 1 and not last[0].isdecimal():
                return ".".join(last)
        return key

    return {key: shortest(key) for key in keys}
