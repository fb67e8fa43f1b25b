"""Faults that were planted among real photographs are named; the others are not."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageFilter

from darkroom.components.base import features, tfrecord
from darkroom.pipeline.review import faults, images
from darkroom.pipeline.review.faults import Fault, Found
from darkroom.pipeline.review.images import Source
from tests import reviewed
from tests.reviewed import SIDE, Photo


def found(folder: Path, taken: list[Photo]) -> Found:
    return faults.find(reviewed.looked_at(folder, taken))


def named(folder: Path, taken: list[Photo]) -> list[tuple[str, str]]:
    return [(fault.path, fault.fault) for fault in found(folder, taken).faults]


def test_photographs_without_a_fault_have_none(tmp_path: Path) -> None:
    result = found(tmp_path, reviewed.photos())
    assert result.faults == []
    assert result.notes == []


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "too dark": lambda image: image.point(lambda value: value * 0.15),
    "too bright": lambda image: image.point(lambda value: 215 + value * 0.15),
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(6)),
    "noise": lambda image: reviewed.noise(1),
    "single colour": lambda image: Image.new("RGB", image.size, (200, 30, 60)),
    "low in information": lambda image: Image.merge(
        "RGB", [image.convert("L").point(lambda v, c=c: 40 + c * (v > 128)) for c in (160, 90, 20)]
    ),
    "grey among coloured": lambda image: image.convert("L").convert("RGB"),
    "tiny": lambda image: image.resize((12, 12)),
    "extreme in shape": lambda image: image.resize((SIDE, 16)),
}


@pytest.mark.parametrize("fault", CHANGES)
def test_a_bad_picture_is_named(fault: str, tmp_path: Path) -> None:
    first, *others = reviewed.photos()
    changed = first._replace(image=CHANGES[fault](first.image))
    assert named(tmp_path, [changed, *others]) == [(first.name, fault)]


def test_what_many_have_is_the_sets_way(tmp_path: Path) -> None:
    dark = CHANGES["too dark"]
    photos = [p._replace(image=dark(p.image)) for p in reviewed.photos()]
    result = found(tmp_path, photos)
    assert result.faults == []
    assert result.notes == [
        "48 of 48 images are too dark: taken as this set's way, and not listed."
    ]


def test_colours_are_unusual_among_grey(tmp_path: Path) -> None:
    first, *others = reviewed.photos()
    grey = [photo._replace(image=photo.image.convert("L")) for photo in others]
    assert named(tmp_path, [first, *grey]) == [(first.name, "coloured among grey")]


def test_what_does_not_decode_is_named_with_its_reason(tmp_path: Path) -> None:
    folder = reviewed.write(tmp_path, reviewed.photos())
    records = [
        tfrecord.encode_example({features.IMAGE_KEY: b"no image", features.LABEL_KEY: b"x"}),
        b"no example",
    ]
    (folder / "eval").mkdir()
    tfrecord.write(folder / "eval" / "a.tfrecord", records)
    seen = images.look(Source(folder), lambda *_: None)
    assert faults.find(seen).faults == [
        Fault("eval/a.tfrecord#0", "eval", "x", "damaged", "not an image", "drop"),
        Fault("eval/a.tfrecord#1", "eval", "", "damaged", "empty", "drop"),
    ]


class TestDoubles:
    first, second, *others = reviewed.photos()

    def doubles(self, folder: Path, *copies: Photo) -> list[Fault]:
        return found(folder, [self.first, self.second, *self.others, *copies]).faults

    def test_an_exact_copy_is_to_be_dropped(self, tmp_path: Path) -> None:
        [fault] = self.doubles(tmp_path, self.first._replace(name="copy"))
        label = self.first.label
        assert fault == Fault(
            "copy", "train", label, "exact duplicate", 1.0, "drop", self.first.name, "train", label
        )

    @pytest.mark.parametrize(
        "change",
        [
            lambda image: image,
            lambda image: image.resize((60, 60)),
            lambda image: image.point(lambda value: value * 0.7 + 50),
            lambda image: image.crop((1, 1, SIDE - 1, SIDE - 1)),
        ],
    )
    def test_a_picture_that_was_changed_is_near(
        self, change: Callable[[Image.Image], Image.Image], tmp_path: Path
    ) -> None:
        changed = self.first._replace(name="copy", image=change(self.first.image), quality=60)
        [fault] = self.doubles(tmp_path, changed)
        assert (fault.path, fault.fault, fault.other) == (
            "copy", "near duplicate", self.first.name,
        )  # fmt: skip

    def test_the_split_that_is_held_out_the_most_keeps_its_image(self, tmp_path: Path) -> None:
        copies = [
            self.first._replace(name="in test", split="test"),
            self.first._replace(name="in eval", split="eval", label="flower"),
        ]
        by_path = {fault.path: fault for fault in self.doubles(tmp_path, *copies)}
        assert by_path.keys() == {self.first.name, "in eval"}
        fault = by_path[self.first.name]
        assert fault.fault.startswith("exact duplicate in another split")
        assert (fault.suggestion, fault.other_split) == ("drop", "test")
        fault = by_path["in eval"]
        assert fault.fault == "exact duplicate in another split with another label"
        assert (fault.other, fault.suggestion) == ("in test", "drop")

    def test_two_labels_of_one_picture_are_said(self, tmp_path: Path) -> None:
        [fault] = self.doubles(tmp_path, self.first._replace(name="copy", label="flower"))
        assert fault.fault == "exact duplicate with another label"
        assert fault.suggestion == f"relabel {self.first.label}"

    def test_another_colour_is_another_thing(self, tmp_path: Path) -> None:
        red, green, blue = self.first.image.split()
        other = Image.merge("RGB", (blue, green, red))
        other = Image.blend(other, Image.merge("RGB", (blue, red, green)), 0.5)
        assert self.doubles(tmp_path, self.first._replace(name="copy", image=other)) == []


def test_a_rare_class_is_named(tmp_path: Path) -> None:
    photos = [*reviewed.photos()]
    few = [Photo(f"r{n}", "rare", reviewed.noise(n).resize((SIDE, SIDE))) for n in range(2)]
    rare = [f for f in found(tmp_path, [*photos, *few]).faults if f.fault == "rare class"]
    assert [(fault.path, fault.value) for fault in rare] == [("r0", "2 images"), ("r1", "2 images")]


def test_a_patient_in_two_splits_is_named(tmp_path: Path) -> None:
    photos = [
        photo._replace(
            name=f"{photo.label}/patient{number // 3:02}_{number % 3}.jpg",
            split="test" if number >= 46 or number == 0 else "train",
        )
        for number, photo in enumerate(reviewed.photos())
    ]
    result = [f for f in found(tmp_path, photos).faults if f.fault == "group in two splits"]
    assert [(fault.path, fault.value, fault.other) for fault in result] == [
        ("china/patient00_1.jpg", "patient00", "china/patient00_0.jpg"),
        ("china/patient00_2.jpg", "patient00", "china/patient00_0.jpg"),
        ("flower/patient15_0.jpg", "patient15", "flower/patient15_1.jpg"),
    ]


def test_a_prefix_of_all_of_a_class_is_no_group(tmp_path: Path) -> None:
    names = {"china": "n0144", "flower": "n0253"}
    photos = [
        p._replace(name=f"{names[p.label]}_{n}.jpg", split="test" if n % 4 == 0 else "train")
        for n, p in enumerate(reviewed.photos())
    ]
    assert found(tmp_path, photos).faults == []


def test_digits_of_eight_pixels_are_no_noise(digit_records: Path) -> None:
    seen = images.look(Source(digit_records), lambda *_: None)
    kinds = {fault.fault for fault in faults.find(seen).faults}
    assert kinds == {"near duplicate", "near duplicate in another split"}
