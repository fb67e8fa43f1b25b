import json
from pathlib import Path

import pytest
from tfx.types import standard_artifacts

from darkroom.components.base.component import existing
from darkroom.components.base.settings import FolderSettings
from darkroom.components.runs.baseline import BaselineExecutor, LatestBlessedBefore
from darkroom.serving.contract import Contract
from darkroom.serving.pushed_files import VersionNote


def model(
    number: int, folder: Path, classes: tuple[str, ...] = ("cat", "dog"), **more: object
) -> object:
    artifact = standard_artifacts.Model()
    artifact.id = number
    artifact.uri = str(folder / str(number))
    path = folder / str(number) / "Format-Serving" / Contract.FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"classes": classes, **more}))
    return artifact


def blessing(model_id: int, blessed: bool) -> standard_artifacts.ModelBlessing:
    artifact = standard_artifacts.ModelBlessing()
    artifact.id = 100 + model_id
    artifact.set_int_custom_property("current_model_id", model_id)
    artifact.set_int_custom_property("blessed", int(blessed))
    return artifact


def resolve(models: list, blessings: list, candidate: object) -> list[int]:
    inputs = {"model": models, "model_blessing": blessings, "candidate": [candidate]}
    resolved = LatestBlessedBefore().resolve_artifacts(None, inputs)
    assert resolved["candidate"] == [candidate]
    return [artifact.id for artifact in resolved["model"]]


def test_a_first_model_has_no_baseline(tmp_path: Path) -> None:
    assert resolve([model(1, tmp_path)], [], model(1, tmp_path)) == []


def test_the_candidate_is_never_its_own_baseline(tmp_path: Path) -> None:
    one, two = model(1, tmp_path), model(2, tmp_path)
    assert resolve([one], [blessing(1, True)], one) == []
    assert resolve([one, two], [blessing(1, True), blessing(2, True)], two) == [1]


def test_the_latest_blessed_one_counts(tmp_path: Path) -> None:
    models = [model(n, tmp_path) for n in range(1, 5)]
    blessings = [blessing(1, True), blessing(2, True), blessing(3, False)]
    assert resolve(models, blessings, models[-1]) == [2]
    assert resolve(models, [blessing(3, False)], models[-1]) == []


def test_a_model_can_be_compared_that_shares_classes(tmp_path: Path) -> None:
    models = [
        model(1, tmp_path, ("cat", "dog", "owl")),
        model(2, tmp_path, ("cat", "cow")),
    ]
    blessings = [blessing(number, True) for number in (1, 2)]
    several = model(6, tmp_path, multi_label=True)
    assert resolve(models, blessings, several) == []
    assert resolve(models, blessings, model(4, tmp_path, ("cat", "dog", "bee"))) == [1]
    assert resolve(models, blessings, model(5, tmp_path, ("owl", "bee"))) == []
    foreign = standard_artifacts.Model()  # without a contract
    foreign.id, foreign.uri = 7, str(tmp_path / "foreign")
    assert resolve([foreign], [blessing(7, True)], model(8, tmp_path)) == []


def pushed(base: Path, version: int, of: str, classes: tuple[str, ...] = ("cat", "dog")) -> Path:
    folder = base / str(version)
    for path, value in (
        (Contract.FILE, {"classes": classes}),
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
    contract = tmp_path / "candidate" / "Format-Serving" / Contract.FILE
    contract.parent.mkdir(parents=True)
    contract.write_text(json.dumps({"classes": ["cat", "dog", "owl"]}))
    return artifact


def baseline(tmp_path: Path, candidate: standard_artifacts.Model) -> standard_artifacts.Model:
    made = standard_artifacts.Model()
    made.uri = str(tmp_path / f"baseline-{len(list(tmp_path.iterdir()))}")
    settings = FolderSettings(folder=str(tmp_path / "pushed"))
    BaselineExecutor().Do(
        {"candidate": [candidate]},
        {"model": [made]},
        {"custom_config": settings.model_dump_json()},
    )
    return made


def test_the_newest_pushed_version_is_the_one_to_beat(
    tmp_path: Path, candidate: standard_artifacts.Model
) -> None:
    assert existing([baseline(tmp_path, candidate)]) == []  # nothing was ever pushed
    base = tmp_path / "pushed"
    pushed(base, 7, "other")
    pushed(base, 8, "another")
    pushed(base, 10, "of-other-classes", classes=("cat", "bee"))
    pushed(base, 11, candidate.uri)  # the run is tried again after its push
    (base / "incoming-12").mkdir()
    [found] = existing([baseline(tmp_path, candidate)])
    copied = Path(found.uri) / "Format-Serving"
    assert (copied / "saved_model.pb").read_text() == "version 8"
    told = json.loads((Path(found.uri) / "found.json").read_text())
    assert told == {"from": str(base / "8")}
