import io
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from darkroom.components.base import tfrecord
from darkroom.components.base.errors import DarkroomError
from darkroom.components.base.settings import IngestionSettings
from darkroom.components.ingestion import record_forms
from darkroom.pipeline.config import load
from darkroom.serving.codecs.pictures import ImageError
from tests.settings import configured

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def data(*overrides: str, class_names: list[str] | None = None) -> IngestionSettings:
    keys = ("data.image_key=i", "data.label_key=l")
    settings = configured(IngestionSettings, *keys, *overrides, config="mnist")
    return settings.model_copy(update={"class_names": class_names})


def example(**values: Any) -> bytes:
    made = tf.train.Example()
    for key, value in values.items():
        array = np.atleast_1d(value)
        feature = made.features.feature[key]
        if array.dtype.kind in "SOU":
            feature.bytes_list.value.extend([value] if isinstance(value, bytes) else value)
        elif array.dtype.kind == "f":
            feature.float_list.value.extend(array)
        else:
            feature.int64_list.value.extend(array)
    return made.SerializeToString()


def pixels(image: record_forms.LabelledImage) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(image.encoded)))


def reason(record: bytes, config: IngestionSettings) -> str:
    with pytest.raises(ImageError) as caught:
        record_forms.read(record, config)
    return str(caught.value)


def test_an_encoded_image_stays_untouched() -> None:
    read = record_forms.read(example(i=b"\xff\xd8 whatever", l=b"cat"), data())
    assert read == (b"\xff\xd8 whatever", (b"cat",), {}, b"", {}, "")
    record = example(**{"i": b"x", "l": b"cat", "image/filename": b"a b.jpg"})
    assert record_forms.read(record, data()).filename == b"a b.jpg"


def test_further_features_are_kept_as_text() -> None:
    config = data("data.keep_features=[camera, year, gain, lens]")
    record = example(i=b"x", l=b"cat", camera=b"a7", year=20230102, gain=0.5)
    kept = record_forms.read(record, config).kept
    assert kept == {"camera": b"a7", "year": b"20230102", "gain": b"0.5", "lens": b""}


def test_a_stated_group_is_kept_and_one_of_a_name_is_not() -> None:
    record = example(**{"i": b"x", "l": b"cat", "image/group": b"anna"})
    read = record_forms.read(record, data())
    assert (read.group, read.kept) == ("anna", {"image/group": b"anna"})
    record = example(**{"i": b"x", "l": b"cat", "image/filename": b"patient12_03.png"})
    read = record_forms.read(record, data())
    assert (read.group, read.kept) == ("patient12", {})


@pytest.mark.parametrize("stored", [PIXELS.tobytes(), PIXELS.ravel().astype(np.int64)])
def test_uint8_pixels(stored: Any) -> None:
    config = data("data.form=uint8", "data.shape=[5, 7, 3]")
    read = record_forms.read(example(i=stored, l=b"a"), config)
    np.testing.assert_array_equal(pixels(read), PIXELS)


def test_a_shape_in_the_example() -> None:
    one = data("data.form=uint8", "data.shape_keys=[s]")
    read = record_forms.read(example(i=PIXELS.tobytes(), l=b"a", s=[5, 7, 3]), one)
    np.testing.assert_array_equal(pixels(read), PIXELS)
    several = data("data.form=uint8", "data.shape_keys=[h, w]")
    grey = PIXELS[..., 0]
    read = record_forms.read(example(i=grey.tobytes(), l=b"a", h=5, w=7), several)
    np.testing.assert_array_equal(pixels(read), grey)
    assert "shape [5], expected height" in reason(example(i=b"x", l=b"a", h=5), several)


def test_floats_that_were_bytes_are_the_same_bytes_again() -> None:
    config = data("data.form=float32", "data.shape=[5, 7, 3]", "data.float_range=[-0.5, 0.5]")
    stored = (PIXELS / 255 - 0.5).astype(np.float32)
    for value in (stored.ravel(), stored.tobytes()):
        read = record_forms.read(example(i=value, l=b"a"), config)
        np.testing.assert_array_equal(pixels(read), PIXELS)


@given(hnp.arrays(np.float32, (4, 3), elements=st.floats(0, 1, width=32)))
def test_any_floats_keep_sixteen_bits(stored: np.ndarray) -> None:
    config = data("data.form=float32", "data.shape=[4, 3]")
    read = record_forms.read(example(i=stored.ravel(), l=b"a"), config)
    decoded = tf.io.decode_png(read.encoded, dtype=tf.uint16).numpy()[..., 0] / 65535
    np.testing.assert_allclose(decoded, stored, atol=1 / 65535 + 1e-6)


def test_pixels_that_do_not_fit() -> None:
    uint8 = data("data.form=uint8", "data.shape=[5, 7, 3]")
    assert reason(example(i=b"12345", l=b"a"), uint8) == "5 values for the shape [5, 7, 3]"
    assert "outside 0 to 255" in reason(example(i=np.full(105, 256), l=b"a"), uint8)
    floats = data("data.form=float32", "data.shape=[2, 2]")
    assert "outside 0.0 to 1.0" in reason(example(i=[0.0, 0.5, 1.5, 1.0], l=b"a"), floats)
    assert "outside" in reason(example(i=[0.0, np.nan, 0.5, 1.0], l=b"a"), floats)
    assert "no float32 values" in reason(example(i=b"123", l=b"a"), floats)
    assert "float values where an encoded image" in reason(example(i=[0.5], l=b"a"), data())


def test_labels() -> None:
    def labels(label: Any, config: IngestionSettings) -> list[str]:
        return [
            name.decode() for name in record_forms.read(example(i=b"x", l=label), config).labels
        ]

    assert labels("fraise fraîche".encode(), data()) == ["fraise fraîche"]
    assert labels(b"a|b", data()) == ["a|b"]
    assert labels(7, data()) == ["7"]
    named = data(class_names=["cat", "dog"])
    assert labels(1, named) == ["dog"]
    assert "label 2" in reason(example(i=b"x", l=2), named)
    several = data("data.multi_label=true")
    assert labels("ü | a|ü|".encode(), several) == ["a", "ü"]
    assert labels([b"b", b"a|c"], several) == ["a", "b", "c"]
    assert labels(b"", several) == []
    assert record_forms.read(example(i=b"x"), several).labels == ()
    named = data("data.multi_label=true", class_names=["cat", "dog", "owl"])
    assert labels([2, 0], named) == ["cat", "owl"]
    assert reason(example(i=b"x"), data()) == "no label"
    assert reason(example(i=b"x", l=b" "), data()) == "no label"
    assert reason(example(l=b"a"), data()) == "no image"
    assert reason(b"\xff\xff\xff", data()) == "not a tf.Example"


def test_a_label_of_the_wrong_type_ends_the_run() -> None:
    with pytest.raises(DarkroomError, match="expected text or an integer there, found float"):
        record_forms.read(example(i=b"x", l=0.5), data())


def test_names_are_read_from_their_file(tmp_path: Any) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("0:airplane\n1:automobile\n\n2:bird\n")
    loaded = load("mnist", [f"data.class_names={path}"])
    assert configured(IngestionSettings, config=loaded).class_names == [
        "airplane",
        "automobile",
        "bird",
    ]
    path.write_text("café\nthé\n", encoding="utf-8")
    assert loaded.class_names() == ["café", "thé"]


def test_tensorflow_writes_what_is_read() -> None:
    kinds = {k: kind for k, (kind, _) in tfrecord.decode_example(example(a=1, b=b"x")).items()}
    assert kinds == {"a": "int64", "b": "bytes"}


def of_numbers(*names: str) -> IngestionSettings:
    config = data().model_copy(update={"target": "number", "target_keys": list(names)})
    return IngestionSettings.model_validate(config.model_dump())


@pytest.mark.parametrize("value", [2.5, b"2.5", " 2.5 "])
def test_numbers_may_be_written_in_any_kind(value: Any) -> None:
    text = value.encode() if isinstance(value, str) else value
    read = record_forms.read(example(i=b"x", angle=text, count=3), of_numbers("angle", "count"))
    assert (read.labels, read.numbers) == ((), {"angle": 2.5, "count": 3.0})


@pytest.mark.parametrize("value", [b"cat", b"nan", float("inf"), np.array([1.0, 2.0])])
def test_what_is_not_one_finite_number_is_set_aside(value: Any) -> None:
    record = example(i=b"x", angle=value)
    assert reason(record, of_numbers("angle")) == "angle is not one finite number"
    assert reason(record, of_numbers("other")) == "no other"
