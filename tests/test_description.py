import json
from pathlib import Path

import pytest

from darkroom.pipeline import cli
from darkroom.serving.description import Tensor, describe
from darkroom.serving.predictor import PredictionError
from tests.conftest import Project, darkroom


def pushed(small: Project) -> Path:
    status = small.status()
    return Path(status["push_path"]) / status["versions"][0]


def test_a_pushed_model(small: Project) -> None:
    found = describe(pushed(small))
    by_name = {signature.name: signature for signature in found.signatures}
    assert set(by_name) == {"serving_default", "serving_examples", "transform_features"}
    serving = by_name["serving_default"]
    assert serving.inputs == [Tensor("image_bytes", "string", [None])]
    assert [(t.name, t.dtype, len(t.shape)) for t in serving.outputs] == [
        ("classes", "string", 2),
        ("scores", "float32", 2),
    ]
    assert found.classes == [str(digit) for digit in range(10)]
    # Convolution, its batch normalisation, two dense layers.
    expected = 3 * 3 * 16 + 4 * 16 + (4 * 4 * 16 * 32 + 32) + (32 * 10 + 10)
    assert found.parameters == expected
    assert found.facts["network"] == "cnn"
    assert found.facts["examples"] == 1437
    assert found.facts["epochs"] == 4
    assert 0.5 < found.facts["metrics"]["val_accuracy"] <= 1


def test_the_command(small: Project, capsys: pytest.CaptureFixture[str]) -> None:
    result = darkroom("inspect", *small.options, cwd=small.folder)
    assert result.returncode == 0, result.stdout
    for words in ("serving_default", "image_bytes   string   [any]", "scores        float32"):
        assert words in result.stdout
    assert "4 epochs on 1,437 examples" in result.stdout
    assert cli.main(["inspect", str(pushed(small)), "--json"]) == 0
    as_json = json.loads(capsys.readouterr().out)
    assert as_json["parameters"] == describe(pushed(small)).parameters


def test_what_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(PredictionError, match=r"there is no saved_model\.pb in it"):
        describe(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"\xff\xff\xff")
    with pytest.raises(PredictionError, match="not a SavedModel that can be served"):
        describe(tmp_path)
