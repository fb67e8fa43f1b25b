"""The picture of a search: its trials as lines over parallel axes, and what mattered as bars."""

import re
import textwrap
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from darkroom.components.base.settings import Value
from darkroom.components.tuning.importance import FEWEST_TRIALS, METHOD, importances, is_categorical
from darkroom.components.tuning.trial_table import short_names
from darkroom.components.tuning.tuner_results import TrialRow

# Inches, and shares of an axis' height.
_AXIS_WIDTH, _AXIS_HEIGHT, _BAR_HEIGHT = 1.35, 4.2, 0.3
_TICK_DISTANCE = 0.055
_BELOW = -0.13  # where trials that failed, or have no value, pass an axis
_NAME_WIDTH, _TICK_WIDTH, _BAR_NAME_WIDTH = 14, 12, 48  # characters
# Scores this many times as far from the best as the median are drawn at the end of their axis.
_FAR = 5


class _Axis(NamedTuple):
    """A vertical axis from 0 to 1: where trials pass it, and what stands beside it."""

    name: str
    heights: list[float]  # of each trial
    ticks: list[tuple[float, str]]
    below: str  # what it means to pass below it


def draw(
    rows: list[TrialRow], objective: str, maximize: bool, log: Collection[str], path: str
) -> None:
    """Draws a PNG: trials as lines over axes, some of them ``log``, and what mattered as bars."""
    done = [(row.hyperparameters, row.score) for row in rows if row.score is not None]
    mattered = importances([values for values, _ in done], [score for _, score in done], log)
    others = (name for row in rows for name in row.hyperparameters)
    short = short_names(list(dict.fromkeys([*mattered, *others])))
    axes = [
        _value_axis(shown, [row.hyperparameters.get(name) for row in rows], name in log)
        for name, shown in short.items()
    ]
    scores = [None if row.failed else row.score for row in rows]
    finished = [score for score in scores if score is not None]
    axes.append(_score_axis(objective, scores, finished, maximize))

    width = max(7.0, _AXIS_WIDTH * (len(axes) + 0.5))
    above = _AXIS_HEIGHT + 0.2 * max(len(_broken(axis.name)) for axis in axes)
    below = 0.6 + _BAR_HEIGHT * max(1, len(mattered))
    figure = Figure(figsize=(width, above + below), layout="constrained")
    parts = figure.subfigures(2, height_ratios=(above, below))
    titles = _title(objective, finished, len(rows), maximize), f"Importance: {METHOD}"
    for part, title in zip(parts, titles, strict=True):
        part.suptitle(title, x=0.01, ha="left", fontsize=10)
    plot = parts[0].subplots()
    _draw_trials(plot, axes, [score is not None for score in scores])
    for place, axis in enumerate(axes):
        _draw_axis(plot, place, axis, "normal" if axis is not axes[-1] else "bold")
    plot.set(xlim=(-0.35, len(axes) - 0.3), ylim=(-0.2, 1.05))
    plot.set_axis_off()
    _draw_bars(parts[1].subplots(), mattered, len(finished), width)
    figure.savefig(path, dpi=120)


def _value_axis(name: str, column: list[Value | None], log: bool) -> _Axis:
    values = [value for value in column if value is not None]
    if is_categorical(values) or all(isinstance(value, bool) for value in values):
        order = sorted(set(values), key=str)
        places = [None if value is None else order.index(value) for value in column]
        return _axis(name, places, [(i, str(value)) for i, value in enumerate(order)], "not set")
    numbers = [float(value) for value in values]
    scale = np.log if log and min(numbers) > 0 else float
    marks = sorted(set(values), key=float)
    if len(marks) > 6:
        steps = np.linspace(scale(min(numbers)), scale(max(numbers)), 5)[1:-1]
        between = (np.exp(steps) if scale is np.log else steps).tolist()
        if all(isinstance(value, int) for value in values):
            between = [round(mark) for mark in between]
        marks = [marks[0], *between, marks[-1]]
    ticks = [(scale(float(mark)), _number(mark, 3)) for mark in marks]
    return _axis(name, [None if v is None else scale(float(v)) for v in column], ticks, "not set")


def _score_axis(
    objective: str, scores: Sequence[float | None], finished: list[float], maximize: bool
) -> _Axis:
    """The axis of the scores, the best at the top; the far ones are all at the bottom."""
    ticks: list[tuple[float, str]] = []
    if finished:
        worst, best = sorted((min(finished), max(finished)), reverse=not maximize)
        far = best + _FAR * (float(np.median(finished)) - best)
        cut = far != best and abs(worst - best) > abs(far - best)
        marks = np.linspace(far if cut else worst, best, 5 if best != worst else 1).tolist()
        ticks = [(mark, _number(mark, 4)) for mark in marks]
        if cut:
            ticks[0] = (far, ("≤ " if maximize else "≥ ") + ticks[0][1])
    return _axis(objective, scores, ticks, "failed")


def _axis(
    name: str, numbers: Sequence[float | None], marks: list[tuple[float, str]], below: str
) -> _Axis:
    """An axis from the first mark to the last; numbers beyond are at its ends."""
    first, last = (marks[0][0], marks[-1][0]) if marks else (0.0, 0.0)

    def height(number: float) -> float:
        return float(np.clip((number - first) / (last - first), 0, 1)) if first != last else 0.5

    heights = [_BELOW if number is None else height(number) for number in numbers]
    return _Axis(name, heights, [(height(mark), words) for mark, words in marks], below)


def _draw_trials(plot: Axes, axes: list[_Axis], finished: list[bool]) -> None:
    """Draws a line for each trial; the best last, above the others, and thick."""
    across, colour = range(len(axes)), colormaps["viridis_r"]
    heights = zip(*(axis.heights for axis in axes), strict=True)
    lines = sorted(zip(finished, heights, strict=True), key=lambda pair: (pair[0], pair[1][-1]))
    alpha = float(np.clip(30 / max(1, len(finished)), 0.3, 0.8))
    for is_finished, line in lines:
        if is_finished:
            shade = colour(line[-1], alpha)
            plot.plot(across, line, color=shade, linewidth=1.2, marker=".", zorder=2)
        else:
            plot.plot(across, line, color="0.6", linewidth=0.7, linestyle="--", zorder=1)
            plot.plot(across[-1], line[-1], color="tab:red", marker="x", zorder=3)
    if any(finished):
        best = max((line for is_finished, line in lines if is_finished), key=lambda line: line[-1])
        plot.plot(across, best, color=colour(1.0), linewidth=3, marker="o", zorder=4)


def _draw_axis(plot: Axes, place: int, axis: _Axis, weight: str) -> None:
    plot.plot([place, place], [0, 1], color="black", linewidth=0.8, zorder=3)
    title = plot.text(place, 1.06, "\n".join(_broken(axis.name)), ha="center", va="bottom")
    title.set(fontsize=9, fontweight=weight, parse_math=False)
    ticks = sorted(axis.ticks)
    shown = ticks[:1]
    for tick in ticks[1:-1]:  # but those that would touch another; the two ends stay
        if min(tick[0] - shown[-1][0], ticks[-1][0] - tick[0]) >= _TICK_DISTANCE:
            shown.append(tick)
    below = [(_BELOW, axis.below)] * (_BELOW in axis.heights)
    for height, words in [*shown, *ticks[1:][-1:], *below]:
        plot.annotate(
            _cut(words, _TICK_WIDTH), (place, height), (5, 0), textcoords="offset points",
            va="center", fontsize=8, zorder=5, parse_math=False,
            bbox={"color": "white", "alpha": 0.85, "pad": 0.6},
        )  # fmt: skip


def _title(objective: str, scores: list[float], count: int, maximize: bool) -> str:
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


def _broken(name: str) -> list[str]:
    spaced = re.sub(r"(?<=[._/])", " ", name)
    return [line.replace(" ", "") for line in textwrap.wrap(spaced, _NAME_WIDTH)]


def _cut(words: str, width: int) -> str:
    """Words without their middle where they are too long."""
    half = (width - 1) // 2
    return words if len(words) <= width else f"{words[: width - 1 - half]}…{words[-half:]}"


def _number(value: Value, digits: int) -> str:
    return str(value) if isinstance(value, int) else f"{float(value):.{digits}g}"
