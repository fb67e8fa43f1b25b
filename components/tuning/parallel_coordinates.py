"""The picture of a search: its trials as lines over parallel axes, and what mattered as bars."""

import textwrap
from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from darkroom.components.base.settings import Value
from darkroom.components.tuning.importance import FEWEST_TRIALS, METHOD, importances, is_categorical
from darkroom.components.tuning.trial_table import brief, short_names
from darkroom.components.tuning.tuner_results import TrialRow

_AXIS_WIDTH, _AXIS_HEIGHT, _BAR_HEIGHT = 1.35, 4.8, 0.3  # inches
_BELOW = -0.13  # where trials that failed, or have no value, pass an axis from 0 to 1
_FEW = 6  # different numbers, at most, that are all ticks, at equal distances
# Scores this many times as far from the best as the median are drawn at the end of their axis.
_FAR = 5


class _Axis(NamedTuple):
    """A vertical axis: at which height trials pass it, and what stands beside it."""

    name: str
    heights: np.ndarray  # of each trial
    ticks: list[tuple[float, str]]


def draw(
    rows: list[TrialRow], objective: str, maximize: bool, log: Collection[str], path: str
) -> None:
    """Draws a PNG: trials as lines over axes, some of them ``log``, and what mattered as bars."""
    scores = [None if row.failed else row.score for row in rows]
    finished = [score for score in scores if score is not None]
    values = [row.hyperparameters for row in rows if not row.failed]
    mattered = importances(values, finished, log)
    names = dict.fromkeys([*mattered, *(name for row in rows for name in row.hyperparameters)])
    axes = [
        _value_axis(short, [row.hyperparameters.get(name) for row in rows], name in log)
        for name, short in short_names(list(names)).items()
    ]
    axes.append(_score_axis(objective, scores, maximize))

    width = max(7.0, _AXIS_WIDTH * (len(axes) + 0.5))
    heights = _AXIS_HEIGHT, 0.6 + _BAR_HEIGHT * max(1, len(mattered))
    figure = Figure(figsize=(width, sum(heights)), layout="constrained")
    lines, bars = figure.subfigures(2, height_ratios=heights)
    title = "1 trial" if len(rows) == 1 else f"{len(rows)} trials"
    if len(finished) < len(rows):
        title = f"{len(finished)} of {title} finished"
    if finished:
        title += f"; thick: the best, {objective} {brief((max if maximize else min)(finished))}"
    for part, words in (lines, title), (bars, f"Importance: {METHOD}"):
        part.suptitle(words, x=0.01, ha="left", fontsize=10)
    _draw_lines(lines.subplots(), axes)
    _draw_bars(bars.subplots(), mattered, len(finished))
    figure.savefig(path, dpi=120)


def _value_axis(name: str, column: list[Value | None], log: bool) -> _Axis:
    values = {value for value in column if value is not None}
    order = sorted(values, key=str if is_categorical(values) else float)
    if is_categorical(values) or len(order) <= _FEW:
        places = [None if value is None else order.index(value) for value in column]
        return _axis(name, np.array(places, float), list(enumerate(map(brief, order))), "not set")
    ends, is_log = (float(order[0]), float(order[-1])), log and float(order[0]) > 0
    scale, space = (np.log, np.geomspace) if is_log else (np.positive, np.linspace)
    ticks = [(float(scale(mark)), f"{mark:.3g}") for mark in space(*ends, 5).tolist()]
    return _axis(name, scale(np.array(column, float)), ticks, "not set")


def _score_axis(name: str, scores: list[float | None], maximize: bool) -> _Axis:
    """The axis of the scores, the best at the top; the far ones are all at the bottom."""
    sign = 1 if maximize else -1
    numbers = sign * np.array(scores, float)
    if np.isnan(numbers).all():
        return _Axis(name, np.full(len(scores), _BELOW), [(_BELOW, "failed")])
    worst, best = np.nanmin(numbers), np.nanmax(numbers)
    far = best - _FAR * (best - np.nanmedian(numbers))
    bottom, words = (far, " or worse") if worst < far < best else (worst, "")
    ticks = [(mark, brief(sign * mark)) for mark in np.linspace(bottom, best, 5).tolist()]
    ticks[0] = (bottom, ticks[0][1] + words)
    return _axis(name, numbers, ticks, "failed")


def _axis(name: str, numbers: np.ndarray, ticks: list[tuple[float, str]], below: str) -> _Axis:
    """An axis from the first tick to the last; numbers beyond are at its ends."""
    ends = [ticks[0][0], ticks[-1][0]]
    placed = [(float(np.interp(mark, ends, [0, 1])), words) for mark, words in ticks]
    if np.isnan(numbers).any():
        placed.append((_BELOW, below))
    return _Axis(name, np.nan_to_num(np.interp(numbers, ends, [0, 1]), nan=_BELOW), placed)


def _draw_lines(plot: Axes, axes: list[_Axis]) -> None:
    """Draws a line for each trial; the best last, above the others, and thick."""
    across, colour = range(len(axes)), colormaps["viridis_r"]
    heights = zip(*(axis.heights for axis in axes), strict=True)
    lines = sorted(heights, key=lambda line: line[-1])
    for line in lines:
        if line[-1] == _BELOW:
            plot.plot(across, line, color="0.6", linewidth=0.7, linestyle="--")
            plot.plot(across[-1], line[-1], color="tab:red", marker="x")
        elif line is lines[-1]:
            plot.plot(across, line, color=colour(1.0), linewidth=3, marker="o")
        else:
            plot.plot(across, line, color=colour(line[-1], 0.7), linewidth=1.2, marker=".")
    plot.vlines(across, 0, 1, color="black", linewidth=0.8)
    for place, axis in enumerate(axes):
        for height, words in axis.ticks:
            label = plot.text(place + 0.05, height, textwrap.fill(words, 14), parse_math=False)
            label.set(va="center", fontsize=8, zorder=3)
            label.set_bbox({"color": "white", "alpha": 0.85, "pad": 0.6})
    names = [textwrap.fill(axis.name, 14) for axis in axes]
    plot.set_xticks(across, names, fontsize=9, parse_math=False)
    plot.tick_params(top=False, labeltop=True, bottom=False, labelbottom=False)
    plot.set(xlim=(-0.35, len(axes) - 0.3), ylim=(-0.2, 1.05), yticks=[], frame_on=False)


def _draw_bars(plot: Axes, mattered: dict[str, float], count: int) -> None:
    """Draws the shares, or says why there are none."""
    if mattered:
        names = [textwrap.fill(name, 48) for name in mattered]
        bars = plot.barh(range(len(names)), list(mattered.values()), height=0.6)
        plot.bar_label(bars, fmt="{:.0%}", padding=3, fontsize=9)
        plot.set_yticks(range(len(names)), names, fontsize=9, parse_math=False)
        plot.set(xlim=(0, 1.1), ylim=(len(names) - 0.5, -0.5), xticks=[])
        plot.spines[["top", "right", "bottom"]].set_visible(False)
        return
    words = "The trials don't tell which hyperparameters mattered."
    if count < FEWEST_TRIALS:
        are = "trial is" if count == 1 else "trials are"
        words = f"{count} {are} too few to tell which hyperparameters mattered."
    plot.text(0.01, 0.5, words, transform=plot.transAxes, va="center", fontsize=10)
    plot.set_axis_off()
