import json
import time
from pathlib import Path

import pytest
from tfx.types import standard_artifacts

from darkroom.components.base import results
from darkroom.components.runs import last_statistics
from darkroom.serving import signatures
from darkroom.serving.pushed_files import VersionNote


def statistics(folder: Path, text: str = "", splits: str = '["train"]') -> object:
    artifact = standard_artifacts.ExampleStatistics()
    artifact.uri, artifact.split_names = str(folder), splits
    if text:
        (folder / "Split-train").mkdir(parents=True)
        (folder / "Split-train" / "FeatureStats.pb").write_text(text)
    return artifact


def look(tmp_path: Path, run: str) -> standard_artifacts.ExampleStatistics:
    """What LastStatistics of a run finds; a run's own statistics are its name."""
    own = tmp_path / run
    candidate = statistics(own, "" if own.exists() else run)
    made = statistics(tmp_path / f"{run}-found-{len(list(tmp_path.iterdir()))}", splits="[]")
    folder = str(tmp_path / "statistics")
    last_statistics.StatisticsExecutor().Do(
        {"candidate": [candidate]}, {"statistics": [made]}, {"folder": folder}
    )
    return made


def words(artifact: standard_artifacts.ExampleStatistics) -> str:
    return (Path(artifact.uri) / "Split-train" / "FeatureStats.pb").read_text()


def test_the_first_run_finds_nothing(tmp_path: Path) -> None:
    first = look(tmp_path, "first")
    assert first.get_int_custom_property(results.FOUND_PROPERTY) == 0
    assert last_statistics.found([first]) == []
    assert json.loads((Path(first.uri) / "found.json").read_text()) == {"from": None}
    assert last_statistics.found(None) == []


def test_a_run_finds_those_of_the_run_before(tmp_path: Path) -> None:
    look(tmp_path, "first")
    second = look(tmp_path, "second")
    assert last_statistics.found([second]) == [second]
    assert words(second) == "first"
    assert second.split_names == '["train"]'
    again = look(tmp_path, "second")  # the task is tried again
    assert words(again) == "first"
    assert words(look(tmp_path, "third")) == "second"
    # An older run that is tried again, when newer ones were.
    assert words(look(tmp_path, "second")) == "first"


def test_what_was_cut_off_is_not_taken(tmp_path: Path) -> None:
    look(tmp_path, "first")
    newer = tmp_path / "statistics" / str(time.time_ns())
    (newer / "Split-train").mkdir(parents=True)
    assert words(look(tmp_path, "second")) == "first"


def test_old_ones_go(tmp_path: Path) -> None:
    for number in range(9):
        look(tmp_path, f"run{number}")
    assert len(list((tmp_path / "statistics").iterdir())) == 5
    assert words(look(tmp_path, "last")) == "run8"


def pushed(base: Path, version: int, of: str, classes: tuple[str, ...] = ("cat", "dog")) -> Path:
    folder = base / str(version)
    for path, value in (
        (signatures.CONTRACT_PATH, {"classes": classes}),
        (VersionNote.PATH, {"model": {"uri": of}}),
    ):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(json.dumps(value))
    (folder / "saved_model.pb").write_text(f"version {version}")
    return folder


@pytest.fixture
def candidate(tmp_path: Path) -> standard_artifacts.Model:
    artifact = standard_artifacts.Model()
    artifact.uri = str(tmp_path / "candidate")
    contract = tmp_path / "candidate" / "Format-Serving" / signatures.CONTRACT_PATH
    contract.parent.mkdir(parents=True)
    contract.write_text(json.dumps({"classes": ["cat", "dog", "owl"]}))
    return artifact


def baseline(tmp_path: Path, candidate: standard_artifacts.Model) -> standard_artifacts.Model:
    made = standard_artifacts.Model()
    made.uri = str(tmp_path / f"baseline-{len(list(tmp_path.iterdir()))}")
    folder = str(tmp_path / "pushed")
    last_statistics.BaselineExecutor().Do(
        {"candidate": [candidate]}, {"model": [made]}, {"folder": folder}
    )
    return made


def test_the_newest_pushed_version_is_the_one_to_beat(
    tmp_path: Path, candidate: standard_artifacts.Model
) -> None:
    assert last_statistics.found([baseline(tmp_path, candidate)]) == []  # nothing was ever pushed
    base = tmp_path / "pushed"
    pushed(base, 7, "other")
    pushed(base, 8, "another")
    pushed(base, 10, "of-other-classes", classes=("cat", "bee"))
    pushed(base, 11, candidate.uri)  # the run is tried again after its push
    (base / "incoming-12").mkdir()
    [found] = last_statistics.found([baseline(tmp_path, candidate)])
    copied = Path(found.uri) / "Format-Serving"
    assert (copied / "saved_model.pb").read_text() == "version 8"
    told = json.loads((Path(found.uri) / "found.json").read_text())
    assert told == {"from": str(base / "8")}
