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


@pytest.mark.parametrize(
    ("folder", "split"),
    [
        *[(name, "train") for name in ("TRAIN", "Training")],
        *[(name, "eval") for name in ("val", "VALID", "validation", "Eval")],
        *[(name, "test") for name in ("Test", "TESTING")],
    ],
)
def test_split_folders(tmp_path: Path, folder: str, split: str) -> None:
    touch(tmp_path, f"{folder}/EOSINOPHIL/1.jpeg")
    assert found(tmp_path) == [(f"{folder}/EOSINOPHIL/1.jpeg", "EOSINOPHIL", split)]


def test_a_class_may_be_called_test(tmp_path: Path) -> None:
    touch(tmp_path, "test/1.jpg", "control/2.jpg")
    assert [label for _, label, _ in found(tmp_path)] == ["control", "test"]


def test_names_in_any_script(tmp_path: Path) -> None:
    decomposed = "frai\u0302che"  # as macOS spells it
    touch(tmp_path, f"fraise {decomposed}/a b é.jpg", "花/图 1.jpg")
    labels = {label for _, label, _ in found(tmp_path)}
    assert labels == {"fraise fraîche", "花"}


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    touch(tmp_path, "source/cat/1.jpg", "elsewhere/2.jpg")
    (tmp_path / "source/cat/loop").symlink_to(tmp_path / "source")
    (tmp_path / "source/cat/self").symlink_to(tmp_path / "source/cat")
    (tmp_path / "source/cat/more").symlink_to(tmp_path / "elsewhere")
    names = [name for name, _, _ in found(tmp_path / "source")]
    assert names.count("cat/1.jpg") == 1
    assert "cat/more/2.jpg" in names
    assert len(names) == 2
    (tmp_path / "source/cat/broken.jpg").symlink_to(tmp_path / "nowhere")
    assert len(sources.list_images(tmp_path / "source").files) == 3  # refused later, by name


def test_folders_without_images(tmp_path: Path) -> None:
    assert "no images found. Expected a folder for each class" in complaint(tmp_path)
    touch(tmp_path, "1.jpg", "2.jpg")
    text = complaint(tmp_path)
    assert "2 images are in the folder itself" in text
    assert "CSV manifest" in text
    assert "doesn't exist" in complaint(tmp_path / "nowhere")
    touch(tmp_path, "file.txt")
    assert "expected a folder, or a manifest" in complaint(tmp_path / "file.txt")


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
    with pytest.raises(DarkroomError, match="For several labels give a CSV manifest"):
        sources.list_images(tmp_path, multi_label=True)


def test_rows_that_can_not_be_used_do_not_lose_the_others(tmp_path: Path) -> None:
    path = manifest(
        tmp_path,
        "path,label,split",
        "a.jpg,cat,",
        "../outside.jpg,cat,",
        "/etc/passwd,cat,",
        "b.jpg,,",
        ",cat,",
        "c.jpg,cat,holdout",
        "short",
    )
    listed = sources.list_images(path)
    assert [file.name for file in listed.files] == ["a.jpg"]
    reasons = dict(listed.refused)
    assert f"outside {tmp_path}" in reasons["line 3, ../outside.jpg"]
    assert "outside" in reasons["line 4, /etc/passwd"]
    assert reasons["line 5, b.jpg"] == "no label"
    assert reasons["line 6, no path"] == "no path"
    assert "split 'holdout', expected train, eval, test" in reasons["line 7, c.jpg"]
    assert reasons["line 8, short"] == "no label"


def test_a_link_out_of_the_manifests_folder_is_outside(tmp_path: Path) -> None:
    touch(tmp_path, "secret.jpg", "set/x")
    (tmp_path / "set" / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    path = manifest(tmp_path / "set", "path,label", "link.jpg,cat")
    assert sources.list_images(path).files == []


def test_a_manifest_that_is_none(tmp_path: Path) -> None:
    text = complaint(manifest(tmp_path, "path,labels", "a.jpg,cat"))
    assert "label is missing, found path, labels. Did you mean 'labels'?" in text
    assert "path is missing, found nothing" in complaint(manifest(tmp_path, ""))
    assert "lists no images" in complaint(manifest(tmp_path, "path,label"))
    (tmp_path / "images.csv").write_bytes(b"path,label\n\xff\xfe,cat\n")
    assert "can't be read as CSV in UTF-8" in complaint(tmp_path / "images.csv")
