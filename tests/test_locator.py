import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from darkroom.pipeline.ingest.locator import Locator, NotUsable
from tests.layouts import make


def found(root: Path, name: str, base: str = "", split: str = "") -> str:
    where = os.path.realpath(root)
    path = Locator(where, os.path.join(where, base), split=split).find(name).path
    return os.path.relpath(path, where)


def test_where_the_table_says(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg lists/a.jpg images/b.jpg")
    assert found(tmp_path, "a.jpg") == "a.jpg"
    assert found(tmp_path, "a.jpg", "lists") == "lists/a.jpg"
    assert found(tmp_path, "../images/b.jpg", "lists") == "images/b.jpg"
    assert found(tmp_path, "images/b.jpg", "lists") == "images/b.jpg"


def test_a_file_that_is_not_there_keeps_its_path(tmp_path: Path) -> None:
    file = Locator(str(tmp_path), str(tmp_path)).find("none.jpg")
    assert (file.path, file.exists) == (str(tmp_path / "none.jpg"), False)


def test_one_of_several_by_its_split(tmp_path: Path) -> None:
    make(tmp_path, "{train,test}/x.jpg other/{y.jpg,y.png}")
    assert found(tmp_path, "x") == "train/x.jpg"
    assert found(tmp_path, "x", split="test") == "test/x.jpg"
    with pytest.raises(NotUsable, match=r"not one file but 2 files: other/y.jpg, other/y.png"):
        found(tmp_path, "y")
    with pytest.raises(NotUsable, match=r"not one file but 2 files: y.jpg, y.png"):
        found(tmp_path, "other/y")


def test_a_root_behind_a_link(tmp_path: Path) -> None:
    make(tmp_path, "real/a.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert found(tmp_path / "link", str(tmp_path / "link" / "a.jpg")) == "a.jpg"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text("aé e\u0301ñ.x", min_size=1, max_size=8), st.sampled_from(["NFC", "NFD"]))
def test_any_spelling_of_accents(
    tmp_path_factory: pytest.TempPathFactory, stem: str, form: str
) -> None:
    root = tmp_path_factory.mktemp("set")
    name = f"z{stem}z/y{stem}y.jpg"
    path = root / name
    path.parent.mkdir()
    path.touch()
    spelled = unicodedata.normalize(form, name)  # type: ignore[arg-type]
    assert found(root, spelled) == name
    assert found(root, spelled.removesuffix(".jpg")) == name
