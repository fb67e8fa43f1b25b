import io
from collections import Counter
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_digits

from darkroom.components.base import features, tfrecord
from darkroom.pipeline.ingest import digits

SPLITS = ("train", "eval", "test")


def examples(folder: Path, split: str) -> list[tf.train.Example]:
    [path] = (folder / split).iterdir()
    return [tf.train.Example.FromString(record) for record in tfrecord.read(path)]


def value(example: tf.train.Example, key: str) -> bytes:
    content: bytes = example.features.feature[key].bytes_list.value[0]
    return content


def test_all_scans_are_there_once(digit_records: Path) -> None:
    all_splits = [e for split in SPLITS for e in examples(digit_records, split)]
    names = [value(example, features.FILENAME_KEY).decode() for example in all_splits]
    assert sorted(names) == [f"digit-{number:04}.png" for number in range(1797)]
    scans = load_digits()
    for example, name in zip(all_splits[::50], names[::50], strict=True):
        number = int(name[6:10])
        pixels = np.asarray(Image.open(io.BytesIO(value(example, features.IMAGE_KEY))))
        np.testing.assert_allclose(pixels / 255 * 16, scans.images[number], atol=0.04)
        assert value(example, features.LABEL_KEY).decode() == str(scans.target[number])


def test_each_class_keeps_its_share(digit_records: Path) -> None:
    counts = {
        split: Counter(value(e, features.LABEL_KEY) for e in examples(digit_records, split))
        for split in SPLITS
    }
    whole = sum(counts.values(), Counter())
    for split in ("eval", "test"):
        assert counts[split].total() == 180
        for label, held_out in counts[split].items():
            assert abs(held_out / whole[label] - 0.1) < 0.005, (split, label)


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    digits.write(tmp_path / "data")
    assert not list((tmp_path / "data").iterdir())


def test_two_splits_of_an_earlier_version_become_three(tmp_path: Path) -> None:
    for split in ("train", "eval"):
        (tmp_path / "data" / split).mkdir(parents=True)
        (tmp_path / "data" / split / "digits.tfrecord").touch()
    digits.write(tmp_path / "data")
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == sorted(SPLITS)
    assert len(examples(tmp_path / "data", "train")) == 1437


def test_a_killed_writer_leaves_nothing_half_done(tmp_path: Path) -> None:
    (tmp_path / "data.incoming" / "train").mkdir(parents=True)
    digits.write(tmp_path / "data")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]
    assert len(examples(tmp_path / "data", "eval")) == 180
