import csv
import io
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
    assert result.stdout.startswith(f"{first}: {answers[0]['classes'][0]} ")
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
    assert f"{good}: " in result.stdout
    assert "1 of 2 images got no answer." in result.stdout
    assert "Traceback" not in result.stdout


def test_a_folder_in_all_formats(small: Project, tmp_path: Path) -> None:
    [path] = (small.folder / "runs" / "small" / "data" / "eval").iterdir()
    names = ["a.png", "b/c.png", "b/d.PNG"]
    (tmp_path / "b").mkdir()
    for name, record in zip(names, tfrecord.read(path), strict=False):
        image = bytes(tfrecord.decode_example(record)[features.IMAGE_KEY].values[0])
        (tmp_path / name).write_bytes(image)
    (tmp_path / "notes.txt").write_text("")

    def predicted(form: str) -> str:
        arguments = [*small.options, str(tmp_path), "--format", form]
        result = darkroom("predict", *arguments, cwd=small.folder)
        assert result.returncode == 0, result.stdout
        first, _, rest = result.stdout.partition("\n")
        assert first == "1 files that aren't named as images are left out."
        return str(rest)

    paths = [str(tmp_path / name) for name in names]
    answers = json.loads(predicted("json"))
    assert [answer["image"] for answer in answers] == paths
    assert [json.loads(line) for line in predicted("jsonl").splitlines()] == answers
    rows = list(csv.DictReader(io.StringIO(predicted("csv"))))
    assert [row["image"] for row in rows] == paths
    for row, answer in zip(rows, answers, strict=True):
        scores = dict(zip(answer["classes"], answer["scores"], strict=True))
        assert {name: float(row[name]) for name in scores} == scores
        assert (row["label"], float(row["score"])) == (answer["label"], answer["scores"][0])
    assert [line.partition(": ")[0] for line in predicted("text").splitlines()] == paths


def test_a_missing_image_is_a_sentence(small: Project) -> None:
    result = darkroom("predict", *small.options, "nowhere.png", cwd=small.folder)
    assert result.returncode == 1
    assert result.stdout == "darkroom: nowhere.png: can't be read: No such file or directory.\n"
