import math
import re
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import pytest

from darkroom.components.evaluation.artifacts import Bin
from darkroom.components.report import plots

HISTORY = {"loss": [2.0, 1.0, 0.5], "val_loss": [1.8, None, 0.6], "learning_rate": [0.1, 0.1, 0.01]}
BINS = [Bin(low=0.9, high=1.0, examples=5, score=0.95, correct=0.8)]
BUCKETS = [[0.1, 0.3, 4], [0.3, 0.5, 2]]
NUMBERS = {"mean": 0.3, "min": 0.1, "max": 0.5, "std": 0.1, "histogram": BUCKETS}
ODD = 'a "<b>" & 猫 $c$\n' + "d" * 90


def matrix(many: int) -> str:
    counts = np.random.default_rng(0).integers(1, 900, (many, many)).tolist()
    return plots.confusion(counts, [f"{ODD[:12]}{i}" for i in range(many)])


DRAWN: dict[str, Callable[[], str]] = {
    "curve": lambda: plots.curve(HISTORY, "loss", 1, "Loss"),
    "one line": lambda: plots.curve(HISTORY, "learning_rate", 1, "Learning rate"),
    "one epoch": lambda: plots.curve({"loss": [1.0], "val_loss": [None]}, "loss", 0, "Loss"),
    "confusion": lambda: matrix(20),
    "large confusion": lambda: matrix(30),
    "empty confusion": lambda: plots.confusion([[0, 0], [0, 0]], ["a", "b"]),
    "calibration": lambda: plots.calibration(BINS),
    "counts": lambda: plots.class_counts(
        {"train": {"classes": {"a": 3, ODD: 9}}, "eval": {"classes": {"a": 1}}}, ["a", ODD]
    ),
    "many counts": lambda: plots.class_counts(
        {"train": {"classes": {"1": 3}}}, [str(i) for i in range(150)]
    ),
    "numbers": lambda: plots.distribution(ODD, {"train": NUMBERS, "eval": NUMBERS}),
    "one number": lambda: plots.distribution(
        "h", {"train": NUMBERS, "eval": {**NUMBERS, "histogram": [[8, 8, 3]]}}
    ),
    "no numbers": lambda: plots.distribution("h", {"train": {**NUMBERS, "histogram": []}}),
    "values": lambda: plots.distribution(
        "f", {"train": {"values": {"PNG": 3, ODD: 1}}, "eval": {"values": {}}}
    ),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_plot_is_svg_of_its_own_that_is_the_same_each_time(name: str) -> None:
    drawn = DRAWN[name]()
    assert drawn == DRAWN[name]()
    element = ElementTree.fromstring(drawn)
    assert element.tag.endswith("svg")
    assert element.get("aria-label")
    assert "<style" not in drawn
    # Its ground is the page's, but where shades have a meaning.
    assert ("var(--plot-ground, #fbfaf8)" in drawn) == ("confusion" not in name)
    assert len(drawn) < 200_000
    # On a page there are many: what is referred to must be the same wherever it is found.
    ids = re.findall(r' id="([^"]*)"', drawn)
    used = set(re.findall(r'(?:url\(#|href="#)([^")]*)', drawn))
    assert used <= set(ids)
    assert not [name for name in ids if re.match(r"(figure|axes|patch|text|line2d)_", name)]


def test_text_is_text() -> None:
    drawn = matrix(3)
    assert all(f"{i}</text>" in drawn for i in range(3))
    assert ">predicted</text>" in drawn


def texts(drawn: str) -> list[str]:
    return [e.text or "" for e in ElementTree.fromstring(drawn).iter() if e.tag.endswith("}text")]


def test_few_classes_have_numbers_in_their_cells() -> None:
    assert {"11", "7"} <= set(texts(plots.confusion([[11, 7], [0, 18]], ["a", "b"])))
    assert "899" not in texts(matrix(21))
    assert len(texts(matrix(21))) < 60


def test_very_many_classes_are_a_picture() -> None:
    drawn = matrix(31)
    assert drawn.startswith("<img")
    assert "data:image/png;base64," in drawn
    assert drawn == matrix(31)
    assert len(matrix(150)) < 1_000_000


def test_a_curve_tells_its_ends_and_the_exported_epoch() -> None:
    drawn = plots.curve(HISTORY, "loss", 1, "Loss")
    assert "train from 2 to 0.5; validation from 1.8 to 0.6" in drawn
    assert "exported epoch" in texts(drawn)


def test_areas_of_bins_are_one() -> None:
    edges, heights = plots.density([[0, 1, 3], [1, 4, 9]])
    assert edges == [0, 1, 4]
    assert math.isclose(float(np.dot(np.diff(edges), heights)), 1)


def test_of_nothing_there_is_no_plot() -> None:
    assert plots.class_counts({"train": {"classes": {}}, "eval": {"classes": {}}}, []) == ""
    assert plots.class_counts({}, []) == ""
    assert plots.curve({}, "loss", 0, "Loss") == ""
    assert plots.curve({"loss": []}, "loss", 0, "Loss") == ""
    assert plots.calibration([]) == plots.confusion(None, ["a", "b"]) == ""
