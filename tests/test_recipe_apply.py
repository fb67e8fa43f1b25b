import io
from pathlib import Path

import pytest
from PIL import Image

from darkroom.components.base import tfrecord
from darkroom.components.base.errors import DarkroomError
from darkroom.pipeline.config import Config
from darkroom.pipeline.ingest import digits
from darkroom.pipeline.recipe.apply import applied


def configured(folder: Path, **sections: object) -> Config:
    tree = {"name": "data", "data": {"path": str(folder)}, **sections}
    return Config.model_validate(tree)


def test_each_value_is_said_and_reported(tmp_path: Path) -> None:
    digits.write(tmp_path / "digits")
    said: list[str] = []
    config = applied(configured(tmp_path / "digits", training={"epochs": 3}), said.append)
    assert said[0].startswith("recipe  1,617 images of 10 classes, 8×8; ")
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
    photo = tfrecord.encode_example({"image/encoded": jpeg(80, 60), "image/class/text": b"a"})
    for split in ("train", "eval"):
        (tmp_path / split).mkdir()
        tfrecord.write(tmp_path / split / "part", [photo] * 8)
    config = configured(tmp_path, preprocessing={"height": 24})
    with pytest.raises(DarkroomError, match=r"recipe is auto.*at least 32×32 pixels, found 24×"):
        applied(config, lambda _: None)


def jpeg(height: int, width: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(file, "JPEG")
    return file.getvalue()
