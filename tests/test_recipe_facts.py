from pathlib import Path

import numpy as np
import pytest

from darkroom.components.base import tfrecord
from darkroom.pipeline import data_files
from darkroom.pipeline.config import Config, load
from darkroom.pipeline.ingest import digits
from darkroom.pipeline.recipe import facts
from tests.conftest import encoded


def config(folder: Path, **data: object) -> Config:
    tree = {"path": str(folder), "splits": {"eval": None}, **data}
    return Config.model_validate({"name": "data", "data": tree})


def test_facts_of_real_records(tmp_path: Path) -> None:
    digits.write(tmp_path / "digits")
    seen = facts.of(load("digits", ["data.bundled=null", f"data.path={tmp_path}/digits"]))
    assert (seen.images, seen.held_out) == (1437, 180)
    assert (seen.height, seen.width, seen.grey) == (8, 8, True)
    assert len(seen.classes) == 10
    assert sum(seen.classes.values()) == 1437


def written(folder: Path, count: int, **features: bytes) -> None:
    (folder / "train").mkdir()
    records = (
        tfrecord.encode_example(
            {
                "image/encoded": encoded(np.zeros((20, 30, 3), np.uint8)),
                "image/class/text": b"abc"[n % 3 : n % 3 + 1],
                **features,
            }
        )
        for n in range(count)
    )
    tfrecord.write(folder / "train" / "part", records)


def test_without_an_eval_split_a_share_is_held_out(tmp_path: Path) -> None:
    written(tmp_path, 60)
    seen = facts.of(config(tmp_path))
    assert (seen.images, seen.held_out) == (54, 6)
    assert seen.classes == {"a": 18, "b": 18, "c": 18}
    assert (seen.height, seen.width, seen.grey) == (20, 30, False)


def test_labels_of_several(tmp_path: Path) -> None:
    written(tmp_path, 30, **{"image/class/text": b"x|y"})
    assert facts.of(config(tmp_path, multi_label=True)).classes.keys() == {"x", "y"}


def test_a_large_set_is_counted_from_a_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, 2000)
    whole = facts.of(config(tmp_path))
    monkeypatch.setattr(data_files, "_MOST_BYTES", dict.fromkeys((False, True), 50_000))
    part = facts.of(config(tmp_path))
    assert part.images == pytest.approx(whole.images, rel=0.2)
    assert part.classes["a"] == pytest.approx(whole.classes["a"], rel=0.2)


def test_what_cannot_be_used_is_left_to_the_nodes(tmp_path: Path) -> None:
    written(tmp_path, 10, **{"image/encoded": b"no image"})
    (tmp_path / "train" / "broken").write_bytes(b"no records")
    seen = facts.of(config(tmp_path))
    assert seen.images == 9


def test_one_broken_example_leaves_the_others(tmp_path: Path) -> None:
    written(tmp_path, 30)
    file = tmp_path / "train" / "part"
    first, *others = tfrecord.read(file)
    tfrecord.write(file, [first, b"\xff no example", *others])
    assert facts.of(config(tmp_path)).images == 27


def test_pixels_without_a_shape_leave_the_others(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    pixels = {"image/encoded": bytes(6 * 4), "image/class/text": b"a"}
    shape = {"height": 6, "width": 4}
    records = map(tfrecord.encode_example, [pixels, *[{**pixels, **shape}] * 19])
    tfrecord.write(tmp_path / "train" / "part", records)
    of_pixels = config(tmp_path, form="uint8", shape_keys=["height", "width"])
    seen = facts.of(of_pixels)
    assert (seen.images, seen.held_out) == (18, 2)
    assert (seen.height, seen.width, seen.grey) == (6, 4, True)


def test_this_machine() -> None:
    machine = facts.Machine.here()
    assert machine.cores >= 1
    assert machine.pretrained
