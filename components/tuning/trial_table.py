"""The rows of a search's results, for whoever shows them. Light to import."""

import math
from typing import Any

# What a row says of a trial; every other key is a hyperparameter.
FIELDS = {
    "trial_id", "score", "status", "seconds", "seed", "initial_epoch", "epochs", "best_epoch",
    "message", "history",
}  # fmt: skip
# KerasTuner's Hyperband and grid search keep their own notes among the values.
_OWN_PREFIX = "tuner/"


def hyperparameters(row: dict[str, Any]) -> dict[str, bool | int | float | str]:
    """The hyperparameters of a row by key."""
    return {
        key: value
        for key, value in row.items()
        if key not in FIELDS and not key.startswith(_OWN_PREFIX) and value is not None
    }


def failed(row: dict[str, Any]) -> bool:
    """Whether a row is of a trial without a score; older rows don't say how a trial ended."""
    score = row["score"]
    return row.get("status") == "FAILED" or score is None or not math.isfinite(score)


def short_names(keys: list[str]) -> dict[str, str]:
    """For each key its last parts, as many as tell it from the others and are no mere number."""
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


def headline(table: dict[str, Any]) -> str:
    """How far a search is, in a line.

    Args:
      table: plain data. ``names``: the hyperparameters' keys. ``running``: trials as dicts of
        ``trial``, ``values``, ``words`` (what it is doing) and ``seconds``. ``ended``: all that
        ended, in that order, as dicts of ``trial``, ``values``, ``score`` (None: it failed),
        ``seconds``, ``status`` (COMPLETED or FAILED) and ``message`` (why, or None). ``best``:
        ``trial``, ``score`` and ``values``, or None. ``objective``: the score's name.
        ``maximize``: whether more of it is better. ``planned``: trials in all, or None.
        ``fraction``: share of the work that is done. ``elapsed`` and ``remaining``: seconds.
        What nobody knows is None.
    """
    ended, planned, best = table["ended"], table["planned"], table["best"]
    count = f"{len(ended)}" if planned is None else f"{len(ended)} of {planned}"
    words = [f"{count} trial" if count == "1" else f"{count} trials"]
    lost = sum(trial["status"] == "FAILED" for trial in ended)
    if lost:
        words.append(f"{lost} failed")
    if best is not None:
        words.append(f"best {best['score']:.4f} (trial {best['trial']})")
    words.append(f"elapsed {clock(table['elapsed'])}")
    if table["remaining"] is not None:
        words.append(f"remaining about {clock(table['remaining'])}")
    return ", ".join(words)


def ending(trial: dict[str, Any], table: dict[str, Any]) -> str:
    """How one of the table's ended trials ended, in a line."""
    short = short_names(table["names"])
    values = [f"{short[k]}={brief(trial['values'][k])}" for k in short if k in trial["values"]]
    lost = trial["score"] is None
    words = [
        f"trial {trial['trial']}",
        "failed" if lost else f"{trial['score']:.4f}",
        f"{trial['seconds']:.1f} s",
        " ".join(values),
    ]
    if lost:
        words.append(" ".join((trial["message"] or "").split()))
    elif table["best"] is not None:
        words.append(f"(best {table['best']['score']:.4f})")
    return "  ".join(word for word in words if word)


def best_first(table: dict[str, Any]) -> list[dict[str, Any]]:
    """A table's ended trials that have a score."""
    scored = [trial for trial in table["ended"] if trial["score"] is not None]
    return sorted(scored, key=lambda trial: trial["score"], reverse=table["maximize"])


def brief(value: object) -> str:
    """A value of a hyperparameter for people."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def clock(seconds: float) -> str:
    """Seconds as ``3:12``, or ``1:03:12`` from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
