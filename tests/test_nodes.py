import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from darkroom.components import nodes
from darkroom.components.base import results
from darkroom.components.base.status import Status
from darkroom.components.evaluation.artifacts import Evaluation, MetricRow, Verdict
from darkroom.components.pushing import outcome as pushing
from darkroom.serving import rollout


def artifact(uri: object = "", **properties: Any) -> Any:
    """As ML Metadata has them."""
    kinds = {str: "string_value", int: "int_value"}
    custom = {n: SimpleNamespace(**{kinds[type(v)]: v}) for n, v in properties.items()}
    return SimpleNamespace(uri=str(uri), custom_properties=custom)


def test_a_verdict_without_remarks() -> None:
    found = {"metrics": {"accuracy": 0.5}, "reasons": ["too low"]}
    blessing = artifact(blessed=0, **{Verdict.PROPERTY: json.dumps(found)})
    assert Verdict.read(blessing) == Verdict(**found, remarks=[], blessed=False)
    status = Status("p", "home", "run")
    words = nodes.read_outputs(status, "Evaluator", {"blessing": blessing})
    assert words == "accuracy 0.5000, not blessed: too low"
    assert (status.blessed, status.reasons) == (False, ["too low"])


def test_a_verdict_without_predictions() -> None:
    found = {"metrics": {"example_count": 0}, "reasons": ["the eval split gave no predictions"]}
    blessing = artifact(blessed=0, **{Verdict.PROPERTY: json.dumps(found)})
    status = Status("p", "home", "run")
    words = nodes.read_outputs(status, "Evaluator", {"blessing": blessing})
    assert words == "not blessed: the eval split gave no predictions"


def test_a_status_counts_examples_in_whole_numbers() -> None:
    evaluation = Evaluation(
        split="eval", examples=180, metrics=[MetricRow(metric="accuracy", value=1.0)]
    )
    blessing = artifact(blessed=1, **{Verdict.PROPERTY: Verdict.of(evaluation).text()})
    status = Status("p", "home", "run")
    nodes.read_outputs(status, "Evaluator", {"blessing": blessing})
    assert json.dumps(status.as_dict()["metrics"]) == '{"accuracy": 1.0, "example_count": 180}'


def test_an_evaluation_is_what_was_written(tmp_path: Path) -> None:
    assert Evaluation.read(artifact(tmp_path)) is None
    (tmp_path / Evaluation.FILE).write_text('{"split": "eval"}')
    evaluation = Evaluation.read(artifact(tmp_path))
    assert evaluation == Evaluation(split="eval")
    assert evaluation.as_json() == {"split": "eval"}


@pytest.mark.parametrize(
    ("there", "stable", "words"),
    [
        ([7], 7, "version 7, stable"),
        ([5, 7], 5, "version 7, canary; version 5 is stable"),
        ([7, 9], 9, "version 7, not served; version 9 is stable"),
        ([7], None, "version 7"),
        ([7, 9], None, "version 7, not the newest; that is version 9"),
        ([9], 9, "version 7, removed since"),
    ],
)
def test_a_pushed_version(tmp_path: Path, there: list[int], stable: int | None, words: str) -> None:
    model = tmp_path / "model"
    for version in there:
        (model / str(version)).mkdir(parents=True)
    if stable is not None:
        rollout.promote(model, stable)
    if "canary" in words:
        rollout.promote(model, 7, as_canary=True)
    pushed = artifact(pushed=1, pushed_destination=str(model / "7"))
    assert pushing.pushed(pushed) == str(model / "7")
    status = Status("p", "home", "run")
    assert nodes.read_outputs(status, "Pusher", {"pushed_model": pushed}) == words
    assert status.pushed_version == ("7" if 7 in there else None)
    assert status.pushed_as == words.removeprefix("version 7").removeprefix(", ") or 7 not in there
    assert pushing.pushed(artifact(pushed=0)) is None


def test_a_damaged_model_config_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "model" / "7").mkdir(parents=True)
    (tmp_path / "models.config").write_text("{")
    pushed = artifact(pushed=1, pushed_destination=str(tmp_path / "model" / "7"))
    status = Status("p", "home", "run")
    words = nodes.read_outputs(status, "Pusher", {"pushed_model": pushed})
    assert words.startswith("version 7; ")
    assert "models.config is not a model config file" in words


def test_a_report_that_is_gone_is_said(tmp_path: Path) -> None:
    status = Status("p", "home", "run")
    words = nodes.read_outputs(status, "Report", {"report": artifact(tmp_path)})
    assert words == "report.html, removed since"
    assert status.report is None
    (tmp_path / results.REPORT_PAGE).write_text("")
    assert nodes.read_outputs(status, "Report", {"report": artifact(tmp_path)}) == "report.html"
    assert status.report == str(tmp_path / results.REPORT_PAGE)


def test_what_can_not_be_read_any_more_fails_nothing() -> None:
    status = Status("p", "home", "run")
    words = nodes.read_outputs(status, "Trainer", {"model_run": artifact("/nowhere")})
    assert words == "done, but its results can't be read"
    assert nodes.read_outputs(status, "Transform", {}) == ""
