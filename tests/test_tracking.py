import importlib.util
from pathlib import Path
from typing import Any

import pytest

from darkroom.components.base.errors import DarkroomError
from darkroom.components.report import tracking
from tests import report_facts


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """MLflow's client of a store in files, which needs no server and no database."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"file:{tmp_path / 'mlruns'}")


@pytest.fixture
def facts(tmp_path: Path) -> Any:
    told = report_facts.facts(tmp_path / "report")
    (tmp_path / "report" / "report.html").write_text("<p>a page</p>", encoding="utf-8")
    return told


def logged(client: Any, facts: Any, report: Path, pushed: Path | None = None) -> Any:
    """Logs the facts; gives the newest run of their pipeline."""
    tracking.log(client.tracking_uri, facts, report, pushed)
    experiment = client.get_experiment_by_name(facts["pipeline"])
    newest, *_ = client.search_runs([experiment.experiment_id])
    return newest


def test_a_run_has_its_settings_metrics_curves_and_report(
    client: Any, facts: Any, tmp_path: Path
) -> None:
    run = logged(client, facts, tmp_path / "report")
    assert run.info.run_name == facts["run"]
    assert run.info.status == "FINISHED"
    assert run.data.params["data.bundled"] == "digits"
    assert run.data.params["data.path"] == "null"
    assert run.data.metrics["evaluation/accuracy"] == pytest.approx(0.96)
    assert "evaluation/calibration_error" not in run.data.metrics  # it had no value
    losses = facts["training"]["history"]["loss"]
    curve = client.get_metric_history(run.info.run_id, "training/loss")
    assert [(point.step, point.value) for point in curve] == [
        (epoch, pytest.approx(loss)) for epoch, loss in enumerate(losses, 1)
    ]
    assert run.data.tags["blessed"] == "no"
    assert "recall of '0'" in run.data.tags["reasons"]
    names = [file.path for file in client.list_artifacts(run.info.run_id, "report")]
    assert "report/report.html" in names
    assert not client.search_registered_models()


def test_each_pushed_version_is_registered(client: Any, facts: Any, tmp_path: Path) -> None:
    facts["verdict"] |= {"blessed": True, "reasons": []}
    for version in ("1795700001", "1795700002"):
        pushed = tmp_path / version
        pushed.mkdir()
        (pushed / "saved_model.pb").write_text("a model", encoding="utf-8")
        facts["verdict"]["pushed_version"] = version
        run = logged(client, facts, tmp_path / "report", pushed)
        assert run.data.tags["blessed"] == "yes"
        assert run.data.tags["pushed_version"] == version
    versions = client.search_model_versions(f"name='{facts['pipeline']}'")
    assert {one.tags["pushed_version"] for one in versions} == {"1795700001", "1795700002"}
    newest = max(versions, key=lambda one: int(one.version))
    files = client.list_artifacts(newest.run_id, "model")
    assert [file.path for file in files] == ["model/saved_model.pb"]


def test_a_run_that_could_not_be_logged_whole_is_marked(
    client: Any, facts: Any, tmp_path: Path
) -> None:
    facts["pipeline"] = "a:b"  # which MLflow takes for an experiment, and not for a model
    with pytest.raises(Exception, match=r"Invalid .*name"):
        tracking.log(client.tracking_uri, facts, tmp_path / "report", tmp_path / "report")
    experiment = client.get_experiment_by_name(facts["pipeline"])
    [run] = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FAILED"


def test_without_mlflow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DarkroomError, match=r"report\.mlflow needs .*darkroom-tfx\[mlflow\]"):
        tracking.check()
