import os
from pathlib import Path

import pytest

from darkroom.components.base.errors import DarkroomError
from darkroom.pipeline.ingest import tree
from tests.layouts import make


def names(root: Path) -> list[str]:
    return [os.path.relpath(path, root) for path in tree.read(root, []).all_images()]


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    make(tmp_path, "source/cat/1.jpg elsewhere/2.jpg")
    source = tmp_path / "source"
    (source / "cat/loop").symlink_to(source)
    (source / "cat/self").symlink_to(source / "cat")
    (source / "cat/more").symlink_to(tmp_path / "elsewhere")
    (source / "cat/round").symlink_to(source / "cat/round")
    assert names(source) == ["cat/1.jpg", "cat/more/2.jpg"]
    (source / "cat/broken.jpg").symlink_to(tmp_path / "nowhere")
    assert "cat/broken.jpg" in names(source)  # refused later, by name


def test_what_there_is(tmp_path: Path) -> None:
    make(tmp_path, "b/1.jpg b/2.PNG b/x.txt a/deep/3.webp .hidden/4.jpg b/.5.jpg empty/")
    folder = tree.read(tmp_path, [])
    assert names(tmp_path) == ["a/deep/3.webp", "b/1.jpg", "b/2.PNG"]
    assert [(below.name, below.total) for below in folder.folders] == [
        ("a", 1), ("b", 2), ("empty", 0),
    ]  # fmt: skip
    assert folder.folders[1].others == ["x.txt"]
    assert tree.holds_images(tmp_path)
    assert not tree.holds_images(tmp_path / "empty")


def test_what_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(DarkroomError, match="can't be read: No such file or directory"):
        tree.read(tmp_path / "nowhere", [])
