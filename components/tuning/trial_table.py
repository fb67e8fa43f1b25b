"""A search's trials for people: the table on the terminal, and its lines. Light to import."""

from collections.abc import Mapping
from typing import Any

from darkroom.components.base.settings import Value
from darkroom.components.tuning.search_progress import EndedTrial, SearchProgress, headline
from darkroom.components.tuning.tuner_results import TrialRow, short_names

__all__ = ["best_first", "brief", "ending", "failed", "headline", "hyperparameters", "short_names"]


def hyperparameters(row: Mapping[str, Any]) -> dict[str, Value]:
    """The hyperparameters of a flat row by key."""
    return TrialRow.of({"trial_id": "", "score": None, **row}).hyperparameters


def failed(row: Mapping[str, Any]) -> bool:
    """Whether a flat row is of a trial without a score."""
    return TrialRow.of({"trial_id": "", **row}).failed


def ending(trial: EndedTrial, table: SearchProgress) -> str:
    """How one of the table's ended trials ended, in a line."""
    short = short_names(table["names"])
    values = [f"{short[k]}={brief(trial['values'][k])}" for k in short if k in trial["values"]]
    score = trial["score"]
    words = [
        f"trial {trial['trial']}",
        "failed" if score is None else f"{score:.4f}",
        f"{trial['seconds']:.1f} s",
        " ".join(values),
    ]
    if score is None:
        words.append(" ".join((trial["message"] or "").split()))
    elif table["best"] is not None:
        words.append(f"(best {table['best']['score']:.4f})")
    return "  ".join(word for word in words if word)


def best_first(table: SearchProgress) -> list[EndedTrial]:
    """A table's ended trials that have a score."""
    scored = [(trial["score"], trial) for trial in table["ended"] if trial["score"] is not None]
    scored.sort(key=lambda pair: pair[0], reverse=table["maximize"])
    return [trial for _, trial in scored]


def brief(value: object) -> str:
    """A value of a hyperparameter for people."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
