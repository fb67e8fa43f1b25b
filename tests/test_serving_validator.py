import json
from pathlib import Path
from typing import Any

import pytest
from tfx.types import standard_artifacts

from darkroom.components.base import results, settings
from darkroom.components.pushing import serving_validator
from darkroom.pipeline.config import load
from tests.conftest import Project


@pytest.fixture(scope="module")
def model(small: Project) -> str:
    """A pushed model of the pipeline."""
    [version] = (small.folder / "runs" / "small" / "pushed" / "small").iterdir()
    return str(version)


def section(**validation: Any) -> Any:
    tree = load("digits").model_dump()
    tree["serving"]["validation"] |= {"requests": 5, **validation}
    return settings.unpack(tree["serving"])


def test_a_good_model_answers_as_by_itself(model: str, digit_images: list[bytes]) -> None:
    found = serving_validator.validate(model, digit_images[:6], section())
    assert found["reasons"] == []
    assert found["images"] == 6
    assert found["largest_difference"] < serving_validator.TOLERANCE
    assert found["memory_mib"] > 50
    for protocol in ("rest", "grpc"):
        assert 0 < found["latency"][protocol]["p50_ms"] <= found["latency"][protocol]["p99_ms"]


def test_limits_and_other_answers_are_told(
    model: str, digit_images: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    # No server answers in a nanosecond, in a mebibyte, or better than equal.
    monkeypatch.setattr(serving_validator, "TOLERANCE", -1.0)
    limits = section(max_latency_p50_ms=1e-6, max_latency_p99_ms=1e-6, max_memory_mib=1)
    reasons = serving_validator.validate(model, digit_images[:2], limits)["reasons"]
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
    [reason] = serving_validator.validate(str(tmp_path), [b""], section())["reasons"]
    assert reason.startswith("the server could not serve the model: ")


def test_what_the_evaluator_did_not_bless_is_not_tried(tmp_path: Path) -> None:
    model, examples = standard_artifacts.Model(), standard_artifacts.Examples()
    evaluated, blessing = standard_artifacts.ModelBlessing(), standard_artifacts.InfraBlessing()
    blessing.uri = str(tmp_path)
    evaluated.set_int_custom_property("blessed", 0)
    config = load("digits").model_dump()["serving"]
    serving_validator.Executor().Do(
        {"model": [model], "examples": [examples], "model_blessing": [evaluated]},
        {"blessing": [blessing]},
        {"custom_config": json.dumps(config)},
    )
    assert blessing.get_int_custom_property("blessed") == 0
    assert (tmp_path / "INFRA_NOT_BLESSED").exists()
    found = json.loads((tmp_path / results.SERVING_FILE).read_text())
    assert found["reasons"] == ["Evaluator did not bless the model, so it was not tried"]


def test_the_pipeline_tries_its_model(small: Project) -> None:
    [node] = [n for n in small.status()["nodes"] if n["id"] == "ServingValidator"]
    assert node["state"] == "complete"
    assert node["result"].startswith("blessed, p99 in ms: rest ")
    assert small.status()["serving_reasons"] == []
