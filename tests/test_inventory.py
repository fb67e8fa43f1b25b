import shutil
from pathlib import Path

import pytest
from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2

from darkroom.components.runs import inventory, lineage
from tests.stores import Store


class Project:
    """A pipeline that has run by hand: artifacts on disk, and in a store."""

    def __init__(self, home: Path):
        config = metadata_store_pb2.ConnectionConfig()
        config.fake_database.SetInParent()
        self.home, self.root = home, str(home / "artifacts")
        self.store = MetadataStore(config)
        self._hand = Store(self.store, "small")

    def run(self, node: str, kind: str, empty: bool = False, **properties: str | int) -> int:
        """Has a node make an artifact of two files, or of none; returns its number."""
        number = self._hand.artifact(kind, **properties)
        artifact = self.artifact(number)
        folder = self.home / "artifacts" / node / kind / str(number)
        (folder / "inner").mkdir(parents=True)
        if not empty:
            (folder / "file").write_text("a")
            (folder / "inner" / "file").write_text("b")
        artifact.uri, artifact.state = str(folder), artifact.LIVE
        self.store.put_artifacts([artifact])
        self._hand.node(node, "a run", {}, {kind: number})
        [newest] = self.store.get_executions()[-1:]
        inventory.note_files(self.store, lineage.node(self.store, newest.id))
        return number

    def artifact(self, number: int) -> metadata_store_pb2.Artifact:
        [artifact] = self.store.get_artifacts_by_id([number])
        return artifact

    def state(self, number: int) -> str:
        name: str = metadata_store_pb2.Artifact.State.Name(self.artifact(number).state)
        return name


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "runs" / "small")


def test_a_folder_that_was_moved_is_found_where_it_is(project: Project, tmp_path: Path) -> None:
    version = project.home / "pushed" / "small" / "7"
    model = project.run("Trainer", "Model")
    pushed = project.run("Pusher", "PushedModel", pushed=1, pushed_destination=str(version))
    assert (
        inventory.relocate(project.store, "small", project.root, True) is None
    )  # it is where it was
    moved = tmp_path / "elsewhere"
    project.home.rename(moved)
    root = str(moved / "artifacts")
    assert inventory.relocate(project.store, "small", root, True) == str(project.home)
    assert project.artifact(model).uri == f"{root}/Trainer/Model/{model}"
    destination = project.artifact(pushed).custom_properties["pushed_destination"].string_value
    assert destination == str(moved / "pushed" / "small" / "7")
    assert inventory.relocate(project.store, "small", root, True) is None
    # Another name of the same folder changes nothing.
    (tmp_path / "link").symlink_to(moved)
    assert (
        inventory.relocate(project.store, "small", str(tmp_path / "link/artifacts"), True) is None
    )
    assert project.artifact(model).uri.startswith(root)


@pytest.mark.parametrize("is_beside", [True, False])
def test_a_copy_has_its_own_records(project: Project, tmp_path: Path, is_beside: bool) -> None:
    """Or a run of the copy would use the original's; a server's records are of many places."""
    model = project.run("Trainer", "Model")
    gone = project.run("Trainer", "Model")
    copied = tmp_path / "copy" / "artifacts" / "Trainer" / "Model" / str(model)
    copied.mkdir(parents=True)
    root = str(tmp_path / "copy" / "artifacts")
    assert inventory.relocate(project.store, "small", root, is_beside) == str(project.home)
    assert project.artifact(model).uri == str(copied)
    assert project.artifact(gone).uri.startswith(root if is_beside else project.root)


def test_what_is_not_whole_counts_as_none_until_it_is_again(project: Project) -> None:
    whole, emptied, in_part = (project.run("Trainer", "Model") for _ in range(3))
    version = project.home / "pushed" / "small" / "7"
    version.mkdir(parents=True)
    pushed = project.run("Pusher", "PushedModel", pushed=1, pushed_destination=str(version))
    refused = project.run("Pusher", "PushedModel", pushed=0)
    assert inventory.mark_gone(project.store, "small") == []
    for path in Path(project.artifact(emptied).uri).rglob("file"):
        path.unlink()
    lost = Path(project.artifact(in_part).uri, "file")
    aside = lost.rename(project.home / "aside")
    version.rmdir()
    version.with_name("6").mkdir()
    gone = inventory.mark_gone(project.store, "small")
    assert {artifact.id for artifact in gone} == {emptied, in_part, pushed}
    assert [project.state(n) for n in (whole, emptied, refused)] == ["LIVE", "DELETED", "LIVE"]
    assert inventory.mark_gone(project.store, "small") == []  # said once
    aside.rename(lost)
    version.with_name("8").mkdir()  # it had to go when this came
    assert inventory.mark_gone(project.store, "small") == []
    assert [project.state(number) for number in (in_part, pushed)] == ["LIVE", "LIVE"]


def test_what_was_made_of_no_file_is_there_while_its_folder_is(project: Project) -> None:
    cache = project.run("Transform", "TransformCache", empty=True)
    assert inventory.mark_gone(project.store, "small") == []
    assert project.state(cache) == "LIVE"
    shutil.rmtree(project.artifact(cache).uri)
    assert [one.id for one in inventory.mark_gone(project.store, "small")] == [cache]
    assert project.state(cache) == "DELETED"


def test_folders_of_executions_to_come_are_set_aside(project: Project) -> None:
    """As are there where the store was lost: the next node would write into them."""
    model = Path(project.artifact(project.run("Trainer", "Model")).uri)
    assert inventory.set_aside_unknown(project.store, project.root) is None
    unknown = [model.with_name("2"), model.with_name("17")]
    for folder in unknown:
        folder.mkdir()
        (folder / "file").write_text("old")
    (model.parent / "notes").mkdir()  # somebody's own
    aside = inventory.set_aside_unknown(project.store, project.root)
    assert aside is not None
    assert sorted(path.name for path in (aside / "Trainer" / "Model").iterdir()) == ["17", "2"]
    assert sorted(path.name for path in model.parent.iterdir()) == ["1", "notes"]
    assert inventory.set_aside_unknown(project.store, project.root) is None
