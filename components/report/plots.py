"""The plots of a report, as SVG inside the page; the same facts give the same bytes.

Okabe and Ito's colours, which colour-blind people tell apart, with other strokes and hatching. A
page may change them by CSS, as for a dark ground; where shades have a meaning the ground is light.
"""

import base64
import html
import io
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from darkroom.components.evaluation.artifacts import Bin
from darkroom.components.report import views
from darkroom.components.report.facts import Distribution, Split, Training
from darkroom.components.training.model_run import History

# Up to this number of classes a confusion matrix has numbers in its cells, and is an SVG.
MOST_NUMBERED, MOST_DRAWN = 20, 30

_BLUE, _VERMILION, _GREEN, _PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
_COLOURS = (_BLUE, _VERMILION, _GREEN, _PURPLE)
_STROKES = ("-", "--", "-.", ":")
_HATCHES = ("", "////", "....", "xxxx")
_CURVES = {
    "loss": "Loss",
    "accuracy": "Accuracy",
    "mae": "MAE, in deviations",
    "learning_rate": "Learning rate",
}
_GROUND, _INK, _FAINT = "#fbfaf8", "#33312e", "#d9d6d0"
# Properties of CSS that stand for colours, on a page that has them.
_PROPERTIES = {"ground": _GROUND, "ink": _INK, "faint": _FAINT, "first": _BLUE}
# Shares from 0 to 1, ever darker.
_SHARES = LinearSegmentedColormap.from_list("shares", [_GROUND, "#a9cde2", _BLUE, "#00304d"])
_Look = dict[str, Any]  # keywords of Matplotlib's
_INCH = 72  # points
_SMALL, _TEXT = 8.5, 9.5  # points
_NAME_WIDTH = 18  # characters
# A page's font, as text is written as text.
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "darkroom",
    "font.family": "sans-serif",
    "font.size": _TEXT,
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), _INK
    ),
    "text.parse_math": False,
    "hatch.linewidth": 0.7,
}


def curves(training: Training) -> list[str]:
    """The metrics of a training that have a plot."""
    history, exported = training["history"], training["exported_epoch"]
    is_constant = len(set(history.get("learning_rate", []))) < 2  # which is no curve
    shown = {m: title for m, title in _CURVES.items() if m != "learning_rate" or not is_constant}
    drawn = (curve(history, metric, exported, title) for metric, title in shown.items())
    return [plot for plot in drawn if plot]


def curve(history: History, metric: str, exported: int, title: str) -> str:
    """A metric of train and validation by epoch; empty where the history has neither."""
    drawn = {
        words: np.asarray(history[name], float)
        for words, name in (("train", metric), ("validation", f"val_{metric}"))
        if history.get(name)
    }
    if not drawn:
        return ""
    with rc_context(_STYLE):
        figure, plot = _figure(3.85, 2.8, left=0.55, bottom=0.5, top=0.42)
        longest = max(map(len, drawn.values()))
        for (words, values), colour, stroke in zip(drawn.items(), _COLOURS, _STROKES, strict=False):
            epochs = range(1, len(values) + 1)
            dot = {"marker": "o", "markersize": 4.0} if longest < 3 else {}
            plot.plot(epochs, values, color=colour, linestyle=stroke, linewidth=1.8,
                      label=words if len(drawn) > 1 else None,
                      **dot)  # type: ignore[arg-type]  # fmt: skip
        plot.axvline(exported + 1, color=_INK, linewidth=1, linestyle=":", label="exported epoch")
        plot.set(xlabel="epoch", xlim=(1 - 0.03 * longest, longest + 0.03 * longest))
        plot.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        plot.grid(axis="y", color=_FAINT, linewidth=0.6)
        plot.legend(frameon=False, fontsize=_SMALL, loc="best", handlelength=2.6)
        plot.set_title(title, loc="left", fontsize=_TEXT, fontweight="bold")
        ends = "; ".join(f"{w} from {v[0]:.4g} to {v[-1]:.4g}" for w, v in drawn.items())
        return _svg(figure, f"{title} by epoch: {ends}")


def confusion(matrix: Sequence[Sequence[int]] | None, classes: list[str]) -> str:
    """Examples by true and predicted class, as SVG or, of many, an image; empty without."""
    if not matrix:
        return ""
    order = [classes.index(name) for name in views.ordered(classes)]
    classes = [classes[number] for number in order]
    counts = np.asarray(matrix, float)[np.ix_(order, order)]
    sums = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, sums, out=np.zeros_like(counts), where=sums > 0)
    many = len(classes)
    names = [_cut(name) for name in classes]
    cell = 0.35 if many <= MOST_NUMBERED else 0.26 if many <= MOST_DRAWN else 9.0 / many
    side = max(2.0, cell * many)
    size = _SMALL if many <= MOST_DRAWN else max(2.0, min(_SMALL, 60 * cell))
    with rc_context(_STYLE):
        margin = 0.45 + 0.0082 * size * max(len(name) for name in names)
        figure, plot = _figure(
            side + margin + 0.8, side + margin + 0.25, left=margin, bottom=margin, right=0.8,
            top=0.25,
        )  # fmt: skip
        plot.imshow(shares, cmap=_SHARES, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        plot.set_xticks(range(many), names, rotation=90, fontsize=size)
        plot.set_yticks(range(many), names, fontsize=size)
        plot.tick_params(length=0)
        plot.set(xlabel="predicted", ylabel="true")
        if many <= MOST_NUMBERED:
            for row, column in zip(*np.nonzero(counts), strict=True):
                dark = shares[row, column] > 0.5
                value = int(counts[row, column])
                plot.text(column, row, f"{value}", ha="center", va="center",
                          color="white" if dark else _INK,
                          fontsize=_SMALL if value < 10000 else _SMALL - 1.5)  # fmt: skip
        _colour_bar(figure, plot, side + margin + 0.8)
        correct = np.trace(counts) / max(1, counts.sum())
        words = f"Confusion matrix of {many} classes: {correct:.1%} of the examples on its diagonal"
        return _svg(figure, words, properties={}) if many <= MOST_DRAWN else _png(figure, words)


def residuals(name: str, pairs: Sequence[tuple[float, float]]) -> str:
    """How far what was said of a number is from what is true, by that."""
    true, said = np.asarray(pairs, float).reshape(-1, 2).T
    off = said - true
    with rc_context(_STYLE):
        figure, plot = _figure(4.7, 3.6, left=0.75, bottom=0.52, top=0.42, right=0.3)
        plot.scatter(true, off, s=9, color=_BLUE, alpha=0.5, linewidths=0)
        plot.axhline(0, color=_INK, linewidth=1, linestyle=":")
        plot.set(xlabel=f"true {_cut(name)}", ylabel="said less true")
        plot.set_title(f"Residuals of {_cut(name)}", loc="left", fontsize=_TEXT, fontweight="bold")
        low, middle, high = np.nanquantile(off, [0.05, 0.5, 0.95]) if len(off) else [math.nan] * 3
        words = (
            f"said less true from {low:.4g} to {high:.4g} in 9 of 10 images, {middle:.4g} in the"
        )
        return _svg(figure, f"Residuals of {name}: {words} median")


def calibration(bins: Sequence[Bin]) -> str:
    """How often the model is right by how sure it is, with bars of examples; empty without."""
    if not bins:
        return ""
    with rc_context(_STYLE):
        figure, plot = _figure(4.7, 3.6, left=0.62, bottom=0.52, top=0.42, right=0.3)
        total = sum(one.examples for one in bins)
        shares = [one.examples / total for one in bins]
        widths = [one.high - one.low for one in bins]
        plot.bar([one.low for one in bins], shares, widths, align="edge", color=_FAINT,
                 edgecolor=_GROUND, label="share of the examples")  # fmt: skip
        plot.plot([0, 1], [0, 1], color=_INK, linewidth=1, linestyle=":", label="score = share")
        plot.plot(
            [one.score for one in bins], [one.correct for one in bins], color=_BLUE, marker="o",
            markersize=4, linewidth=1.8, label="share that is correct",
        )  # fmt: skip
        plot.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="score")
        for axis in (plot.xaxis, plot.yaxis):
            axis.set_major_formatter(PercentFormatter(1))
        plot.legend(frameon=False, fontsize=_SMALL, loc="upper left")
        plot.set_title("Score and truth", loc="left", fontsize=_TEXT, fontweight="bold")
        words = (f"at score {b.score:.2f} {b.correct:.0%} of {b.examples}" for b in bins)
        return _svg(figure, f"Share of correct answers: {'; '.join(words)}")


def class_counts(splits: dict[str, Split], classes: list[str]) -> str:
    """Each class's share of each split; empty where there is none.

    More than ``MOST_DRAWN`` become lines without names, the first split's largest first.
    """
    if not splits or not classes:
        return ""
    counts = {split: one["classes"] for split, one in splits.items()}
    shares = _shares(counts, classes)
    are_few = len(classes) <= MOST_DRAWN
    with rc_context(_STYLE):
        figure, plot = (_bars if are_few else _lines)(shares, classes)
        axis = plot.xaxis if are_few else plot.yaxis
        axis.set_major_locator(MaxNLocator(5))
        axis.set_major_formatter(FuncFormatter(lambda share, _: f"{share * 100:.3g} %"))
        axis.set_label_text("share of the split")
        axis.grid(color=_FAINT, linewidth=0.6)
        _legend_above(plot, len(splits))
        ends = ((split, sorted(by_class.values()) or [0]) for split, by_class in counts.items())
        words = "; ".join(f"{split} {order[0]:,} to {order[-1]:,}" for split, order in ends)
        return _svg(figure, f"Examples per class: {words}")


def _shares(splits: dict[str, dict[str, int]], names: list[str]) -> dict[str, list[float]]:
    return {
        split: [counts.get(name, 0) / (sum(counts.values()) or 1) for name in names]
        for split, counts in splits.items()
    }


def _bars(shares: dict[str, list[float]], classes: list[str]) -> tuple[Figure, Axes]:
    names = [_cut(name) for name in classes]
    left = min(1.8, 0.25 + 0.075 * max(map(len, names)))
    height = max(1.2, len(names) * (0.1 + 0.11 * len(shares)))
    figure, plot = _figure(4.9, height + 0.95, left=left, bottom=0.5, top=0.45, right=0.2)
    for places, thick, style, of_split in _side_by_side(shares, 0.7):
        plot.barh(places, of_split, thick, **style)
    plot.set_ylim(len(names) - 0.5, -0.5)
    plot.set_yticks(range(len(names)), names, fontsize=_SMALL)
    plot.tick_params(axis="y", length=0)
    plot.spines["left"].set_visible(False)
    return figure, plot


def _lines(shares: dict[str, list[float]], classes: list[str]) -> tuple[Figure, Axes]:
    figure, plot = _figure(4.9, 3.0, left=0.85, bottom=0.4, top=0.45)
    order = np.argsort(-np.array(next(iter(shares.values()))), kind="stable")
    for i, (split, of_split) in enumerate(shares.items()):
        heights, edges = np.array(of_split)[order], np.arange(len(order) + 1)
        plot.stairs(heights, edges, **_line_look(i), label=split, baseline=None)
    plot.set(xlim=(0, len(order)), xticks=[])
    plot.set_ylim(bottom=0)
    plot.set_xlabel(f"{len(classes)} classes, the largest first")
    return figure, plot


def _line_look(split: int) -> _Look:
    return {"color": _COLOURS[split % 4], "linestyle": _STROKES[split % 4], "linewidth": 1.5}


def _side_by_side(
    shares: dict[str, list[float]], thick: float
) -> Iterator[tuple[np.ndarray, float, _Look, list[float]]]:
    """Places, thickness, look and lengths of the bars of each split."""
    thick /= len(shares)
    for i, (split, of_split) in enumerate(shares.items()):
        places = np.arange(len(of_split)) + (i - (len(shares) - 1) / 2) * thick
        style = {"color": _COLOURS[i % 4], "hatch": _HATCHES[i % 4], "edgecolor": _GROUND}
        yield places, thick * 0.92, {**style, "linewidth": 0, "label": split}, of_split


def distribution(name: str, splits: dict[str, Distribution]) -> str:
    """How a feature's values are spread, a line for each split: numbers in all, or values."""
    with rc_context(_STYLE):
        figure, plot = _figure(3.5, 2.2, left=0.25, bottom=0.38, top=0.62, right=0.2)
        if any("values" in one for one in splits.values()):
            _draw_values(plot, {split: one["values"] for split, one in splits.items()})
        else:
            for i, (split, one) in enumerate(splits.items()):
                edges, heights = density(one["histogram"])
                if i == 0:
                    plot.stairs(heights, edges, fill=True, color=_COLOURS[0], alpha=0.18)
                plot.stairs(heights, edges, **_line_look(i), label=split)
            plot.xaxis.set_major_locator(MaxNLocator(5))
        plot.set_ylim(bottom=0)
        plot.set_yticks([])
        plot.spines["left"].set_visible(False)
        _legend_above(plot, len(splits), name)
        words = "; ".join(f"{split} {_in_words(one)}" for split, one in splits.items())
        return _svg(figure, f"Distribution of {name}: {words}")


def _draw_values(plot: Axes, splits: dict[str, dict[str, int]]) -> None:
    values = sorted({value for counts in splits.values() for value in counts})
    for places, thick, style, of_split in _side_by_side(_shares(splits, values), 0.8):
        plot.bar(places, of_split, thick, **style)
    plot.set_xticks(range(len(values)), [_cut(value) for value in values], fontsize=_SMALL)


def density(histogram: list[list[float]]) -> tuple[list[float], list[float]]:
    """Edges and heights of bins whose areas add up to 1; for one value, a bin around it."""
    total = sum(count for _, _, count in histogram) or 1
    wide = [bucket for bucket in histogram if bucket[1] > bucket[0]]
    if not wide:
        middle = histogram[0][0] if histogram else 0.0
        return [middle - 0.5, middle + 0.5], [1.0]
    heights = [amount / total / (high - low) for low, high, amount in wide]
    return [wide[0][0], *(high for _, high, _ in wide)], heights


def _in_words(one: Distribution) -> str:
    if "values" in one:
        return ", ".join(f"{value} {amount:,}" for value, amount in one["values"].items())
    return f"{one['min']:.4g} to {one['max']:.4g}, mean {one['mean']:.4g}"


def _figure(
    width: float, height: float, *, left: float, bottom: float, top: float, right: float = 0.15
) -> tuple[Figure, Axes]:
    """A figure with one plot in it; sizes and margins in inches, as layout engines take long."""
    figure = Figure(figsize=(width, height), facecolor=_GROUND)
    box = left / width, bottom / height, (width - left - right) / width
    plot = figure.add_axes((*box, (height - bottom - top) / height), facecolor="none")
    plot.spines[["top", "right"]].set_visible(False)
    plot.tick_params(labelsize=_SMALL, width=0.6)
    return figure, plot


def _colour_bar(figure: Figure, plot: Axes, width: float) -> None:
    place = plot.get_position()
    height = min(place.height, 2.2 / figure.get_figheight())
    box = ((width - 0.66) / width, place.y1 - height, 0.13 / width, height)
    bar = figure.add_axes(box)
    bar.imshow(
        np.linspace(0, 1, 64)[:, np.newaxis], cmap=_SHARES, aspect="auto", origin="lower",
        extent=(0, 1, 0, 1),
    )  # fmt: skip
    bar.set_xticks([])
    bar.yaxis.tick_right()
    bar.yaxis.set_major_formatter(PercentFormatter(1))
    bar.tick_params(labelsize=_SMALL - 1, length=2)
    bar.set_title("of row", fontsize=_SMALL - 1, loc="left")


def _legend_above(plot: Axes, splits: int, title: str = "") -> None:
    if title:
        plot.set_title(_cut(title, 40), loc="left", fontsize=_TEXT, fontweight="bold", pad=20)
    plot.legend(
        frameon=False, fontsize=_SMALL, loc="lower left", bbox_to_anchor=(-0.02, 1),
        ncols=splits, handlelength=1.8, borderpad=0.2, columnspacing=1.2,
        borderaxespad=0.1,
    )  # fmt: skip


def _svg(figure: Figure, words: str, properties: Mapping[str, str] = _PROPERTIES) -> str:
    """A figure as an SVG element, as wide as its column but no wider than it is."""
    drawn = _saved(figure, "svg", "figure", {"Date": None}).decode()
    # What stands before the drawing is of a file; its style would be the whole page's, and the
    # names of groups would stand in it many times.
    inside = drawn[drawn.index("<defs>") : drawn.rindex("</svg>")]
    inside = re.sub(r"<style[^>]*>.*?</style>", "", inside, count=1, flags=re.DOTALL)
    inside = re.sub(r"<g id=\"[^\"]*\"", "<g", inside)
    inside = re.sub(r"\s*<!--.*?-->", "", inside, flags=re.DOTALL)
    for name, colour in properties.items():
        inside = re.sub(f": {colour}", f": var(--plot-{name}, {colour})", inside, flags=re.I)
    width, height = (size * _INCH for size in figure.get_size_inches())
    return Markup(
        f'<svg class="plot" xmlns="http://www.w3.org/2000/svg" '
        f'xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 {width:g} {height:g}" '
        f'style="--width: {width / _INCH * 96:.0f}px" stroke-linejoin="round" role="img" '
        f'aria-label="{html.escape(words)}">{inside}</svg>'
    )


def _png(figure: Figure, words: str) -> str:
    content = _saved(figure, "png", 130, {"Software": None})
    width = figure.get_figwidth() * 96
    data = base64.b64encode(content).decode()
    return Markup(
        f'<img class="plot" style="--width: {width:.0f}px" alt="{html.escape(words)}" '
        f'src="data:image/png;base64,{data}">'
    )


def _saved(figure: Figure, kind: str, dpi: str | int, metadata: dict[str, None]) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The font is measured here; the browser has those for other scripts.
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure.savefig(buffer, format=kind, dpi=dpi, facecolor=_GROUND, metadata=metadata)
    return buffer.getvalue()


def _cut(name: str, width: int = _NAME_WIDTH) -> str:
    name = " ".join(name.split())
    return name if len(name) <= width else f"{name[: width - 1]}…"
