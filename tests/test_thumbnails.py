import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from darkroom.components.base import features, tfrecord
from darkroom.components.base.tfrecord import encode_example, write
from darkroom.components.report import thumbnails
from darkroom.serving.codecs.pictures import ImageError
from tests.conftest import encoded


def written(tmp_path: Path, image: bytes) -> Image.Image:
    path = tmp_path / "t.png"
    thumbnails.of_file(image, path)
    return Image.open(path)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((8, 8), (64, 64)), ((40, 20), (80, 40)), ((64, 64), (64, 64)), ((512, 256), (128, 64))],
)
def test_sizes(tmp_path: Path, size: tuple[int, int], expected: tuple[int, int]) -> None:
    width, height = size
    for kind in ("PNG", "JPEG"):
        image = written(tmp_path, encoded(np.zeros((height, width, 3), np.uint8), kind))
        assert image.size == expected
        assert image.format == "PNG"


def test_small_images_keep_their_own_pixels(tmp_path: Path) -> None:
    pixels = np.array([[0, 255], [7, 9]], np.uint8)
    shown = np.asarray(written(tmp_path, encoded(pixels)))
    assert (shown == pixels.repeat(32, axis=0).repeat(32, axis=1)).all()


def test_every_kind_of_image(tmp_path: Path) -> None:
    grey = np.full((64, 64), 200, np.uint8)
    deep = written(tmp_path, encoded(grey.astype(np.uint16) * 257))
    assert np.asarray(deep).tolist() == grey.tolist()
    for mode in ("1", "LA", "P", "RGBA"):
        buffer = io.BytesIO()
        Image.fromarray(grey).convert(mode).save(buffer, format="PNG")
        assert written(tmp_path, buffer.getvalue()).mode == ("L" if mode in ("1", "LA") else "RGB")
    sideways = Image.fromarray(np.zeros((64, 96, 3), np.uint8))
    exif = sideways.getexif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    sideways.save(buffer, format="JPEG", exif=exif)
    assert written(tmp_path, buffer.getvalue()).size == (64, 96)


def test_a_damaged_image_is_refused(tmp_path: Path) -> None:
    whole = encoded(np.zeros((64, 64, 3), np.uint8), "JPEG")
    for damaged in (whole[:200], b"nothing", b""):
        with pytest.raises(ImageError):
            written(tmp_path, damaged)


def test_pixels(tmp_path: Path) -> None:
    thumbnails.of_pixels(np.full((64, 64, 1), 0.5), tmp_path / "p.png")
    assert np.asarray(Image.open(tmp_path / "p.png")).tolist() == [[128] * 64] * 64


def records(tmp_path: Path) -> list[Path]:
    """Two files of examples, numbered from 100, of labels a, a, a, b, c."""
    paths = [tmp_path / "one", tmp_path / "two"]
    examples = [
        encode_example(
            {
                features.IMAGE_KEY: f"image {number}".encode(),
                features.LABEL_KEY: label.encode(),
                features.CONTENT_KEY: 100 + number,
            }
        )
        for number, label in enumerate("aaabc")
    ]
    write(paths[0], examples[:2])
    write(paths[1], examples[2:])
    return paths


def test_images_of_every_class(tmp_path: Path) -> None:
    paths = records(tmp_path)
    found = thumbnails.first_of_classes(paths, classes=3, most=4, of_each=2)
    assert found == [("a", b"image 0"), ("a", b"image 1"), ("b", b"image 3"), ("c", b"image 4")]
    first = thumbnails.first_of_classes(paths, classes=3, most=3, of_each=2)
    assert [label for label, _ in first] == ["a", "b", "c"]


def test_no_more_is_read_than_it_takes(tmp_path: Path) -> None:
    paths = records(tmp_path)
    write(paths[0], [*tfrecord.read(paths[0]), *tfrecord.read(paths[1])])
    paths[1].write_bytes(b"never looked at")
    found = thumbnails.first_of_classes(paths, classes=3, most=4, of_each=2)
    assert [label for label, _ in found] == ["a", "a", "b", "c"]
    with pytest.raises(tfrecord.TFRecordError):
        thumbnails.first_of_classes(paths, classes=4, most=4, of_each=2)


def test_images_by_what_they_show(tmp_path: Path) -> None:
    paths = records(tmp_path)
    assert thumbnails.by_content(paths, {103, 100, 7}) == {100: b"image 0", 103: b"image 3"}
    paths[1].unlink()  # not looked at where all have been found
    assert thumbnails.by_content(paths, {101}) == {101: b"image 1"}
    assert thumbnails.by_content([], set()) == {}
