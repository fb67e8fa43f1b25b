"""What Evaluator and ServingValidator leave behind stays as it is on disk, and older files open."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

from darkroom.components.evaluation.artifacts import Answer, Check, Evaluation, MetricRow, Verdict
from darkroom.components.pushing.artifacts import ServingValidation

VALUES = ("value", "low", "high", "baseline", "difference", "difference_low", "difference_high")


def test_the_file_of_an_evaluation(tmp_path: Path) -> None:
    accuracy = MetricRow(metric="accuracy", value=0.5, low=math.nan, examples=4)
    check = Check(
        metric="recall", class_name="cat", slice={"camera": "old"}, bound="max_drop", limit=0.1,
        value=0.25, difference=-0.5, examples=2, passed=False, sentence="lower",
    )  # fmt: skip
    evaluation = Evaluation(split="eval", metrics=[accuracy], thresholds=[check])
    evaluation.write(str(tmp_path))
    assert Evaluation.read(SimpleNamespace(uri=str(tmp_path))) == evaluation
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert list(written) == [
        "split", "examples", "multi_label", "numbers", "classes", "blessed", "reasons", "remarks",
        "thresholds", "metrics", "confidence", "confusion", "calibration", "residuals", "mistakes",
        "uncertain", "latency", "size_mib", "baseline", "cross_validation",
    ]  # fmt: skip
    [row], [held] = written["metrics"], written["thresholds"]
    assert list(row) == ["metric", "class", "slice", *VALUES, "examples"]
    assert (row["class"], row["value"], row["low"]) == (None, 0.5, None)
    assert list(held) == [
        "metric", "class", "slice", "bound", "limit", *VALUES, "examples", "passed", "sentence"
    ]  # fmt: skip
    assert (held["class"], held["slice"]) == ("cat", {"camera": "old"})


def test_the_file_of_an_earlier_version(tmp_path: Path) -> None:
    older = {"split": "test", "mistakes": [{"content_hash": 7}], "metrics": [{"metric": "auc"}]}
    (tmp_path / Evaluation.FILE).write_text(json.dumps(older))
    evaluation = Evaluation.read(SimpleNamespace(uri=str(tmp_path)))
    assert evaluation is not None
    assert evaluation.mistakes == [Answer(content_hash=7)]
    assert (evaluation.latency, evaluation.metrics[0].class_name) == (None, None)
    assert evaluation.as_json() == older


def test_how_far_a_check_is_from_its_limit() -> None:
    subject = {"metric": "loss", "limit": 0.5, "passed": False, "sentence": ""}
    assert Check(bound="max", value=2.0, difference=1.0, **subject).distance == 1.5
    assert Check(bound="max_rise", value=2.0, difference=-1.0, **subject).distance == 0.5
    assert Check(bound="max", value=math.nan, **subject).distance == math.inf


def test_the_verdict_has_the_metrics_of_the_whole() -> None:
    rows = [
        MetricRow(metric="accuracy", value=0.5),
        MetricRow(metric="recall", class_name="cat", value=0.1),
        MetricRow(metric="accuracy", slice={"camera": "old"}, value=0.2),
    ]
    verdict = Verdict.of(Evaluation(split="eval", examples=4, metrics=rows, reasons=["too low"]))
    assert verdict.blessed is False
    assert json.loads(verdict.text()) == {
        "metrics": {"accuracy": 0.5, "example_count": 4}, "reasons": ["too low"], "remarks": []
    }  # fmt: skip


def test_what_no_server_served_has_no_measurements() -> None:
    written = json.dumps({"reasons": ["it ended"]})
    verdict = {ServingValidation.PROPERTY: SimpleNamespace(string_value=written)}
    validation = ServingValidation.read(SimpleNamespace(custom_properties=verdict))
    assert (validation.reasons, validation.measured) == (["it ended"], None)
    assert validation.as_json() == {"reasons": ["it ended"]}
