import math
from pathlib import Path
from typing import Any

import pytest

from darkroom.components.evaluation.artifacts import Check, MetricRow
from darkroom.components.report import views
from tests.conftest import python
from tests.report_facts import facts, without_intervals


@pytest.mark.parametrize(
    ("blessed", "version", "failure", "words", "tone"),
    [
        (True, "17", None, "Blessed and pushed", "good"),
        (True, None, None, "Blessed", "good"),
        (False, None, None, "Not blessed", "bad"),
        (None, None, None, "Not evaluated", "open"),
        (True, None, {"node": "Pusher", "sentence": "No room."}, "Pusher failed", "bad"),
    ],
)
def test_verdicts(
    tmp_path: Path, blessed: bool | None, version: str | None, failure: Any, words: str, tone: str
) -> None:
    found = facts(tmp_path)
    found["failure"] = failure
    found["verdict"].update(blessed=blessed, pushed_version=version)
    told = views.verdict(found)
    assert (told.words, told.tone) == (words, tone)


def test_a_model_that_the_server_could_not_serve(tmp_path: Path) -> None:
    found = facts(tmp_path)
    found["verdict"].update(blessed=True, servable=False)
    told = views.verdict(found)
    assert (told.words, told.tone) == ("Blessed by Evaluator, not for serving", "bad")


def test_what_is_said_of_the_server(tmp_path: Path) -> None:
    serving = facts(tmp_path)["serving"]
    said = dict(views.served(serving))
    assert said["ready after"] == "4.2 s"
    assert said["memory"] == "413 MiB"
    assert said["over gRPC"] == "1.5 ms in the median, 3.2 ms at the 99th percentile"
    assert said["scores"] == "of 16 images at most 2e-07 off the model's own"
    assert views.served(None) == views.served({"reasons": ["it did not start"]}) == []


@pytest.mark.parametrize(
    ("metric", "difference", "expected"),
    [
        ("accuracy", 0.1, ("+0.1000", "better")),
        ("accuracy", -0.1, ("−0.1000", "worse")),
        ("loss", -0.1, ("−0.1000", "better")),
        ("calibration_error", 0.1, ("+0.1000", "worse")),
        ("accuracy", -0.00001, ("±0", "same")),
        ("accuracy", None, ("–", "")),
        ("accuracy", math.nan, ("–", "")),
        # Of a user's metric nobody has said what is better.
        ("brier", -0.2, ("−0.2000", "")),
        ("brier", 0.00001, ("±0", "")),
    ],
)
def test_changes(metric: str, difference: Any, expected: Any) -> None:
    # What both know counts, not the values of all examples.
    row = MetricRow(metric=metric, value=0.9, baseline=0.9, difference=difference)
    assert views.change(row) == expected


def threshold(**values: Any) -> Check:
    return Check(**{"metric": "loss", "limit": 0.1, "passed": True, "sentence": ""} | values)


def test_the_interval_of_a_threshold_is_of_what_it_bounds() -> None:
    ends = {"low": 0.36, "high": 0.83, "difference_low": -0.02, "difference_high": 0.01}
    for bound in ("min", "max"):
        assert views.threshold_interval(threshold(bound=bound, **ends)) == "0.360 to 0.830"
    for bound in ("max_drop", "max_rise"):
        relative = threshold(bound=bound, **ends)
        assert views.threshold_interval(relative) == "change −0.020 to +0.010"
        one = relative.model_copy(update={"difference_low": None})
        assert views.threshold_interval(one) == "–"


def test_a_slice_is_lower_where_that_is_sure(tmp_path: Path) -> None:
    evaluation = facts(tmp_path)["evaluation"]
    assert [below for _, below in views.slice_rows(evaluation)] == [True, False]
    assert views.slice_rows(evaluation)[0][0][-1] == "0.600 to 0.800"
    without_intervals(evaluation.metrics)
    assert [below for _, below in views.slice_rows(evaluation)] == [None, None]
    assert [cells[-1] for cells, _ in views.slice_rows(evaluation)] == ["–", "–"]


def test_a_commit_without_a_branch() -> None:
    git = {"commit": "0123456789" * 4, "branch": "", "changed": False}
    assert views.git({"git": git}) == "0123456789"
    assert views.git({"git": {**git, "branch": "main"}}) == "0123456789 on main"
    assert views.git({"git": {**git, "changed": True}}).startswith("0123456789, with changes")
    assert views.git({"git": None}) == ""


def test_classes_are_in_the_order_of_classification_report() -> None:
    assert views.ordered(["b", "a", "10"]) == ["10", "a", "b"]
    assert views.ordered(["10", "9", "1"]) == ["1", "9", "10"]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(None, "–"), (0.04, "0.0 s"), (59.4, "59.4 s"), (88, "1 min 28 s"), (2875, "47 min"),
     (7300, "2 h 1 min")],
)  # fmt: skip
def test_durations(seconds: float | None, expected: str) -> None:
    assert views.duration(seconds) == expected


def test_a_threshold_in_words() -> None:
    one = threshold(
        metric="macro_f1", class_name="cat", slice={"image/format": "JPEG"}, bound="max_drop",
        limit=0.01,
    )  # fmt: skip
    assert views.subject(one) == "Macro F1 of cat where image/format = JPEG"
    assert views.bound(one) == "lower than the baseline by at most 0.01"
    surpassed = one.model_copy(update={"limit": -0.01})
    assert views.bound(surpassed) == "higher than the baseline by at least 0.01"


def test_numbers_that_matter_are_of_what_there_is(tmp_path: Path) -> None:
    names = [name for name, *_ in views.key_numbers(facts(tmp_path))]
    assert names == ["Accuracy", "Macro F1", "Lowest recall", "Train images", "Model",
                     "Median latency", "Time"]  # fmt: skip
    assert [name for name, *_ in views.key_numbers(facts(tmp_path, reached=1))] == [
        "Train images",
        "Time",
    ]


def test_features_of_one_value_are_words(tmp_path: Path) -> None:
    varied, constant = views.features(facts(tmp_path)["data"])
    assert [feature["name"] for feature in varied] == ["image/brightness", "image/format"]
    assert constant == ["image/height 8"]


def test_what_shows_a_report_is_light_to_import() -> None:
    """For ``darkroom report`` and ``darkroom compare``."""
    modules = "darkroom.pipeline.history.reports, darkroom.components.report.views"
    heavy = "{'tensorflow', 'tensorflow_transform', 'keras', 'matplotlib', 'tfx', 'ml_metadata'}"
    result = python("-c", f"import sys, {modules}; print({heavy} & set(sys.modules))")
    assert result.stdout == "set()\n"
