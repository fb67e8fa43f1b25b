import json
import time
from pathlib import Path

from tfx.types import standard_artifacts

from darkroom.components.base import results
from darkroom.components.base.component import existing
from darkroom.components.base.settings import FolderSettings
from darkroom.components.runs import last_statistics


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
    settings = FolderSettings(folder=str(tmp_path / "statistics"))
    last_statistics.StatisticsExecutor().Do(
        {"candidate": [candidate]},
        {"statistics": [made]},
        {"custom_config": settings.model_dump_json()},
    )
    return made


def words(artifact: standard_artifacts.ExampleStatistics) -> str:
    return (Path(artifact.uri) / "Split-train" / "FeatureStats.pb").read_text()


def test_the_first_run_finds_nothing(tmp_path: Path) -> None:
    first = look(tmp_path, "first")
    assert first.get_int_custom_property(results.FOUND_PROPERTY) == 0
    assert existing([first]) == []
    assert json.loads((Path(first.uri) / "found.json").read_text()) == {"from": None}
    assert existing(None) == []


def test_a_run_finds_those_of_the_run_before(tmp_path: Path) -> None:
    look(tmp_path, "first")
    second = look(tmp_path, "second")
    assert existing([second]) == [second]
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


def numbered(number: int) -> standard_artifacts.ExampleStatistics:
    artifact = standard_artifacts.ExampleStatistics()
    artifact.id = number
    return artifact


def test_the_last_artifact_is_older_than_the_candidate() -> None:
    def last(numbers: list[int], candidate: int) -> list[int]:
        found = [numbered(n) for n in numbers]
        inputs = {"statistics": found, "candidate": [numbered(candidate)]}
        resolved = last_statistics.LatestBefore().resolve_artifacts(None, inputs)
        assert [artifact.id for artifact in resolved["candidate"]] == [candidate]
        return [artifact.id for artifact in resolved["statistics"]]

    assert last([3], candidate=3) == []
    assert last([9, 3, 5], candidate=9) == [5]
    assert last([3, 5, 9], candidate=5) == [3]
