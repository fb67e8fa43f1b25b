import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from darkroom.components.base.errors import DarkroomError
from darkroom.pipeline.ingest import archives
from darkroom.pipeline.ingest.sources import list_images
from tests.layouts import counted, make

TIME = 1_600_000_000  # even, as a zip's times are


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar", "bztar", "xztar"])
def test_any_archive_is_a_folder_for_a_while(tmp_path: Path, kind: str) -> None:
    import shutil

    make(tmp_path / "set", "pets/{cat,dog}/#2.jpg __MACOSX/._x")
    for path in (tmp_path / "set").rglob("*.jpg"):
        os.utime(path, (TIME, TIME))
    packed = Path(shutil.make_archive(str(tmp_path / "pets"), kind, tmp_path / "set"))
    target = tmp_path / "out" / "records"
    with archives.opened(packed, target) as folder:
        assert folder.parent == target.parent
        listing = list_images(folder)
        assert counted(listing) == "cat 2, dog 2"
        assert {file.name for file in listing.files} >= {"pets/cat/1.jpg"}
        assert {os.stat(file.path).st_mtime for file in listing.files} == {TIME}
    assert list(target.parent.iterdir()) == []


def test_what_is_no_archive_stays(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "list.csv", tmp_path / "nowhere.zip"):
        with archives.opened(path, tmp_path / "x") as same:
            assert same == path


def test_archives_that_can_not_be_unpacked(tmp_path: Path) -> None:
    for name in ("a.zip", "a.tar", "a.tar.gz"):
        (tmp_path / name).write_bytes(b"no archive")
        with (
            pytest.raises(DarkroomError, match=f"{name}: can't be unpacked"),
            archives.opened(tmp_path / name, tmp_path / "x"),
        ):
            pass
    make(tmp_path, "1.jpg", {"2.jpg": "2" * 10_000})
    with zipfile.ZipFile(tmp_path / "cut.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.write(tmp_path / "2.jpg", "2.jpg")
    damaged = bytearray((tmp_path / "cut.zip").read_bytes())
    damaged[38:42] = b"\xff" * 4
    (tmp_path / "cut.zip").write_bytes(damaged)
    with (
        pytest.raises(DarkroomError, match=r"cut\.zip: can't be unpacked"),
        archives.opened(tmp_path / "cut.zip", tmp_path / "x"),
    ):
        pass
    with tarfile.open(tmp_path / "out.tar", "w") as archive:
        archive.add(tmp_path / "1.jpg", "../1.jpg")
    with (
        pytest.raises(DarkroomError, match=r"'\.\./1\.jpg' would be extracted to"),
        archives.opened(tmp_path / "out.tar", tmp_path / "x"),
    ):
        pass
    with zipfile.ZipFile(tmp_path / "out.zip", "w") as packed:
        packed.write(tmp_path / "1.jpg", "../cat/1.jpg")
    with archives.opened(tmp_path / "out.zip", tmp_path / "x") as folder:
        assert (folder / "cat" / "1.jpg").exists()  # inside all the same
