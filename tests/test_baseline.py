import json
import shutil
from pathlib import Path

import pytest
from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2
from tfx.types import artifact_utils, standard_artifacts

from darkroom.components.base import results
from darkroom.components.base.component import existing
from darkroom.components.base.settings import FolderSettings
from darkroom.components.pushing.version_folder import fingerprint_of
from darkroom.components.runs.baseline import BaselineExecutor, StableVersion
from darkroom.serving import rollout
from darkroom.serving.pushed_files import VersionNote


@pytest.fixture
def store() -> MetadataStore:
    config = metadata_store_pb2.ConnectionConfig()
    config.fake_database.SetInParent()
    opened = MetadataStore(config)
    opened.put_artifact_type(standard_artifacts.Model().artifact_type)
    return opened


class Models:
    """Trainer's models, and the folder of their versions."""

    def __init__(self, folder: Path, store: MetadataStore):
        self.folder, self.store, self.pushed = folder, store, folder / "pushed" / "small"
        self.trained: list[standard_artifacts.Model] = []

    def train(self, content: str) -> standard_artifacts.Model:
        kind = self.store.get_artifact_type(standard_artifacts.Model.TYPE_NAME)
        uri = self.folder / "artifacts" / "Trainer" / "model" / str(len(self.trained) + 1)
        (uri / "Format-Serving").mkdir(parents=True)
        (uri / "Format-Serving" / "saved_model.pb").write_text(content)
        record = metadata_store_pb2.Artifact(type_id=kind.id, uri=str(uri))
        [number] = self.store.put_artifacts([record])
        [record] = self.store.get_artifacts_by_id([number])
        self.trained.append(artifact_utils.deserialize_artifact(kind, record))
        return self.trained[-1]

    def push(self, model: standard_artifacts.Model, version: int) -> None:
        source, target = Path(model.uri) / "Format-Serving", self.pushed / str(version)
        target.mkdir(parents=True)
        for path in source.iterdir():
            (target / path.name).write_bytes(path.read_bytes())
        reference = {"id": model.id, "uri": model.uri}
        note = VersionNote(model=reference).numbered(version, 0.0, fingerprint_of(source))
        (target / VersionNote.PATH).parent.mkdir()
        (target / VersionNote.PATH).write_text(note.text())
        rollout.admit(self.pushed, version, as_canary=False)

    def resolve(
        self, candidate: standard_artifacts.Model, blessed: tuple[int, ...] = ()
    ) -> list[standard_artifacts.Model]:
        blessings = []
        for number in blessed:
            blessing = standard_artifacts.ModelBlessing()
            blessing.set_int_custom_property("current_model_id", number)
            blessing.set_int_custom_property("blessed", 1)
            blessings.append(blessing)
        strategy = StableVersion(str(self.pushed), str(self.folder / "artifacts"))
        inputs = {"model": self.trained, "model_blessing": blessings, "candidate": [candidate]}
        resolved = strategy.resolve_artifacts(self.store, inputs)
        assert resolved["candidate"] == [candidate]
        found: list[standard_artifacts.Model] = resolved["model"]
        return found


@pytest.fixture
def models(tmp_path: Path, store: MetadataStore) -> Models:
    return Models(tmp_path, store)


def version_of(model: standard_artifacts.Model) -> str:
    return str(model.get_string_custom_property(results.VERSION_PROPERTY))


def test_a_first_model_has_no_baseline(models: Models) -> None:
    assert models.resolve(models.train("first")) == []


def test_the_candidate_is_never_its_own_baseline(models: Models) -> None:
    """So a run that is done again finds what it found at first, and stays cached."""
    one = models.train("one")
    models.push(one, 1)
    assert models.resolve(one) == []
    two = models.train("two")
    [baseline] = models.resolve(two)
    assert baseline == one
    assert version_of(baseline) == "1"
    models.push(two, 2)
    assert models.resolve(two) == [one]
    assert models.resolve(one) == [two]
    # Nor is the same model, trained once more.
    assert models.resolve(models.train("two")) == [one]


def test_the_stable_version_counts_and_not_the_newest(models: Models) -> None:
    one, two = models.train("one"), models.train("two")
    models.push(one, 1)
    models.push(two, 2)
    rollout.roll_back(models.pushed)
    assert models.resolve(models.train("three")) == [one]
    rollout.promote(models.pushed, 2)
    rollout.promote(models.pushed, 1, as_canary=True)
    assert models.resolve(models.train("four")) == [two]


def test_a_version_whose_model_is_lost_is_the_baseline_by_itself(models: Models) -> None:
    """Also where another has its number and its place by now, as after a loss of ML Metadata."""
    model = models.train("lost")
    models.push(model, 1)
    (Path(model.uri) / "Format-Serving" / "saved_model.pb").write_text("another")
    [found] = models.resolve(model)
    assert found.uri == str(models.folder / "artifacts" / "pushed" / "1")
    assert (Path(found.uri) / "Format-Serving" / "saved_model.pb").read_text() == "lost"
    assert version_of(found) == "1"
    assert models.resolve(model)[0].id == found.id  # or nothing after it would be cached
    shutil.rmtree(model.uri)
    assert models.resolve(models.train("candidate"))[0].id == found.id


def test_without_any_version_it_is_the_latest_blessed_model(models: Models) -> None:
    one, two, three = (models.train(content) for content in ("one", "two", "three"))
    assert models.resolve(three, blessed=(one.id, two.id, three.id)) == [two]
    assert models.resolve(three) == []


def test_what_a_container_gets_is_a_copy(models: Models, tmp_path: Path) -> None:
    def baseline(candidate: standard_artifacts.Model) -> standard_artifacts.Model:
        made = standard_artifacts.Model()
        made.uri = str(tmp_path / f"baseline-{len(list(tmp_path.iterdir()))}")
        settings = FolderSettings(folder=str(models.pushed))
        config = {"custom_config": settings.model_dump_json()}
        BaselineExecutor().Do({"candidate": [candidate]}, {"model": [made]}, config)
        return made

    one, two = models.train("one"), models.train("two")
    assert existing([baseline(two)]) == []  # nothing was ever pushed
    models.push(one, 1)
    models.push(two, 2)  # the run is tried again after its push
    (models.pushed / "incoming-12").mkdir()
    [found] = existing([baseline(two)])
    assert (Path(found.uri) / "Format-Serving" / "saved_model.pb").read_text() == "one"
    note = json.loads((Path(found.uri) / "found.json").read_text())
    assert note == {"from": str(models.pushed / "1")}
    assert version_of(found) == "1"
