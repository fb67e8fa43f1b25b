"""The picture of a search: its trials as lines over parallel axes, and what mattered as bars."""

import re
import textwrap
from collections.abc import Callable, Collection
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from darkroom.components.base.settings import Value
from darkroom.components.tuning.importance import FEWEST_TRIALS, METHOD, importances, is_categorical
from darkroom.components.tuning.tuner_results import TrialRow, short_names

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
    place: Callable[[Value], float]
    ticks: list[tuple[float, str]]
    below: str  # what it means to pass below it


class _Line(NamedTuple):
    """A trial."""

    finished: bool
    heights: list[float]  # on each axis


def draw(
    rows: list[TrialRow], objective: str, maximize: bool, log: Collection[str], path: str
) -> None:
    """Draws the trials as lines over parallel axes, and what mattered as bars below, as a PNG.

    Args:
      rows: of ``tuner_results.json``.
      objective: name of the score.
      maximize: whether a high score is good. The best is at the top of its axis either way.
      log: names of hyperparameters that were sampled on a logarithmic scale: so are their axes.
      path: of the file.
    """
    done = [(row.hyperparameters, row.score) for row in rows if row.score is not None]
    mattered = importances([values for values, _ in done], [score for _, score in done], log)
    others = (name for row in rows for name in row.hyperparameters)
    names = list(dict.fromkeys([*mattered, *others]))
    short = short_names(names)
    scores = [float(row.score) for row in rows if row.score is not None and not row.failed]
    axes = []
    for name in names:
        column = [row.hyperparameters[name] for row in rows if name in row.hyperparameters]
        axes.append(_value_axis(short[name], column, name in log))
    axes.append(_score_axis(objective, scores, maximize))
    lines = []
    for row in rows:
        values = [row.hyperparameters.get(name) for name in names]
        values.append(None if row.failed else row.score)
        heights = [_BELOW if v is None else a.place(v) for a, v in zip(axes, values, strict=True)]
        lines.append(_Line(not row.failed, heights))

    width = max(7.0, _AXIS_WIDTH * (len(axes) + 0.5))
    above, below = (_AXIS_HEIGHT + 0.2 * max(len(_broken(axis.name)) for axis in axes),
                    0.6 + _BAR_HEIGHT * max(1, len(mattered)))  # fmt: skip
    figure = Figure(figsize=(width, above + below), layout="constrained")
    parts = figure.subfigures(2, height_ratios=(above, below))
    titles = _title(objective, scores, len(rows), maximize), f"Importance: {METHOD}"
    for part, title in zip(parts, titles, strict=True):
        part.suptitle(title, x=0.01, ha="left", fontsize=10)
    _draw_trials(parts[0].subplots(), axes, lines)
    _draw_bars(parts[1].subplots(), mattered, len(scores), width)
    figure.savefig(path, dpi=120)


def _value_axis(name: str, values: list[Value], log: bool) -> _Axis:
    """The axis of a hyperparameter."""
    if is_categorical(values) or all(isinstance(value, bool) for value in values):
        order = sorted(set(values), key=str)
        places = dict(zip(order, np.linspace(0, 1, len(order)).tolist(), strict=True))
        if len(order) == 1:
            places = {order[0]: 0.5}
        return _Axis(name, places.__getitem__, [(p, str(v)) for v, p in places.items()], "not set")
    numbers = [value for value in values if not isinstance(value, str)]
    log = log and min(numbers) > 0
    scale: Callable[[Value], float] = np.log if log else float
    low, high = scale(min(numbers)), scale(max(numbers))

    def place(value: Value) -> float:
        return float((scale(value) - low) / (high - low)) if high > low else 0.5

    marks: list[float] = sorted(set(numbers))
    if len(marks) > 6:
        steps = np.linspace(low, high, 5)[1:-1]
        between = [float(np.exp(step) if log else step) for step in steps]
        if all(isinstance(number, int) for number in numbers):
            between = [round(mark) for mark in between]
        marks = [marks[0], *between, marks[-1]]
    return _Axis(name, place, [(place(mark), _number(mark, 3)) for mark in marks], "not set")


def _score_axis(objective: str, scores: list[float], maximize: bool) -> _Axis:
    """The axis of the scores, the best at the top; the far ones are all at the bottom."""
    if not scores:
        return _Axis(objective, lambda score: 0.5, [], "failed")
    worst, best = sorted((min(scores), max(scores)), reverse=not maximize)
    far = best + _FAR * (float(np.median(scores)) - best)
    cut = far != best and abs(worst - best) > abs(far - best)
    end = far if cut else worst

    def place(score: Value) -> float:
        return float(np.clip((float(score) - end) / (best - end), 0, 1)) if best != end else 0.5

    marks = np.linspace(end, best, 5 if best != end else 1).tolist()
    ticks = [(place(mark), _number(mark, 4)) for mark in marks]
    if cut:
        ticks[0] = (0.0, ("≤ " if maximize else "≥ ") + ticks[0][1])
    return _Axis(objective, place, ticks, "failed")


def _draw_trials(plot: Axes, axes: list[_Axis], lines: list[_Line]) -> None:
    """Draws the axes and a line for each trial."""
    alpha = float(np.clip(30 / max(1, len(lines)), 0.3, 0.8))
    across = range(len(axes))
    green = colormaps["viridis_r"]
    # The best last, above the others.
    for line in sorted(lines, key=lambda line: (line.finished, line.heights[-1])):
        end = line.heights[-1]
        if line.finished:
            plot.plot(across, line.heights, color=green(end), linewidth=1.2, alpha=alpha,
                      marker=".", zorder=2)  # fmt: skip
        else:
            plot.plot(across, line.heights, color="0.6", linewidth=0.7, linestyle="--", zorder=1)
            plot.plot(across[-1], end, color="tab:red", marker="x", zorder=3)
    finished = [line.heights for line in lines if line.finished]
    if finished:
        best = max(finished, key=lambda heights: heights[-1])
        plot.plot(across, best, color=green(1.0), linewidth=3, marker="o", zorder=4)
    for i, axis in enumerate(axes):
        plot.plot([i, i], [0, 1], color="black", linewidth=0.8, zorder=3)
        weight = "bold" if axis is axes[-1] else "normal"
        plot.text(i, 1.06, "\n".join(_broken(axis.name)), ha="center", va="bottom", fontsize=9,
                  fontweight=weight, parse_math=False)  # fmt: skip
        passed = any(line.heights[i] == _BELOW for line in lines)
        for height, words in [*_apart(axis.ticks), *[(_BELOW, axis.below)] * passed]:
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


def _draw_bars(plot: Axes, mattered: dict[str, float], count: int, width: float) -> None:
    """Draws the shares, or says why there are none; ``width`` of the picture in inches."""
    if mattered:
        names = [_cut(name, _BAR_NAME_WIDTH) for name in mattered]
        bars = plot.barh(range(len(names)), list(mattered.values()), color="tab:blue", height=0.6)
        labels = [f"{share:.0%}" if share >= 0.01 else "< 1%" for share in mattered.values()]
        plot.bar_label(bars, labels, padding=3, fontsize=9)
        plot.set_yticks(range(len(names)), names, fontsize=9, parse_math=False)
        longest = max(mattered.values()) * max(1.1, width / 8)
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


def _broken(name: str) -> list[str]:
    """The lines of a name that is broken after its dots and underscores."""
    spaced = re.sub(r"(?<=[._/])", " ", name)
    return [line.replace(" ", "") for line in textwrap.wrap(spaced, _NAME_WIDTH)]


def _cut(words: str, width: int) -> str:
    """Words without their middle where they are too long."""
    half = (width - 1) // 2
    return words if len(words) <= width else f"{words[: width - 1 - half]}…{words[-half:]}"


def _number(value: float, digits: int) -> str:
    return str(value) if isinstance(value, int) else f"{value:.{digits}g}"
