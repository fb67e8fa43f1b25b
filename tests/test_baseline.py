from tfx.types import standard_artifacts

from components.baseline import LatestBlessedBefore


def model(number: int) -> standard_artifacts.Model:
    artifact = standard_artifacts.Model()
    artifact.id = number
    return artifact


def blessing(model_id: int, blessed: bool) -> standard_artifacts.ModelBlessing:
    artifact = standard_artifacts.ModelBlessing()
    artifact.id = 100 + model_id
    artifact.set_int_custom_property("current_model_id", model_id)
    artifact.set_int_custom_property("blessed", int(blessed))
    return artifact


def resolve(models: list, blessings: list, candidate: int) -> list[int]:
    inputs = {"model": models, "model_blessing": blessings, "candidate": [model(candidate)]}
    resolved = LatestBlessedBefore().resolve_artifacts(None, inputs)
    assert [artifact.id for artifact in resolved["candidate"]] == [candidate]
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
