import json
from pathlib import Path

import pytest

from darkroom.components.base import features, tfrecord
from tests.conftest import Project, darkroom


def test_real_images_are_classified(small: Project, tmp_path: Path) -> None:
    import tensorflow as tf

    [path] = (small.folder / "runs" / "small" / "data" / "eval").iterdir()
    truth = {}
    for number, record in zip(range(40), tfrecord.read(path), strict=False):
        example = tf.train.Example.FromString(record).features.feature
        image = tmp_path / f"{number}.png"
        image.write_bytes(example[features.IMAGE_KEY].bytes_list.value[0])
        truth[str(image)] = example[features.LABEL_KEY].bytes_list.value[0].decode()
    result = darkroom("predict", *small.options, "--json", *truth, cwd=small.folder)
    answers = json.loads(result.stdout)
    right = [a["classes"][0] == truth[a["image"]] for a in answers]
    assert sum(right) / len(right) > 0.7
    for answer in answers:
        assert answer["scores"] == sorted(answer["scores"], reverse=True)
        assert sum(answer["scores"]) == pytest.approx(1, abs=1e-4)
        assert len(answer["classes"]) == 10

    first = next(iter(truth))
    result = darkroom("predict", *small.options, "--top", "2", first, cwd=small.folder)
    assert result.stdout.startswith(f"0.png: {answers[0]['classes'][0]} ")
    assert len(result.stdout.split()) == 5


def test_one_bad_image_does_not_lose_the_others(small: Project, tmp_path: Path) -> None:
    bad, good = tmp_path / "bad.png", tmp_path / "good.png"
    bad.write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    [path] = (small.folder / "runs" / "small" / "data" / "eval").iterdir()
    import tensorflow as tf

    example = tf.train.Example.FromString(next(tfrecord.read(path)))
    good.write_bytes(example.features.feature[features.IMAGE_KEY].bytes_list.value[0])
    result = darkroom("predict", *small.options, str(bad), str(good), cwd=small.folder)
    assert result.returncode == 1
    assert f"{bad}: can't be decoded" in result.stdout
    assert "good.png: " in result.stdout
    assert "Traceback" not in result.stdout


def test_a_missing_image_is_a_sentence(small: Project) -> None:
    result = darkroom("predict", *small.options, "nowhere.png", cwd=small.folder)
    assert result.returncode == 1
    assert result.stdout == "darkroom: nowhere.png: can't be read: No such file or directory.\n"
