import json
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from darkroom.components.base.errors import DarkroomError
from darkroom.pipeline.config import load
from darkroom.pipeline.ingest import index
from darkroom.pipeline.ingest.changes import Change
from darkroom.pipeline.ingest.listing import describe
from darkroom.pipeline.project import Project
from tests.conftest import darkroom, encoded


def quiet(words: str, done: int, total: int) -> None:
    pass


def agree(changes: list[Change]) -> bool:
    return True


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """180 of scikit-learn's digits in a folder for each of three classes."""
    folder = tmp_path_factory.mktemp("images") / "My scans.2024"
    digits = load_digits(n_class=3)
    for number in range(180):
        path = folder / f"class {digits.target[number]}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[number] * 15).astype("uint8")).save(path)
    (folder / "class 0" / "notes.txt").write_text("none")
    return folder


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("photos", "photos"),
        ("My Photos_2024", "my-photos-2024"),
        ("Ñandú", "nandu"),
        ("2024", "images-2024"),
        ("写真", "images"),
        ("a.tar.gz", "a"),
        ("x" * 99, "x" * 40),
    ],
)
def test_the_pipeline_is_named_after_the_folder(
    tmp_path: Path, scans: Path, folder: str, name: str
) -> None:
    (tmp_path / folder).symlink_to(scans)
    file = tmp_path / "darkroom.yaml"
    Project.of(tmp_path / folder, file).ingest(None, {}, quiet, agree)
    assert load(file).name == name


def test_what_is_written(tmp_path: Path, scans: Path) -> None:
    file = tmp_path / "darkroom.yaml"
    made = Project.of(scans, file)
    assert made.is_new
    assert describe(made.look(None, None)) == [
        "180 images by a folder for each class.",
        "3 classes: class 0 61, class 2 60, class 1 59.",
        "No images: 1 .txt.",
    ]
    summary = made.ingest(7.5, {}, quiet, agree)
    assert summary.images == {"train": 108, "eval": 36, "test": 36}
    config = load(file)
    assert config.data_path == str(tmp_path / "records")
    assert config.data.splits.test == "test/*"
    assert config.training.minutes == 7.5

    again = Project.of(scans, file)
    file.write_text(file.read_text() + "root: elsewhere\n")
    assert not again.is_new
    assert again.ingest(3, {}, quiet, agree).added == 0
    assert load(file).root == str(tmp_path / "elsewhere")  # the user's edits stay


def test_a_project_is_not_made_inside_its_images(scans: Path) -> None:
    for folder in (scans, scans / "class 1"):
        with pytest.raises(DarkroomError, match=r"is inside .*: cd .*images"):
            Project.of(scans, folder / "darkroom.yaml")
    assert not list(scans.rglob("*.yaml"))


def test_commands_in_the_folder_need_no_configuration(tmp_path: Path, scans: Path) -> None:
    refused = darkroom("init", str(scans), cwd=tmp_path)
    assert refused.returncode == 1
    assert "There is nobody to ask whether this is right: add --yes" in refused.stdout
    assert list(tmp_path.iterdir()) == []
    done = darkroom("init", str(scans), "--yes", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.endswith("next         darkroom run\n")
    shown = darkroom("config", cwd=tmp_path)
    assert "name: my-scans" in shown.stdout
    mistaken = darkroom("run", "mnist", cwd=tmp_path)
    assert "mnist is a configuration: darkroom run --config mnist." in mistaken.stdout


def test_images_of_a_group_stay_in_one_split(tmp_path: Path) -> None:
    folder = tmp_path / "patients"
    for number in range(60):
        path = folder / f"class {number % 2}" / f"patient{number // 4}-{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(np.full((8, 8), number, np.uint8)))
    command = "init", str(folder), "--yes", "--group-pattern"
    refused = darkroom(*command, r"person\d+", cwd=tmp_path)
    assert refused.returncode == 1
    assert r"the pattern person\d+ finds no group in any of 60 images" in refused.stdout
    assert not (tmp_path / "darkroom.yaml").exists()
    done = darkroom(*command, r"patient\d+", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert r"15 groups by the pattern patient\d+, each in one split" in done.stdout
    splits = defaultdict(set)
    for entry in index.read(tmp_path / "records").entries:
        splits[entry.group].add(entry.split)
    assert len(splits) == 15
    assert all(len(of_group) == 1 for of_group in splits.values())
    assert set().union(*splits.values()) == {"train", "eval", "test"}
    assert "Groups are of images" in darkroom("run", "--group", "patient", cwd=tmp_path).stdout


def test_paths_begin_at_the_file(tmp_path: Path) -> None:
    file = tmp_path / "conf" / "cats.yaml"
    file.parent.mkdir()
    network = "model: {name: EfficientNetLite0, weights: imagenet}\n"
    network += "preprocessing: {height: 64, width: 64, normalization: rescale}\n"
    file.write_text(f"name: cats\ndata: {{path: records}}\n{network}")
    config = load(file)
    assert config.data_path == str(tmp_path / "conf" / "records")
    assert config.home == tmp_path / "conf" / "runs" / "cats"
    assert config.model.weights == "imagenet"
    of_command = load(file, ["data.path=records", "root=runs"])
    assert of_command.data_path == str(Path.cwd() / "records")
    assert of_command.home == Path.cwd() / "runs" / "cats"
    file.write_text("name: cats\nroot: gs://bucket/runs\ndata: {path: /records}\n")
    assert load(file).base == "gs://bucket/runs/cats"
    assert load(file).data_path == "/records"


@pytest.mark.slow
def test_images_become_an_answer_with_one_command(tmp_path: Path, scans: Path) -> None:
    images = tmp_path / "scans"
    shutil.copytree(scans, images)
    home = tmp_path / "home"
    home.mkdir()
    first = darkroom("run", str(images), "--yes", "--minutes", "2", cwd=home)
    assert first.returncode == 0, first.stdout
    status = json.loads(darkroom("status", "--json", cwd=home).stdout)
    assert status["pipeline"] == "scans"
    assert status["metrics"]["accuracy"] > 0.9
    [command] = [line for line in first.stdout.splitlines() if line.startswith("next")]
    words = command.split()[2:]
    assert words[0] == "predict"
    assert "class " in darkroom(*words, cwd=home).stdout
    (images / "class 0" / "0.png").rename(images / "class 1" / "0.png")
    asked = darkroom("run", str(images), "--minutes", "2", cwd=home)
    assert asked.returncode == 1
    assert "relabelled" in asked.stdout
    (images / "class 1" / "0.png").rename(images / "class 0" / "0.png")
    second = darkroom("run", str(images), "--minutes", "2", cwd=home)
    assert second.returncode == 0, second.stdout
    nodes = json.loads(darkroom("status", "--json", cwd=home).stdout)["nodes"]
    assert {node["id"]: node["state"] for node in nodes}["Trainer"] == "cached"
