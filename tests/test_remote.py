import os
import subprocess
import sys
from pathlib import Path

import pytest

from darkroom.components.base import remote
from darkroom.components.base.errors import DarkroomError
from tests import buckets
from tests.conftest import environment

URI = "test://bucket/runs/Trainer/model/8"


@pytest.fixture(autouse=True)
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of what is at ``URI``."""
    monkeypatch.setenv(buckets.FOLDER, str(tmp_path / "buckets"))
    monkeypatch.setenv(remote._FOLDER, str(tmp_path / "staging"))
    folder = Path(buckets.path(URI))
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_text("graph")
    (folder / "variables" / "a").write_text("weights")
    return folder


def test_a_folder_is_copied_once(bucket: Path, tmp_path: Path) -> None:
    copy = remote.fetch(URI)
    assert copy == remote.place(URI) == tmp_path / "staging/test/bucket/runs/Trainer/model/8"
    assert (copy / "variables" / "a").read_text() == "weights"
    (bucket / "saved_model.pb").write_text("other")
    assert (remote.fetch(URI) / "saved_model.pb").read_text() == "graph"
    assert (remote.fetch(URI, anew=True) / "saved_model.pb").read_text() == "other"
    assert remote.file(URI, "saved_model.pb").read_text() == "other"
    assert [path.name for path in copy.parent.iterdir()] == ["8"]


def test_one_file_needs_no_whole_folder() -> None:
    assert remote.file(URI, "variables/a").read_text() == "weights"
    assert not remote.place(URI).exists()
    with pytest.raises(FileNotFoundError):
        remote.file(URI, "nothing")


def test_a_path_is_its_own_copy(tmp_path: Path) -> None:
    path = str(tmp_path / "a")
    assert not remote.is_remote(path)
    assert remote.fetch(path) == remote.place(path) == Path(path)
    assert remote.origin(path) == path
    assert remote.file(path, "b") == tmp_path / "a" / "b"
    assert not remote.exists(path)
    assert remote.names(path) == []


def test_the_origin_of_a_copy() -> None:
    copy = str(remote.place(URI))
    assert remote.origin(copy) == URI
    assert remote.origin(f"{copy}/../../checkpoints") == "test://bucket/runs/Trainer/checkpoints"
    assert remote.origin("blessed") == "blessed"


def test_what_is_written_is_copied_up(bucket: Path) -> None:
    uri = URI.replace("8", "9")
    with remote.written(uri) as folder:
        (folder / "a").write_text("b")
        assert not remote.exists(uri)
    assert (bucket.parent / "9" / "a").read_text() == "b"
    assert remote.fetch(uri) == folder
    with pytest.raises(ValueError, match="no"), remote.written(f"{uri}0"):
        raise ValueError("no")
    assert not remote.exists(f"{uri}0")


def test_what_a_killed_process_wrote_is_no_copy(bucket: Path) -> None:
    code = (
        "import os, sys; from darkroom.components.base import remote\n"
        "with remote.written(sys.argv[1]) as folder:\n"
        "    (folder / 'saved_model.pb').write_text('half'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, URI], env=environment(), check=False)
    assert (remote.place(URI) / "saved_model.pb").read_text() == "half"
    assert remote.file(URI, "saved_model.pb").read_text() == "graph"
    assert (remote.fetch(URI) / "variables" / "a").read_text() == "weights"
    assert remote.fetch(URI) == remote.place(URI)


def test_what_is_gone_is_said() -> None:
    with pytest.raises(DarkroomError, match="test://bucket/gone isn't there any more"):
        remote.fetch("test://bucket/gone")


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("nowhere://bucket", "root: nothing here knows nowhere://, found nowhere://bucket. There"),
        ("s3://bucket", "root: s3://bucket needs tensorflow-io and boto3: pip install tensorflow-"),
    ],
)
def test_a_scheme_without_its_package(uri: str, expected: str) -> None:
    with pytest.raises(DarkroomError, match=expected):
        remote.check("root", uri)


def test_a_bucket_that_can_not_be_written(tmp_path: Path) -> None:
    remote.check("root", "test://bucket/new", writable=True)
    assert remote.names("test://bucket/new") == []
    (tmp_path / "buckets" / "file").write_text("")
    with pytest.raises(DarkroomError, match=r"root: test://file/x can't be written: .* Does the"):
        remote.check("root", "test://file/x", writable=True)
    remote.check("root", os.fspath(tmp_path))
