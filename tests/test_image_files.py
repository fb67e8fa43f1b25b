import os
from pathlib import Path

import pytest

from darkroom.serving import image_files
from darkroom.serving.predictor import ImageError, PredictionError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (
        "b/2.jpg",
        "b/10.JPEG",
        "a.png",
        "c.txt",
        ".hidden/d.png",
        ".e.png",
        "b/f.bmp",
        "g.Webp",
    ):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_all_images_below_a_folder(folder: Path) -> None:
    names = ["a.png", "g.Webp", "b/10.JPEG", "b/2.jpg", "b/f.bmp"]
    found = image_files.find(["photos"])
    assert found.paths == [os.path.join("photos", name) for name in names]
    assert found.left_out == 1


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("photos/*.png", ["photos/a.png"]),
        ("photos/**/*.[jJ][pP]*", ["photos/b/10.JPEG", "photos/b/2.jpg"]),
        ("photos/[ab]*", ["photos/a.png"]),  # and no folder
    ],
)
def test_patterns(folder: Path, pattern: str, names: list[str]) -> None:
    assert image_files.find([pattern]) == (names, 0)


def test_what_is_named_is_taken_whatever_its_name(folder: Path) -> None:
    (folder / "what[1].dat").write_bytes(b"")
    words = ["photos/c.txt", "what[1].dat", "photos/a.png", "photos/a.png"]
    assert image_files.find(words) == (words, 0)
    assert image_files.read("photos/c.txt") == b"c.txt"


def test_words_that_name_nothing(folder: Path) -> None:
    with pytest.raises(ImageError, match=r"^nowhere\.png: can't be read: No such file"):
        image_files.find(["photos/a.png", "nowhere.png"])
    with pytest.raises(PredictionError, match=r"^\*\.png: no file matches this pattern"):
        image_files.find(["*.png"])
    (folder / "empty").mkdir()
    (folder / "empty" / "notes.txt").write_text("")
    with pytest.raises(PredictionError, match=r"^empty: no file below it is named as images are"):
        image_files.find(["empty"])
