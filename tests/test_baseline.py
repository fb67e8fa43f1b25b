import json
from pathlib import Path

from tfx.types import standard_artifacts

from components.baseline import LatestBefore, LatestBlessedBefore
from serving import signatures


def model(number: int, folder: Path | None = None, **contract: object) -> object:
    artifact = standard_artifacts.Model()
    artifact.id = number
    if folder is not None:
        artifact.uri = str(folder / str(number))
        path = folder / str(number) / "Format-Serving" / signatures.CONTRACT_PATH
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(contract))
    return artifact


def blessing(model_id: int, blessed: bool) -> standard_artifacts.ModelBlessing:
    artifact = standard_artifacts.ModelBlessing()
    artifact.id = 100 + model_id
    artifact.set_int_custom_property("current_model_id", model_id)
    artifact.set_int_custom_property("blessed", int(blessed))
    return artifact


def resolve(models: list, blessings: list, candidate: int | object) -> list[int]:
    candidate = model(candidate) if isinstance(candidate, int) else candidate
    inputs = {"model": models, "model_blessing": blessings, "candidate": [candidate]}
    resolved = LatestBlessedBefore().resolve_artifacts(None, inputs)
    assert resolved["candidate"] == [candidate]
    return [artifact.id for artifact in resolved["model"]]


def test_a_first_model_has_no_baseline() -> None:
    assert resolve([model(1)], [], candidate=1) == []


def test_the_candidate_is_never_its_own_baseline() -> None:
    assert resolve([model(1)], [blessing(1, True)], candidate=1) == []
    blessings = [blessing(1, True), blessing(2, True)]
    assert resolve([model(1), model(2)], blessings, candidate=2) == [1]


def test_the_latest_blessed_one_counts() -> None:
    models = [model(n) for n in range(1, 5)]
    blessings = [blessing(1, True), blessing(2, True), blessing(3, False)]
    assert resolve(models, blessings, candidate=4) == [2]
    assert resolve(models, [blessing(3, False)], candidate=4) == []


def test_a_model_of_other_classes_can_not_be_compared(tmp_path: Path) -> None:
    models = [
        model(1, tmp_path, classes=["cat", "dog"]),
        model(2, tmp_path, classes=["cat"]),
    ]
    blessings = [blessing(number, True) for number in (1, 2)]
    several = model(6, tmp_path, classes=["cat", "dog"], multi_label=True)
    assert resolve(models, blessings, several) == []
    assert resolve(models, blessings, model(4, tmp_path, classes=["cat", "dog"])) == [1]
    assert resolve(models, blessings, model(5, tmp_path, classes=["owl"])) == []


def test_the_last_artifact_is_older_than_the_candidate() -> None:
    def last(numbers: list[int], candidate: int) -> list[int]:
        inputs = {"statistics": [model(n) for n in numbers], "candidate": [model(candidate)]}
        resolved = LatestBefore().resolve_artifacts(None, inputs)
        assert [artifact.id for artifact in resolved["candidate"]] == [candidate]
        return [artifact.id for artifact in resolved["statistics"]]

    assert last([3], candidate=3) == []
    assert last([9, 3, 5], candidate=9) == [5]
    assert last([3, 5, 9], candidate=5) == [3]
