import json
from pathlib import Path

import pytest
from tfx.types import standard_artifacts

from darkroom.components.base.settings import ServingValidatorSettings
from darkroom.components.pushing import serving_validator
from darkroom.components.pushing.artifacts import ServingValidation
from tests.conftest import Project
from tests.settings import configured


@pytest.fixture(scope="module")
def model(small: Project) -> str:
    """A pushed model of the pipeline."""
    [version] = (small.folder / "runs" / "small" / "pushed" / "small").iterdir()
    return str(version)


def limited(**limits: float) -> ServingValidatorSettings:
    settings = configured(ServingValidatorSettings)
    validation = settings.validation.model_copy(update={"requests": 5, **limits})
    return settings.model_copy(update={"validation": validation})


def test_a_good_model_answers_as_by_itself(
    model: str, digit_images: list[bytes], tmp_path: Path
) -> None:
    validation = serving_validator.validate(model, digit_images[:6], limited())
    measured = validation.measured
    assert validation.reasons == []
    assert measured.images == 6
    assert measured.largest_difference < serving_validator.TOLERANCE
    assert measured.memory_mib > 50
    for protocol in ("rest", "grpc"):
        assert 0 < measured.latency[protocol].p50_ms <= measured.latency[protocol].p99_ms
    blessing = standard_artifacts.InfraBlessing()
    blessing.uri = str(tmp_path)
    validation.write(blessing)
    assert ServingValidation.read(blessing.mlmd_artifact) == validation
    written = json.loads((tmp_path / "serving.json").read_text())
    assert written == {"reasons": [], **measured.model_dump()}


def test_limits_and_other_answers_are_told(
    model: str, digit_images: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    # No server answers in a nanosecond, in a mebibyte, or better than equal.
    monkeypatch.setattr(serving_validator, "TOLERANCE", -1.0)
    limits = limited(max_latency_p50_ms=1e-6, max_latency_p99_ms=1e-6, max_memory_mib=1)
    reasons = serving_validator.validate(model, digit_images[:2], limits).reasons
    beginnings = [" ".join(reason.split()[:3]) for reason in reasons]
    assert beginnings == [
        "scores of the",
        "p50 over rest",
        "p99 over rest",
        "p50 over grpc",
        "p99 over grpc",
        "the server takes",
    ]


def test_a_model_that_no_server_loads_is_not_blessed(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"no model")
    [reason] = serving_validator.validate(str(tmp_path), [b""], limited()).reasons
    assert reason.startswith("the server could not serve the model: ")


def test_what_the_evaluator_did_not_bless_is_not_tried(tmp_path: Path) -> None:
    model, examples = standard_artifacts.Model(), standard_artifacts.Examples()
    evaluated, blessing = standard_artifacts.ModelBlessing(), standard_artifacts.InfraBlessing()
    blessing.uri = str(tmp_path)
    evaluated.set_int_custom_property("blessed", 0)
    serving_validator.Executor().Do(
        {"model": [model], "examples": [examples], "model_blessing": [evaluated]},
        {"blessing": [blessing]},
        {"custom_config": configured(ServingValidatorSettings).model_dump_json()},
    )
    assert blessing.get_int_custom_property("blessed") == 0
    assert (tmp_path / "INFRA_NOT_BLESSED").exists()
    found = json.loads((tmp_path / ServingValidation.FILE).read_text())
    assert found["reasons"] == ["Evaluator did not bless the model, so it was not tried"]


def test_the_pipeline_tries_its_model(small: Project) -> None:
    [node] = [n for n in small.status()["nodes"] if n["id"] == "ServingValidator"]
    assert node["state"] == "complete"
    assert node["result"].startswith("blessed, p99 in ms: rest ")
    assert small.status()["serving_reasons"] == []
