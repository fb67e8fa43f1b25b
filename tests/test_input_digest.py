"""What runs before ImportExampleGen, on what Kubeflow Pipelines hands to it."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import python


def run(folder: Path, output: Path) -> Any:
    patterns = [{"name": "train", "pattern": "train/*"}, {"name": "eval", "pattern": "eval/*"}]
    given = {
        "inputs": {
            "parameterValues": {
                "input_base": str(folder),
                "input_config": json.dumps({"splits": patterns}),
            }
        },
        "outputs": {"outputFile": str(output)},
    }
    return python("-m", "darkroom.kubeflow.input_digest", "--input", json.dumps(given))


@pytest.mark.slow
def test_other_files_have_another_fingerprint(tmp_path: Path, digit_records: Path) -> None:
    output = tmp_path / "made" / "output.json"
    result = run(digit_records, output)
    assert result.returncode == 0, result.stdout
    seen = json.loads(output.read_text())["parameterValues"]["seen"]
    assert "split:train,num_files:" in seen
    for split in ("train", "eval"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "a.tfrecord").write_bytes(b"other")
    assert run(tmp_path, output).returncode == 0
    assert json.loads(output.read_text())["parameterValues"]["seen"] != seen


def test_no_files_are_no_pipeline(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    result = run(tmp_path, tmp_path / "output.json")
    assert result.returncode == 1
    assert (
        f"Seen failed. No files for the train split: nothing is named train/* in {tmp_path}"
        in result.stdout.splitlines()[-1]
    )
    assert not (tmp_path / "output.json").exists()
