"""ImportExampleGen's executor on real files, as TFX calls it."""

import gzip
import io
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from darkroom.components.base import features, tfrecord
from darkroom.components.base.errors import DarkroomError
from darkroom.components.base.settings import IngestionSettings
from darkroom.components.ingestion import data_version, example_gen, leaks
from darkroom.components.ingestion.findings import Fault, Findings
from darkroom.components.ingestion.inspection_report import InspectionReport
from darkroom.pipeline.config import load
from darkroom.pipeline.running import preflight
from tests import buckets
from tests.conftest import encoded
from tests.settings import configured
from tests.test_image_formats import claiming

GENERATOR = np.random.default_rng(0)


def picture(number: int) -> bytes:
    """A JPEG unlike all others."""
    pixels = np.random.default_rng(number).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return encoded(np.kron(pixels, np.ones((8, 8, 1), np.uint8)), "JPEG")


def example(image: bytes, label: Any = b"a", name: bytes = b"") -> bytes:
    values = {features.IMAGE_KEY: image, features.LABEL_KEY: label, features.FILENAME_KEY: name}
    return tfrecord.encode_example(values)


class Run:
    """What the executor made of a folder with train/, eval/ and perhaps test/."""

    def __init__(self, folder: Path, *overrides: str, bucket: str = ""):
        if (folder / "test").exists():
            overrides = ("data.splits.test=test/*", *overrides)
        config = load("mnist", [f"data.path={folder}", "data.splits.eval=eval/*", *overrides])
        component = example_gen.ImportExampleGen(
            f"{bucket or folder.parent}/{folder.name}",
            config.data.splits,
            configured(IngestionSettings, config=config),
        )
        artifact = standard_artifacts.Examples()
        artifact.uri = f"{bucket or folder.parent}/examples"
        properties = {
            key: proto_utils.proto_to_json(value) if hasattr(value, "DESCRIPTOR") else value
            for key, value in component.exec_properties.items()
        }
        executor = example_gen.Executor(BaseBeamExecutor.Context([], str(folder.parent / "tmp")))
        self.uri, self.artifact = folder.parent / "examples", artifact
        try:
            executor.Do({}, {"examples": [artifact]}, properties)
        finally:
            path = self.uri / InspectionReport.FILE
            self.report = json.loads(path.read_text()) if path.exists() else {}
        self.splits = json.loads(artifact.split_names)

    def examples(self, split: str) -> list[Any]:
        return self._read(f"Split-{split}")

    def quarantine(self, split: str = "train") -> list[Any]:
        return self._read(f"{InspectionReport.QUARANTINE_FOLDER}/{split}")

    def _read(self, folder: str) -> list[Any]:
        files = sorted(map(str, (self.uri / folder).glob("*")))
        records = tf.data.TFRecordDataset(files)
        return [tf.train.Example.FromString(r.numpy()).features.feature for r in records]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """40 pictures to train with, 10 to evaluate."""
    data = tmp_path / "made" / "data"
    for split, numbers in (("train", range(40)), ("eval", range(100, 110))):
        (data / split).mkdir(parents=True)
        records = [example(picture(n), b"ab"[n % 2 : n % 2 + 1], b"%d.jpg" % n) for n in numbers]
        tfrecord.write(data / split / "a.tfrecord", records)
    return data


def images(found: list[Any]) -> list[bytes]:
    return [e[features.IMAGE_KEY].bytes_list.value[0] for e in found]


@pytest.mark.parametrize("bucket", ["", f"{buckets.SCHEME}images"])
def test_every_good_image_is_kept_untouched_and_described(
    folder: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(buckets.FOLDER, str(folder.parent.parent))
    if bucket:
        folder.parent.rename(folder.parent.parent / "images")
        folder = folder.parent.parent / "images" / "data"
    run = Run(folder, bucket=bucket)
    assert run.splits == ["train", "eval"]
    assert images(run.examples("train")) == [picture(n) for n in range(40)]
    assert images(run.examples("eval")) == [picture(n) for n in range(100, 110)]
    first = run.examples("train")[0]
    pixels = np.asarray(Image.open(io.BytesIO(picture(0))))
    expected = {
        features.HEIGHT_KEY: 40,
        features.WIDTH_KEY: 56,
        features.CHANNELS_KEY: 3,
        features.BIT_DEPTH_KEY: 8,
        features.ENCODED_SIZE_KEY: len(picture(0)),
    }
    assert {key: first[key].int64_list.value[0] for key in expected} == expected
    assert first[features.FORMAT_KEY].bytes_list.value[0] == b"JPEG"
    assert first[features.FILENAME_KEY].bytes_list.value[0] == b"0.jpg"
    numbers = {
        features.ASPECT_RATIO_KEY: 56 / 40,
        features.BRIGHTNESS_KEY: pixels.mean() / 255,
        features.CONTRAST_KEY: pixels.std() / 255,
    }
    for key, value in numbers.items():
        assert first[key].float_list.value[0] == pytest.approx(value, abs=0.01)
    assert run.report["splits"]["train"] == {
        "images": 40,
        "duplicates": 0,
        "with_two_labels": 0,
        "in_two_splits": 0,
        "near_in_two_splits": 0,
        "quarantined": {},
        "emptied": {},
    }


def test_the_version_that_ingest_made_is_noted(folder: Path) -> None:
    assert not Run(folder).artifact.has_custom_property(data_version.PROPERTY)
    for text, expected in (
        ('{"version": "0002-3f9a1c52", "runs": 2}', "0002-3f9a1c52"),
        ('{"runs": 2}', ""),  # of an earlier darkroom
        ("[]", ""),
        ("somebody's own", ""),
    ):
        (folder / data_version.FILE).write_text(text)
        artifact = Run(folder).artifact
        assert artifact.get_string_custom_property(data_version.PROPERTY) == expected


JPEG = picture(0)
PNG = encoded(GENERATOR.integers(0, 256, (30, 40, 3), dtype=np.uint8))


def _icon() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32)).save(buffer, "ICO")
    return buffer.getvalue()


# Twelve ways in which an image is spoilt, and the reasons that may be given.
DAMAGE: list[tuple[Callable[[bytes], bytes], set[str]]] = [
    (lambda image: b"", {"empty"}),
    (lambda image: b"this is text, not an image", {"not an image"}),
    (lambda image: bytes(len(image)), {"not an image"}),
    (lambda image: b"XX" + image[2:], {"not an image"}),
    (lambda image: image[: len(image) // 2], {"cut off", "damaged"}),
    (lambda image: image[:-20], {"cut off"}),
    (lambda image: image[:20], {"damaged"}),
    (lambda image: PNG[: len(PNG) // 2], {"cut off"}),
    (lambda image: PNG[:60] + bytes(200) + PNG[260:], {"damaged"}),
    (lambda image: claiming(60_000, 60_000), {"too many pixels"}),
    (lambda image: _icon(), {"format not supported (ICO)"}),
    (lambda image: image[2:], {"not an image"}),
]


def test_of_damaged_images_none_is_kept_and_no_good_one_lost(folder: Path) -> None:
    records, bad = [], {}
    for number in range(600):
        image = picture(number + 1000)
        if number % 20 == 7:  # 5 %
            spoil, reasons = DAMAGE[len(bad) % len(DAMAGE)]
            image = spoil(image)
            bad[number] = (image, reasons)
        records.append(example(image, name=b"%d.jpg" % number))
    tfrecord.write(folder / "train" / "a.tfrecord", records)
    run = Run(folder, "data.max_corrupt_fraction=0.05")
    kept = images(run.examples("train"))
    assert kept == [picture(n + 1000) for n in range(600) if n not in bad]
    aside = {q[features.POSITION_KEY].int64_list.value[0]: q for q in run.quarantine()}
    assert aside.keys() == bad.keys()
    for number, (_, reasons) in bad.items():
        [reason] = aside[number][features.REASON_KEY].bytes_list.value
        assert reason.decode() in reasons, number
        assert aside[number][features.RECORD_KEY].bytes_list.value[0] == records[number]
        [source] = aside[number][features.SOURCE_KEY].bytes_list.value
        assert source.decode() == str(folder / "train" / "a.tfrecord")
    counted = run.report["splits"]["train"]["quarantined"]
    assert sum(counted.values()) == 30
    assert counted == Counter(
        q[features.REASON_KEY].bytes_list.value[0].decode() for q in run.quarantine()
    )


def test_too_many_bad_images_end_the_run(folder: Path) -> None:
    records = [*tfrecord.read(folder / "train" / "a.tfrecord"), example(b"x", name=b"Bild 7.jpg")]
    tfrecord.write(folder / "train" / "a.tfrecord", records)
    with pytest.raises(DarkroomError) as caught:
        Run(folder)
    text = str(caught.value)
    assert "1 of 51 images can't be used (1 not an image)" in text
    assert "data.max_corrupt_fraction allows (1.00%)" in text
    assert "a.tfrecord, record 40 (Bild 7.jpg): not an image" in text


def test_a_record_without_image_or_label_or_checksum(folder: Path) -> None:
    path = folder / "train" / "a.tfrecord"
    more = [
        tfrecord.encode_example({features.LABEL_KEY: b"a"}),
        tfrecord.encode_example({features.IMAGE_KEY: JPEG}),
        b"\xff\xff\xff",
    ]
    tfrecord.write(path, [*tfrecord.read(path), *more])
    content = bytearray(path.read_bytes())
    content[200] ^= 1  # within the first image
    path.write_bytes(content)
    run = Run(folder, "data.max_corrupt_fraction=0.1")
    assert run.report["splits"]["train"]["quarantined"] == {
        "no image": 1,
        "no label": 1,
        "not a tf.Example": 1,
        "checksum doesn't match": 1,
    }
    assert len(run.examples("train")) == 39


@pytest.mark.parametrize("compressed", [False, True])
def test_a_broken_tail_yields_every_record_before_it(folder: Path, compressed: bool) -> None:
    path = folder / "train" / "a.tfrecord"
    content = path.read_bytes()
    if compressed:
        path.unlink()
        path = path.with_suffix(".tfrecord.gz")
        path.write_bytes(gzip.compress(content)[:-3000])
    else:
        path.write_bytes(content[:-30])
    run = Run(folder)
    kept = run.examples("train")
    assert images(kept) == [picture(n) for n in range(len(kept))]
    assert len(kept) == 39 or (compressed and 20 < len(kept) < 40)
    [sentence] = run.report["first_broken_files"]
    assert f"{path}: the file is cut off in the record that starts at byte" in sentence
    assert f"Its first {len(kept)} records are used." in sentence


def test_what_is_lost_behind_damage_counts(folder: Path) -> None:
    path = folder / "train" / "a.tfrecord"
    content = bytearray(path.read_bytes())
    size = len(content)
    second_half = 0
    while second_half < size // 2:
        second_half += 16 + int.from_bytes(content[second_half : second_half + 8], "little")
    content[second_half + 9] ^= 1  # the checksum of a length
    path.write_bytes(content)
    with pytest.raises(DarkroomError, match=r"about (19|20) lost in broken files"):
        Run(folder)


def test_the_same_image_in_two_splits(folder: Path) -> None:
    train, held_out = (folder / split / "a.tfrecord" for split in ("train", "eval"))
    twice = [example(picture(number), b"a") for number in range(3)]
    tfrecord.write(held_out, [*tfrecord.read(held_out), *twice])
    run = Run(folder)
    assert images(run.examples("train")) == [picture(n) for n in range(3, 40)]
    assert len(run.examples("eval")) == 13
    assert run.report["splits"]["train"]["in_two_splits"] == 3
    assert run.report["first_in_two_splits"][0] == "a.tfrecord, record 0 (0.jpg)"
    run = Run(folder, "data.leaks=report")
    assert len(run.examples("train")) >= 40
    with pytest.raises(DarkroomError, match="3 images of one split are in another split too"):
        Run(folder, "data.leaks=fail")
    assert train.exists()


def nearly(number: int) -> bytes:
    """A picture as somebody else saved it: smaller, lighter, another file."""
    image = Image.open(io.BytesIO(picture(number))).resize((42, 30))
    return encoded(np.asarray(image.point(lambda value: value * 0.8 + 30)), "JPEG")


def test_near_duplicates_in_two_splits_are_counted_and_named(folder: Path) -> None:
    held_out = folder / "eval" / "a.tfrecord"
    planted = [example(nearly(number), b"a", b"near-%d.jpg" % number) for number in (4, 9)]
    records = [*tfrecord.read(held_out), *planted, example(picture(7), b"b", b"same.jpg")]
    tfrecord.write(held_out, records)
    run = Run(folder)
    # All but the exact copy are kept: whether two show the same is for people to say.
    assert images(run.examples("train")) == [picture(n) for n in range(40) if n != 7]
    assert run.report["splits"]["train"]["near_in_two_splits"] == 2
    assert run.report["splits"]["eval"]["near_in_two_splits"] == 0
    named = [f"{number}.jpg like near-{number}.jpg" for number in (4, 9)]
    assert run.report["first_near_in_two_splits"] == named
    assert {path.name for path in run.uri.iterdir()} >= {"Split-train", "inspection.json"}
    assert not (run.uri / leaks.FOLDER).exists()
    # An exact copy that is kept is no near one.
    report = Run(folder, "data.leaks=report").report["splits"]["train"]
    assert (report["in_two_splits"], report["near_in_two_splits"]) == (1, 2)
    sentence = r"2 images \(3\.85%\) show nearly the same as one of another split, {}.*near-4\.jpg"
    more = sentence.format(r"more than data\.max_near_duplicates allows \(3\.00%\)")
    with pytest.raises(DarkroomError, match=more):
        Run(folder, "data.max_near_duplicates=0.03")
    Run(folder, "data.max_near_duplicates=0.04")
    (folder / "eval" / "a.tfrecord").write_bytes(b"".join(map(tfrecord.frame, records[:-1])))
    with pytest.raises(DarkroomError, match=r"2 images .* and data\.leaks is fail"):
        Run(folder, "data.leaks=fail")


def test_near_duplicates_are_found_where_one_set_of_files_is_divided(folder: Path) -> None:
    path = folder / "train" / "a.tfrecord"
    numbers = range(60)
    records = [example(make(n), b"a") for n in numbers for make in (picture, nearly)]
    tfrecord.write(path, records)
    run = Run(folder, "data.splits.eval=null", "data.splits.eval_share=0.3")
    held_out = set(images(run.examples("eval")))
    apart = sum((picture(n) in held_out) != (nearly(n) in held_out) for n in numbers)
    assert apart > 10
    assert run.report["splits"]["train"]["near_in_two_splits"] == apart


def test_the_test_split_is_kept_whole(folder: Path) -> None:
    (folder / "test").mkdir()
    pictures = [picture(number) for number in (0, 100, 200)]  # of train, of eval, of neither
    tfrecord.write(folder / "test" / "a.tfrecord", [example(image) for image in pictures])
    run = Run(folder)
    assert run.splits == ["train", "eval", "test"]
    assert images(run.examples("test")) == pictures
    assert len(run.examples("train")) == 39
    assert len(run.examples("eval")) == 9


def test_suspect_labels_are_a_gate(folder: Path) -> None:
    limit = "data.max_suspect_labels=0.02"
    with pytest.raises(DarkroomError, match=r"no review of its images as they are now.* review "):
        Run(folder, limit)
    patterns = ["train/*", "eval/*"]
    faults = [Fault("2.jpg", "train", "a", "suspect label", 0.01, "relabel b")]
    found = Findings(
        data=data_version.identity(str(folder), patterns), images=50, labels_judged=True,
        notes=["Labels weren't judged."], faults=faults,
    )  # fmt: skip
    found.write(folder)
    run = Run(folder, limit)
    assert run.artifact.get_string_custom_property(data_version.FOLDER_PROPERTY) == str(folder)
    words = r"1 of 50 labels are suspect, .* \(1\.00%\).* 2\.jpg \(a: relabel b\)\."
    with pytest.raises(DarkroomError, match=words):
        Run(folder, "data.max_suspect_labels=0.01")
    found.model_copy(update={"labels_judged": False}).write(folder)
    with pytest.raises(DarkroomError, match="is set, but: Labels weren't judged"):
        Run(folder, limit)
    path = folder / "train" / "a.tfrecord"
    tfrecord.write(path, list(tfrecord.read(path))[1:])  # other images than those of the review
    with pytest.raises(DarkroomError, match="no review of its images as they are now"):
        Run(folder, limit)


def test_duplicates_and_contradicting_labels_are_counted(folder: Path) -> None:
    path = folder / "train" / "a.tfrecord"
    again = [example(picture(0), b"a"), example(picture(2), b"a"), example(picture(4), b"other")]
    tfrecord.write(path, [*tfrecord.read(path), *again])
    report = Run(folder).report["splits"]["train"]
    assert (report["images"], report["duplicates"], report["with_two_labels"]) == (43, 3, 1)


def test_one_set_of_files_is_divided_by_content(folder: Path) -> None:
    path = folder / "train" / "a.tfrecord"
    records = [example(picture(number)) for number in range(300)]
    tfrecord.write(path, [*records, *records[:50]])
    run = Run(folder, "data.splits.eval=null", "data.splits.eval_share=0.25")
    train, held_out = set(images(run.examples("train"))), set(images(run.examples("eval")))
    assert not train & held_out
    assert len(train) + len(held_out) == 300
    assert 50 < len(held_out) < 100
    again = Run(folder, "data.splits.eval=null", "data.splits.eval_share=0.25")
    assert set(images(again.examples("eval"))) >= held_out


def test_floats_and_integers_as_tfxs_mnist_example_has_them(folder: Path) -> None:
    pixels = GENERATOR.integers(0, 256, (20, 28, 28))
    for split in ("train", "eval"):
        records = []
        for number, image in enumerate(pixels + (split == "eval")):
            made = tf.train.Example()
            floats = np.clip(image, 0, 255).ravel() / 255 - 0.5
            made.features.feature["image_floats"].float_list.value.extend(floats)
            made.features.feature["image_class"].int64_list.value.append(number % 10)
            records.append(made.SerializeToString())
        tfrecord.write(folder / split / "a.tfrecord", records)
    run = Run(
        folder,
        "data.image_key=image_floats",
        "data.label_key=image_class",
        "data.form=float32",
        "data.shape=[28, 28]",
        "data.float_range=[-0.5, 0.5]",
    )
    for found, expected in zip(run.examples("train"), pixels, strict=True):
        [png] = found[features.IMAGE_KEY].bytes_list.value
        np.testing.assert_array_equal(tf.io.decode_png(png)[..., 0], expected)
    [label] = run.examples("train")[7][features.LABEL_KEY].bytes_list.value
    assert label == b"7"


def test_without_a_driver_the_newest_span_is_read(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for span, numbers in ((7, range(10)), (12, range(20, 32))):
        for split, part in (("train", numbers[:-3]), ("eval", numbers[-3:])):
            folder = data / f"day-{span}" / split
            folder.mkdir(parents=True)
            records = [example(picture(n), b"ab"[n % 2 : n % 2 + 1]) for n in part]
            tfrecord.write(folder / "a.tfrecord", records)
    patterns = [f"data.splits.{split}=day-{{SPAN}}/{split}/*" for split in ("train", "eval")]
    run = Run(data, *patterns)
    assert images(run.examples("train")) == [picture(n) for n in range(20, 29)]
    assert images(run.examples("eval")) == [picture(n) for n in range(29, 32)]
    assert run.artifact.get_int_custom_property("span") == 12
    assert "split:train,num_files:1" in run.artifact.get_string_custom_property("input_fingerprint")
    preflight.check(load("mnist", [f"data.path={data}", *patterns]))


def test_a_split_that_is_left_without_images_is_a_sentence(folder: Path) -> None:
    same = [example(picture(n), b"a", b"%d.jpg" % n) for n in range(100, 110)]
    tfrecord.write(folder / "train" / "a.tfrecord", same)
    words = r"train split has no image left: .* 0 can't be used, 10 are in another split too\."
    with pytest.raises(DarkroomError, match=words):
        Run(folder)
    Run(folder, "data.leaks=report")


def test_a_class_that_is_left_without_images_is_a_sentence(folder: Path) -> None:
    records = [example(picture(n), b"a", b"%d.jpg" % n) for n in range(40)]
    records += [example(b"no image", b"rare", b"x.jpg"), example(picture(101), b"other", b"y.jpg")]
    tfrecord.write(folder / "train" / "a.tfrecord", records)
    words = r"train split has no image left of 'other' \(1\), 'rare' \(1\): of its images 1 can't"
    with pytest.raises(DarkroomError, match=words):
        Run(folder, "data.max_corrupt_fraction=0.1")
