"""The picture of a search: its trials as lines over parallel axes, and what mattered as bars."""

import re
import textwrap
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from darkroom.components.tuning import trial_table
from darkroom.components.tuning.importance import FEWEST_TRIALS, METHOD, is_categorical

# Inches, and shares of an axis' height.
_AXIS_WIDTH = 1.35
_AXIS_HEIGHT = 4.2
_BAR_HEIGHT = 0.3
_TICK_DISTANCE = 0.055
_BELOW = -0.13  # where what has no value, and what failed, passes an axis
_NAME_WIDTH = 14  # characters
_TICK_WIDTH = 12
_BAR_NAME_WIDTH = 48
# Scores so many times as far from the best as the median is are drawn at the end of their axis.
_FAR = 5


class _Axis(NamedTuple):
    """A vertical axis from 0 to 1: where its values are, and what stands beside it."""

    name: str
    place: Callable[[Any], float]
    ticks: list[tuple[float, str]]


def draw(
    rows: list[dict[str, Any]],
    objective: str,
    maximize: bool,
    log: Collection[str],
    importance: dict[str, float],
    path: str,
) -> None:
    """Draws the trials as lines over parallel axes, and what mattered as bars below, as a PNG.

    Args:
      rows: of ``tuner_results.json``.
      objective: name of the score.
      maximize: whether a high score is good. The best is at the top of its axis either way.
      log: names of hyperparameters that get a logarithmic axis.
      importance: of ``importances``; the hyperparameters it names come first, in its order.
      path: of the file.
    """
    values = [trial_table.hyperparameters(row) for row in rows]
    names = list(dict.fromkeys([*importance, *(name for v in values for name in v)]))
    short = trial_table.short_names(names)
    scores = [float(row["score"]) for row in rows if not trial_table.failed(row)]
    axes = [
        _value_axis(short[name], [v[name] for v in values if name in v], name in log)
        for name in names
    ]
    axes.append(_score_axis(objective, scores, maximize))

    width = max(7.0, _AXIS_WIDTH * (len(axes) + 0.5))
    heights = [_AXIS_HEIGHT + 0.2 * max(len(_lines(axis.name)) for axis in axes),
               0.6 + _BAR_HEIGHT * max(1, len(importance))]  # fmt: skip
    figure = Figure(figsize=(width, sum(heights)), layout="constrained")
    above, below = figure.subfigures(2, height_ratios=heights)
    titles = _title(objective, scores, len(rows), maximize), f"Importance: {METHOD}"
    for part, title in zip((above, below), titles, strict=True):
        part.suptitle(title, x=0.01, ha="left", fontsize=10)
    of_each = [[v.get(name) for name in names] for v in values]
    _draw_trials(above.subplots(), axes, rows, of_each)
    _draw_bars(below.subplots(), importance, len(scores), width)
    figure.savefig(path, dpi=120)


def _value_axis(name: str, values: list[Any], log: bool) -> _Axis:
    """The axis of a hyperparameter."""
    if is_categorical(values) or all(isinstance(value, bool) for value in values):
        order = sorted(set(values), key=str)
        last = max(1, len(order) - 1)
        places = {value: i / last if len(order) > 1 else 0.5 for i, value in enumerate(order)}
        return _Axis(name, places.__getitem__, [(p, str(v)) for v, p in places.items()])
    log = log and min(values) > 0
    scale: Callable[[Any], float] = np.log if log else float
    low, high = scale(min(values)), scale(max(values))

    def place(value: Any) -> float:
        return float((scale(value) - low) / (high - low)) if high > low else 0.5

    marks = sorted(set(values))
    if len(marks) > 6:
        steps = np.linspace(low, high, 5)
        whole = all(isinstance(value, int) for value in values)
        between = [float(np.exp(step) if log else step) for step in steps[1:-1]]
        marks = [marks[0], *(round(b) if whole else b for b in between), marks[-1]]
    return _Axis(name, place, [(place(mark), _number(mark, 3)) for mark in marks])


def _score_axis(objective: str, scores: list[float], maximize: bool) -> _Axis:
    """The axis of the scores, the best at the top; the far ones are all at the bottom."""
    if not scores:
        return _Axis(objective, lambda score: 0.5, [])
    worst, best = sorted((min(scores), max(scores)), reverse=not maximize)
    far = best + _FAR * (float(np.median(scores)) - best)
    cut = far != best and abs(worst - best) > abs(far - best)
    end = far if cut else worst

    def place(score: float) -> float:
        return float(np.clip((score - end) / (best - end), 0, 1)) if best != end else 0.5

    marks = np.linspace(end, best, 5 if best != end else 1)
    ticks = [(place(mark), _number(float(mark), 4)) for mark in marks]
    if cut:
        ticks[0] = (0.0, ("≤ " if maximize else "≥ ") + ticks[0][1])
    return _Axis(objective, place, ticks)


def _draw_trials(
    plot: Any, axes: list[_Axis], rows: list[dict[str, Any]], values: list[list[Any]]
) -> None:
    """Draws the axes and a line for each trial."""
    score = axes[-1]
    alpha = float(np.clip(30 / max(1, len(rows)), 0.3, 0.8))
    across = range(len(axes))
    drawn: list[tuple[bool, list[float]]] = []
    for row, of_trial in zip(rows, values, strict=True):
        lost = trial_table.failed(row)
        at = [
            _BELOW if value is None else axis.place(value)
            for axis, value in zip(axes, [*of_trial, None if lost else row["score"]], strict=True)
        ]
        drawn.append((not lost, at))
    # The best last, above the others.
    for done, at in sorted(drawn, key=lambda item: (item[0], item[1][-1])):
        if done:
            colour = colormaps["viridis_r"](at[-1])
            plot.plot(across, at, color=colour, linewidth=1.2, alpha=alpha, marker=".", zorder=2)
        else:
            plot.plot(across, at, color="0.6", linewidth=0.7, linestyle="--", zorder=1)
            plot.plot(across[-1], at[-1], color="tab:red", marker="x", zorder=3)
    finished = [at for done, at in drawn if done]
    if finished:
        best = max(finished, key=lambda at: at[-1])
        plot.plot(
            across, best, color=colormaps["viridis_r"](1.0), linewidth=3, marker="o", zorder=4
        )
    below = [
        ("failed" if axis is score else "not set") * any(at[i] == _BELOW for _, at in drawn)
        for i, axis in enumerate(axes)
    ]
    for i, axis in enumerate(axes):
        plot.plot([i, i], [0, 1], color="black", linewidth=0.8, zorder=3)
        plot.text(i, 1.06, "\n".join(_lines(axis.name)), ha="center", va="bottom", fontsize=9,
                  fontweight="bold" if axis is score else "normal", parse_math=False)  # fmt: skip
        for height, words in [*_apart(axis.ticks), (_BELOW, below[i])]:
            if words:
                plot.annotate(
                    _cut(words, _TICK_WIDTH), (i, height), (5, 0), textcoords="offset points",
                    va="center", fontsize=8, zorder=5, parse_math=False,
                    bbox={"color": "white", "alpha": 0.85, "pad": 0.6},
                )  # fmt: skip
    plot.set(xlim=(-0.35, len(axes) - 0.3), ylim=(-0.2, 1.05))
    plot.set_axis_off()


def _title(objective: str, scores: list[float], count: int, maximize: bool) -> str:
    """What the lines are, in words."""
    words = "1 trial" if count == 1 else f"{count} trials"
    if len(scores) < count:
        words = f"{len(scores)} of {words} finished"
    best = (max if maximize else min)(scores, default=None)
    return words if best is None else f"{words}; thick: the best, {objective} {best:.4g}"


def _draw_bars(plot: Any, importance: dict[str, float], count: int, width: float) -> None:
    """Draws the shares, or says why there are none; ``width`` of the picture in inches."""
    if importance:
        names = [_cut(name, _BAR_NAME_WIDTH) for name in importance]
        bars = plot.barh(range(len(names)), list(importance.values()), color="tab:blue", height=0.6)
        labels = [f"{share:.0%}" if share >= 0.01 else "< 1%" for share in importance.values()]
        plot.bar_label(bars, labels, padding=3, fontsize=9)
        plot.set_yticks(range(len(names)), names, fontsize=9, parse_math=False)
        longest = max(importance.values()) * max(1.1, width / 8)
        plot.set(xlim=(0, longest), ylim=(len(names) - 0.5, -0.5), xticks=[])
        plot.spines[["top", "right", "bottom"]].set_visible(False)
        return
    words = "The trials don't tell which hyperparameters mattered."
    if count < FEWEST_TRIALS:
        are = "trial is" if count == 1 else "trials are"
        words = f"{count} {are} too few to tell which hyperparameters mattered."
    plot.text(0.01, 0.5, words, transform=plot.transAxes, va="center", fontsize=10)
    plot.set_axis_off()


def _apart(ticks: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """Ticks without those that would touch another; the two ends stay."""
    ordered = sorted(ticks)
    kept = ordered[:1]
    for tick in ordered[1:-1]:
        if min(tick[0] - kept[-1][0], ordered[-1][0] - tick[0]) >= _TICK_DISTANCE:
            kept.append(tick)
    return kept + ordered[1:][-1:]


def _lines(name: str) -> list[str]:
    """A name broken after its dots and underscores."""
    lines = [""]
    for part in re.split(r"(?<=[._/])", name):
        if len(lines[-1]) + len(part) > _NAME_WIDTH and lines[-1]:
            lines.append("")
        lines[-1] += part
    return [piece for line in lines for piece in textwrap.wrap(line, _NAME_WIDTH) or [""]]


def _cut(words: str, width: int) -> str:
    """Words without their middle where they are too long."""
    if len(words) <= width:
        return words
    half = (width - 1) // 2
    return f"{words[: width - 1 - half]}…{words[-half:]}"


def _number(value: float, digits: int) -> str:
    return str(value) if isinstance(value, int) else f"{value:.{digits}g}"
