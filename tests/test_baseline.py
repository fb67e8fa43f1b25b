import json
from pathlib import Path

from tfx.types import standard_artifacts

from darkroom.components.runs.baseline import LatestBefore, LatestBlessedBefore
from darkroom.serving import signatures


def model(
    number: int, folder: Path, classes: tuple[str, ...] = ("cat", "dog"), **more: object
) -> object:
    artifact = standard_artifacts.Model()
    artifact.id = number
    artifact.uri = str(folder / str(number))
    path = folder / str(number) / "Format-Serving" / signatures.CONTRACT_PATH
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


def test_the_last_artifact_is_older_than_the_candidate(tmp_path: Path) -> None:
    def last(numbers: list[int], candidate: int) -> list[int]:
        found = [model(n, tmp_path) for n in numbers]
        inputs = {"statistics": found, "candidate": [model(candidate, tmp_path)]}
        resolved = LatestBefore().resolve_artifacts(None, inputs)
        assert [artifact.id for artifact in resolved["candidate"]] == [candidate]
        return [artifact.id for artifact in resolved["statistics"]]

    assert last([3], candidate=3) == []
    assert last([9, 3, 5], candidate=9) == [5]
    assert last([3, 5, 9], candidate=5) == [3]
