import os
from pathlib import Path

import pytest

from darkroom.components.base.errors import DarkroomError
from darkroom.pipeline.ingest import sources


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def found(source: Path) -> list[tuple[str, str, str | None]]:
    return [(file.name, file.label, file.split) for file in sources.list_images(source).files]


def complaint(source: Path) -> str:
    with pytest.raises(DarkroomError) as caught:
        sources.list_images(source)
    return str(caught.value)


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    touch(tmp_path, "cat/1.jpg", "cat/deep/er/2.PNG", "dog/3.webp", "dog/notes.txt", "dog/none")
    touch(tmp_path, "cat/.hidden.jpg", ".git/x.jpg", "cat/.cache/x.jpg")
    listed = sources.list_images(tmp_path)
    assert found(tmp_path) == [
        ("cat/1.jpg", "cat", None),
        ("cat/deep/er/2.PNG", "cat", None),
        ("dog/3.webp", "dog", None),
    ]
    assert listed.ignored == {".txt": 1, "no suffix": 1}


def test_names_in_any_script(tmp_path: Path) -> None:
    decomposed = "frai\u0302che"  # as macOS spells it
    touch(tmp_path, f"fraise {decomposed}/a b é.jpg", "花/图 1.jpg")
    labels = {label for _, label, _ in found(tmp_path)}
    assert labels == {"fraise fraîche", "花"}


def test_sources_that_are_none(tmp_path: Path) -> None:
    assert "doesn't exist" in complaint(tmp_path / "nowhere")
    touch(tmp_path, "file.txt", "a/1.jpg", "b/1.jpg")
    assert "expected a folder, or a manifest" in complaint(tmp_path / "file.txt")
    with pytest.raises(DarkroomError, match="--root is for the paths of a table"):
        sources.list_images(tmp_path, root=tmp_path)


def manifest(root: Path, *lines: str) -> Path:
    path = root / "images.csv"
    path.write_text("\n".join(lines), encoding="utf-8-sig")
    return path


def test_a_manifest(tmp_path: Path) -> None:
    path = manifest(
        tmp_path,
        "label,path,split,camera",
        'cat,"a, b.jpg",,x',
        "fraise fraîche,sub/ü.png,Validation,y",
    )
    assert found(path) == [
        ("a, b.jpg", "cat", None),
        (os.path.join("sub", "ü.png"), "fraise fraîche", "eval"),
    ]


def test_further_columns_come_along(tmp_path: Path) -> None:
    path = manifest(tmp_path, "path,label,camera,year", "a.jpg,cat, a7 ,2023", "b.jpg,dog,,2024")
    files = sources.list_images(path).files
    assert [dict(file.columns) for file in files] == [
        {"camera": "a7", "year": "2023"},
        {"camera": "", "year": "2024"},
    ]
    path = manifest(tmp_path, "path,label,image/height", "a.jpg,cat,3")
    with pytest.raises(DarkroomError, match="the column image/height has the name of a feature"):
        sources.list_images(path)


def test_a_manifest_of_several_labels(tmp_path: Path) -> None:
    path = manifest(tmp_path, "path,label", "a.jpg,dog | cat", "b.jpg,", "c.jpg,cat|cat")
    files = sources.list_images(path, multi_label=True).files
    assert [(file.name, file.label) for file in files] == [
        ("a.jpg", "cat|dog"),
        ("b.jpg", ""),
        ("c.jpg", "cat"),
    ]
    touch(tmp_path, "cat/1.jpg", "dog/1.jpg")
    with pytest.raises(DarkroomError, match="For several labels give a CSV manifest"):
        sources.list_images(tmp_path, multi_label=True)


def test_rows_that_can_not_be_used_do_not_lose_the_others(tmp_path: Path) -> None:
    path = manifest(
        tmp_path,
        "path,label,split",
        "a.jpg,cat,",
        "../outside.jpg,cat,",
        "b.jpg,,",
        ",cat,",
        "c.jpg,cat,final",
        "d.jpg,dog,holdout",
    )
    listed = sources.list_images(path)
    assert [file.name for file in listed.files] == ["a.jpg", "d.jpg"]
    reasons = dict(listed.refused)
    assert f"outside {tmp_path}" in reasons["line 3, ../outside.jpg"]
    assert reasons["line 4, b.jpg"] == "no label"
    assert reasons["line 5, no path"] == "no path"
    assert "split 'final', expected train, eval, test" in reasons["line 6, c.jpg"]


def test_one_class_is_enough_where_there_were_others(tmp_path: Path) -> None:
    touch(tmp_path, "cat/1.jpg", "cat/2.jpg")
    assert "all of one class, 'cat'" in complaint(tmp_path)
    with pytest.raises(DarkroomError, match="all of one class"):
        sources.list_images(tmp_path, known=lambda: {"cat"})
    assert len(sources.list_images(tmp_path, known=lambda: {"cat", "dog"}).files) == 2


def test_formats_of_phones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "cat/1.heic", "cat/2.HEIC", "dog/1.avif")
    monkeypatch.setattr(sources, "_can_read", lambda suffix: False)
    text = complaint(tmp_path)
    assert "all of its images are HEIC or AVIF (1 .avif, 2 .heic), which need another" in text
    assert "pip install 'darkroom-tfx[heif]'" in text
    touch(tmp_path, "cat/3.jpg", "dog/3.jpg")
    listed = sources.list_images(tmp_path)
    assert [file.name for file in listed.files] == ["cat/3.jpg", "dog/3.jpg"]
    assert [name for name, _ in listed.refused] == ["cat/1.heic", "cat/2.HEIC", "dog/1.avif"]


def test_a_link_out_of_the_manifests_folder_is_outside(tmp_path: Path) -> None:
    touch(tmp_path, "secret.jpg", "set/x")
    (tmp_path / "set" / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (tmp_path / "set" / "away").symlink_to(tmp_path)
    path = manifest(tmp_path / "set", "path,label", "link.jpg,cat", "away/secret.jpg,dog")
    assert complaint(path).count(": outside") == 2
