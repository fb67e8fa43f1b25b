"""A pipeline whose data, artifacts and models are in a bucket, and its records in MySQL."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from darkroom.components.base.errors import DarkroomError
from darkroom.components.runs import metadata
from darkroom.pipeline.config import Config, load
from darkroom.pipeline.history import provenance, reports, status
from darkroom.serving.predictor import Predictor
from tests import buckets, databases
from tests.conftest import python

pytestmark = pytest.mark.slow

CONFIG = """
name: stored
root: test://models/runs
data: {path: "test://images/digits"}
preprocessing: {height: 8, width: 8, channels: 1}
model: {filters: [16], units: [32]}
training: {recipe: none, epochs: 2, batch_size: 32, learning_rate: 3e-3}
tuner:
  {enabled: true, max_trials: 1, epochs: 1, carry_over: checkpoint,
   space: {training.learning_rate: {choices: [3e-3]}}}
evaluation: {min_accuracy: 0.3}
serving: {validation: {enabled: false}}
"""


# The command line, with the file system.
DARKROOM = """
import sys
from tests import buckets
from darkroom.pipeline.cli import main
sys.exit(main(sys.argv[1:]))
"""


class Stored:
    def __init__(self, folder: Path, section: dict[str, Any]):
        self.folder, self.buckets = folder, folder / "buckets"
        (folder / "config.yaml").write_text(f"{CONFIG}\nmetadata: {json.dumps(section)}")

    @property
    def config(self) -> Config:
        return load(self.folder / "config.yaml", [f"local_root={self.folder / 'runs'}"])

    def run(self, *overrides: str) -> str:
        """What ``darkroom run`` printed."""
        words = [word for override in overrides for word in ("--set", override)]
        command = ("-c", DARKROOM, "run", "--config", "config.yaml", *words)
        result = python(*command, cwd=self.folder)
        assert result.returncode == 0, result.stdout
        return result.stdout


@pytest.fixture(scope="module")
def stored(
    tmp_path_factory: pytest.TempPathFactory, digit_records: Path, mysql: databases.Server
) -> Iterator[Stored]:
    """It has run once."""
    project = Stored(tmp_path_factory.mktemp("stored"), mysql.section("darkroom_stored"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(buckets.FOLDER, str(project.buckets))
        patch.setenv(metadata.PASSWORD, databases.PASSWORD)
        patch.setenv("MYSQL_PWD", "")
        shutil.copytree(digit_records, project.buckets / "images" / "digits")
        project.run()
        yield project


def test_all_is_in_the_bucket_but_what_needs_a_disk(stored: Stored) -> None:
    runs = stored.buckets / "models" / "runs" / "stored"
    assert sorted(path.name for path in runs.iterdir()) == ["artifacts", "pushed"]
    assert (next((runs / "artifacts/Transform/transform_graph").iterdir()) / "metadata").exists()
    local = sorted(path.name for path in (stored.folder / "runs" / "stored").iterdir())
    assert local == ["lock", "logs", "staging"]
    assert sorted(path.name for path in stored.folder.iterdir()) == [
        "buckets", "config.yaml", "runs",
    ]  # fmt: skip


def test_the_password_is_in_no_file(stored: Stored) -> None:
    files = [path for path in stored.folder.rglob("*") if path.is_file()]
    assert len(files) > 50
    assert not [path for path in files if databases.PASSWORD.encode() in path.read_bytes()]


def test_its_version_answers(stored: Stored, digit_images: list[bytes]) -> None:
    found = status.latest(stored.config)
    [version] = found.versions
    assert (found.pushed_version, found.stable, found.pushed_as) == (version, version, "stable")
    folder = Path(buckets.path(f"{found.push_path}/{version}"))
    answer = Predictor(folder).predict("digit", digit_images[0])
    assert len(answer.classes) == 10
    with pytest.raises(DarkroomError, match="the pushed versions are in test://models/runs/stored"):
        _ = stored.config.push_path


def test_another_machine_goes_on(stored: Stored) -> None:
    before = status.latest(stored.config)
    shutil.rmtree(stored.folder / "runs")
    stored.run("evaluation.min_accuracy=0.4")  # reads what it doesn't make
    after = status.latest(stored.config)
    states = {node.id: node.state for node in after.nodes}
    assert states["Trainer"] == states["Tuner"] == "cached"
    assert states["Evaluator"] == states["Report"] == "complete"
    assert after.metrics == before.metrics
    assert after.images == {"train": 1437, "eval": 180}
    assert after.trials == before.trials
    assert after.versions == before.versions

    facts = reports.load(reports.find(stored.config))
    assert facts["config"]["evaluation"]["min_accuracy"] == 0.4
    uris = [taken["uri"] for node in facts["lineage"] for taken in node["inputs"]]
    assert all(uri.startswith("test://models/runs/stored/artifacts/") for uri in uris)
    traced = provenance.trace(stored.config)
    assert traced["version"] == after.versions[0]
    assert traced["data"]["read_from"] == "test://images/digits"
