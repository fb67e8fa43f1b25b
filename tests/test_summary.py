import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from components import results, summary


def artifact(uri: object = "", **properties: Any) -> Any:
    """As ML Metadata has them."""
    kinds = {str: "string_value", int: "int_value"}
    custom = {n: SimpleNamespace(**{kinds[type(v)]: v}) for n, v in properties.items()}
    return SimpleNamespace(uri=str(uri), custom_properties=custom)


def test_a_verdict_without_remarks() -> None:
    found = {"metrics": {"accuracy": 0.5}, "reasons": ["too low"]}
    blessing = artifact(blessed=0, **{results.VERDICT_PROPERTY: json.dumps(found)})
    assert summary.verdict(blessing) == {**found, "remarks": [], "blessed": False}
    status = summary.Status("p", "home", "run")
    words = summary.read_outputs(status, "Evaluator", {"blessing": blessing})
    assert words == "accuracy 0.5000, not blessed: too low"
    assert (status.blessed, status.reasons) == (False, ["too low"])


def test_a_verdict_without_predictions() -> None:
    found = {"metrics": {"example_count": 0}, "reasons": ["the eval split gave no predictions"]}
    blessing = artifact(blessed=0, **{results.VERDICT_PROPERTY: json.dumps(found)})
    status = summary.Status("p", "home", "run")
    words = summary.read_outputs(status, "Evaluator", {"blessing": blessing})
    assert words == "not blessed: the eval split gave no predictions"


def test_an_evaluation_is_what_was_written(tmp_path: Path) -> None:
    assert summary.evaluation(artifact(tmp_path)) is None
    (tmp_path / results.EVALUATION_FILE).write_text('{"split": "eval"}')
    assert summary.evaluation(artifact(tmp_path)) == {"split": "eval"}


@pytest.mark.parametrize(
    ("there", "words"),
    [
        (["7"], "version 7"),
        (["7", "9"], "version 7; 9, pushed from other settings, is newer"),
        (["9"], "version 7, removed since"),
    ],
)
def test_a_pushed_version(tmp_path: Path, there: list[str], words: str) -> None:
    for version in there:
        (tmp_path / version).mkdir()
    pushed = artifact(pushed=1, pushed_destination=str(tmp_path / "7"))
    assert summary.pushed(pushed) == tmp_path / "7"
    status = summary.Status("p", "home", "run")
    assert summary.read_outputs(status, "Pusher", {"pushed_model": pushed}) == words
    assert status.pushed_version == ("7" if "7" in there else None)
    assert summary.pushed(artifact(pushed=0)) is None


def test_a_report_that_is_gone_is_said(tmp_path: Path) -> None:
    status = summary.Status("p", "home", "run")
    words = summary.read_outputs(status, "Report", {"report": artifact(tmp_path)})
    assert words == "report.html, removed since"
    assert status.report is None
    (tmp_path / results.REPORT_PAGE).write_text("")
    assert summary.read_outputs(status, "Report", {"report": artifact(tmp_path)}) == "report.html"
    assert status.report == str(tmp_path / results.REPORT_PAGE)


def test_what_can_not_be_read_any_more_fails_nothing() -> None:
    status = summary.Status("p", "home", "run")
    words = summary.read_outputs(status, "Trainer", {"model_run": artifact("/nowhere")})
    assert words == "done, but its results can't be read"
    assert summary.read_outputs(status, "Transform", {}) == ""
