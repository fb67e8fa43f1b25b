import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_sample_image

from darkroom.components.base import tfrecord
from darkroom.components.base.errors import DarkroomError
from darkroom.pipeline.config import Config
from darkroom.pipeline.ingest import digits
from darkroom.pipeline.recipe.apply import applied
from tests.conftest import darkroom, encoded


def configured(folder: Path, **sections: object) -> Config:
    tree = {"name": "data", "data": {"path": str(folder)}, **sections}
    return Config.model_validate(tree)


def test_each_value_is_said_and_reported(tmp_path: Path) -> None:
    digits.write(tmp_path / "digits")
    said: list[str] = []
    config = applied(configured(tmp_path / "digits", training={"epochs": 3}), said.append)
    assert said[0].startswith("recipe  1,437 images of 10 classes, 8×8; ")
    assert config.training.epochs == 3
    assert config.preprocessing.height == 8
    assert config.preprocessing.channels == 1
    chosen = config.reported["chosen"]
    assert chosen["training.schedule"] == config.training.schedule == "one_cycle"
    assert "training.epochs" not in chosen
    for key in chosen:
        assert sum(f"{key}=" in line for line in said) == 1


def test_none_leaves_all_as_it_is(tmp_path: Path) -> None:
    config = configured(tmp_path, training={"recipe": "none"})
    assert applied(config, pytest.fail) is config
    assert "chosen" not in config.reported


def test_images_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(DarkroomError, match=r"none can be read from here at .*recipe to none"):
        applied(configured(tmp_path), pytest.fail)


def test_a_contradiction_names_both(tmp_path: Path) -> None:
    photo = encoded(np.zeros((80, 60, 3), np.uint8), "JPEG")
    example = tfrecord.encode_example({"image/encoded": photo, "image/class/text": b"a"})
    for split in ("train", "eval"):
        (tmp_path / split).mkdir()
        tfrecord.write(tmp_path / split / "part", [example] * 8)
    config = configured(tmp_path, preprocessing={"height": 24})
    with pytest.raises(DarkroomError, match=r"recipe is auto.*at least 32×32 pixels, found 24×"):
        applied(config, lambda _: None)


@pytest.mark.slow
def test_photographs_become_a_model_in_the_minutes(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for split, count in (("train", 40), ("eval", 12)):
        records = []
        for name in ("china", "flower"):
            photo = load_sample_image(f"{name}.jpg")
            for _ in range(count):
                top, left = draw.integers(0, (300, 500))
                patch = encoded(photo[top : top + 96, left : left + 96], "JPEG")
                values = {"image/encoded": patch, "image/class/text": name.encode()}
                records.append(tfrecord.encode_example(values))
        (tmp_path / "data" / split).mkdir(parents=True)
        tfrecord.write(tmp_path / "data" / split / "part", records)
    (tmp_path / "photos.yaml").write_text("name: photos\ndata: {path: data}\n")
    result = darkroom(
        "run", "--config", "photos.yaml", "--minutes", "30", "--set", "training.epochs=5",
        "--set", "transfer.group_epochs=1", cwd=tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout
    assert "recipe  80 images of 2 classes, 96×96" in result.stdout
    assert "30 minutes, images of 96×96" in result.stdout
    assert "training.epochs=" not in result.stdout  # which is set
    status = json.loads(
        darkroom("status", "--config", "photos.yaml", "--json", cwd=tmp_path).stdout
    )
    assert status["blessed"]
    assert status["metrics"]["accuracy"] > 0.9
    [report] = (tmp_path / "runs" / "photos").glob("artifacts/Report/report/*/report.json")
    config = json.loads(report.read_text(encoding="utf-8"))["config"]
    assert config["training"]["minutes"] == 30
    assert config["chosen"]["model.name"] == config["model"]["name"] == "EfficientNetLite0"
