"""The containers' command, on what Kubeflow Pipelines hands to it."""

import json
from pathlib import Path
from typing import Any

import pytest

from darkroom.components.base import results
from darkroom.components.base.component import existing
from darkroom.components.base.settings import Code, FolderSettings
from darkroom.kubeflow import protocol, task
from darkroom.pipeline import fingerprint
from tests.conftest import python

STATISTICS = "tfx.ExampleStatistics"
MODULE = "darkroom.components.runs.last_statistics"
LAST_STATISTICS = f"{MODULE}.StatisticsExecutor"


def given(folder: Path, **changes: Any) -> dict[str, Any]:
    """What LastStatistics gets, on a disk; ``changes`` to the input artifact."""
    candidate = folder / "candidate"
    (candidate / "Split-train").mkdir(parents=True, exist_ok=True)
    (candidate / "Split-train" / "FeatureStats.pb").write_text("numbers")
    artifact = {
        "name": "statistics",
        "uri": str(candidate),
        "type": {"schemaTitle": STATISTICS},
        # Numbers come as JSON has them.
        "metadata": {"split_names": '["train"]', "span": 3.0, "noted": "words", "share": 0.5},
        **changes,
    }
    made = {
        "name": "statistics",
        "uri": str(folder / "made"),
        "type": {"schemaTitle": STATISTICS},
    }
    return {
        "inputs": {
            "parameterValues": {
                "custom_config": settings(folder / "kept").model_dump_json(),
                "pipeline_run_id": "run",
            },
            "artifacts": {"candidate": {"artifacts": [artifact]}},
        },
        "outputs": {
            "artifacts": {"statistics": {"artifacts": [made]}},
            "outputFile": str(folder / "outputs" / "executor_output.json"),
        },
    }


TYPES = {"candidate": STATISTICS}


def settings(folder: Path) -> FolderSettings:
    code = Code(modules=[MODULE], fingerprint=fingerprint.of_modules(MODULE))
    return FolderSettings(code=code, folder=str(folder))


def run(described: Any, types: dict[str, str] = TYPES) -> Any:
    text = described if isinstance(described, str) else json.dumps(described)
    return python(
        *("-m", "darkroom.kubeflow.task", "--node", "LastStatistics"),
        *("--executor", LAST_STATISTICS, "--input", text, "--types", json.dumps(types)),
    )


def test_an_executor_runs_on_what_it_is_handed(tmp_path: Path) -> None:
    # The open-source back end forgets the types of input artifacts.
    described = given(tmp_path, type={"instanceSchema": ""})
    result = run(described)
    assert result.returncode == 0, result.stdout
    said = task.DONE.fullmatch(result.stdout.splitlines()[-1])
    assert said is not None
    assert said["words"] == "none"
    written = json.loads((tmp_path / "outputs" / "executor_output.json").read_text())
    [made] = written["artifacts"]["statistics"]["artifacts"]
    assert made["uri"] == str(tmp_path / "made")
    assert made["metadata"][results.FOUND_PROPERTY] == 0
    kept = next((tmp_path / "kept").iterdir())
    assert (kept / "Split-train" / "FeatureStats.pb").read_text() == "numbers"


def test_a_failure_is_a_sentence_and_a_code(tmp_path: Path) -> None:
    described = given(tmp_path)
    result = run(described, types={"candidate": "other.Thing"})
    assert result.returncode == 1
    assert result.stdout.splitlines()[-1] == (
        "LastStatistics failed. TypeError: Artifacts of type other.Thing are unknown here: "
        "expected TFX's or darkroom's."
    )
    assert not (tmp_path / "outputs").exists()
    handed = described["inputs"]["parameterValues"]
    found = handed["custom_config"]
    handed["custom_config"] = found.replace(Code.of(found).fingerprint, "0123456789abcdef")
    result = run(described)
    assert result.returncode == 1
    said = result.stdout.splitlines()[-1]
    assert said.startswith("LastStatistics failed. The image has other code, or other versions of")
    assert not (tmp_path / "outputs").exists()
    result = run("no JSON")
    assert result.returncode == 2
    assert "--input: invalid loads value" in result.stdout


def test_artifacts_come_back_as_they_were_written(tmp_path: Path) -> None:
    described = given(tmp_path)["inputs"]["artifacts"]["candidate"]["artifacts"][0]
    artifact = task.read_one(described, STATISTICS)
    assert artifact.split_names == '["train"]'
    assert artifact.span == 3
    assert artifact.get_string_custom_property("noted") == "words"
    assert artifact.get_float_custom_property("share") == 0.5
    artifact.set_int_custom_property(results.FOUND_PROPERTY, 0)
    artifact.set_json_value_custom_property("blessed", {"train": 1})
    assert existing([artifact]) == []
    back = task.describe(artifact)
    assert back["uri"] == described["uri"]
    assert back["metadata"] == {
        "split_names": '["train"]',
        "span": 3,
        "noted": "words",
        "share": 0.5,
        results.FOUND_PROPERTY: 0,
        "blessed": {"train": 1.0},
    }
    # The open-source back end wraps what is no plain value.
    stored = {**back["metadata"], "blessed": {"struct": {"train": 1.0}}}
    through_json = {**described, "metadata": json.loads(json.dumps(stored))}
    again = task.read_one(through_json, STATISTICS)
    assert again.mlmd_artifact.properties == artifact.mlmd_artifact.properties
    assert again.get_json_value_custom_property("blessed") == {"train": 1.0}


def test_artifacts_in_buckets_are_used_where_the_launcher_put_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = f"{tmp_path}/gcs/"
    monkeypatch.setattr(task, "COPIES", {"gs://": copies})
    assert task.local_path("gs://bucket/run/model") == "gs://bucket/run/model"  # no copies here
    (tmp_path / "gcs" / "bucket").mkdir(parents=True)
    assert task.local_path("gs://bucket/run/model") == f"{copies}bucket/run/model"
    assert task.local_path("/disk/model") == "/disk/model"
    described: protocol.RuntimeArtifact = {"uri": "gs://bucket/run/model"}
    model = task.read_one(described, "tfx.Model")
    assert model.uri == f"{copies}bucket/run/model"
    model.set_string_custom_property("baseline", f"{copies}bucket/before")
    model.set_string_custom_property("other", f"{tmp_path}/gcs2/x")
    described_back = task.describe(model)
    assert described_back["uri"] == "gs://bucket/run/model"
    assert described_back["metadata"]["baseline"] == "gs://bucket/before"
    assert described_back["metadata"]["other"] == f"{tmp_path}/gcs2/x"
    # Beam's workers elsewhere don't see this container's disk.
    assert task.read_one(described, "tfx.Model", elsewhere=True).uri == described["uri"]


def test_the_reports_type_is_known() -> None:
    from darkroom.components.report.component import RunReport

    kind: protocol.ArtifactType = {"instanceSchema": f"title: {RunReport.TYPE_NAME}\n"}
    listed: protocol.ArtifactLists = {
        "report": {"artifacts": [{"uri": "/disk/report", "type": kind}]}
    }
    [report] = task.read(listed, {})["report"]
    assert type(report) is RunReport
