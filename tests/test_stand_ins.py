"""The stand-ins for image sets that are not included."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import REPOSITORY, command, environment

SCRIPT = REPOSITORY / "benchmarks" / "stand_ins.py"


@pytest.mark.parametrize(
    ("which", "classes"), [("blood_cells", 4), ("fruits", 6)], ids=["blood_cells", "fruits"]
)
def test_they_can_be_ingested(tmp_path: Path, which: str, classes: int) -> None:
    subprocess.run(
        [sys.executable, SCRIPT, which, "set", "--per-class", "4"], cwd=tmp_path, check=True
    )
    train, test = (sorted((tmp_path / "set" / s).glob("*/*.jpeg")) for s in ("TRAIN", "TEST"))
    assert (len(train), len(test)) == (4 * classes, classes)
    assert len({path.parent.name for path in train}) == classes
    sizes = {Image.open(path).size for path in train}
    assert sizes == {(320, 240)} if which == "blood_cells" else len(sizes) > 10
    result = subprocess.run(
        [*command("ingest", "set", "records"), "--method", "random", "--eval-share", "0.3"],
        cwd=tmp_path, env=environment(), capture_output=True, encoding="utf-8", check=True,
    )  # fmt: skip
    assert f"test {classes}" in result.stdout
    assert "left out" not in result.stdout
