from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from darkroom.components.report import heat_maps
from darkroom.serving import signatures
from darkroom.serving.codecs.pictures import ImageError
from tests.conftest import encoded

# As row and column of the corners of a square that alone decides, in 64 pixels.
PLACES = [(0, 0), (0, 48), (24, 24), (48, 0)]


class Corner(tf.Module):
    """Says "bright" as a square of 16 pixels at a place is bright, whatever is elsewhere."""

    def __init__(self, row: int, column: int):
        super().__init__()
        self._rows, self._columns = slice(row, row + 16), slice(column, column + 16)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, signatures.IMAGE_BYTES)])
    def serve(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        images = tf.map_fn(_read, image_bytes, fn_output_signature=tf.float32)
        seen = images[:, self._rows, self._columns, 0] / 255
        bright = tf.reduce_mean(seen, axis=[1, 2])
        classes = tf.repeat(tf.constant([["bright", "dark"]]), tf.shape(bright)[0], axis=0)
        return {
            signatures.CLASSES: classes,
            signatures.SCORES: tf.stack([bright, 1 - bright], axis=1),
        }


def _read(image: tf.Tensor) -> tf.Tensor:
    pixels = tf.image.resize(tf.io.decode_png(image, channels=1), [64, 64], "nearest")
    return tf.cast(pixels, tf.float32)


def maps_of(folder: Path, place: tuple[int, int]) -> heat_maps.HeatMaps:
    model = Corner(*place)
    tf.saved_model.save(model, str(folder), signatures={signatures.SERVING: model.serve})
    return heat_maps.HeatMaps(folder, 64)


def bright_squares() -> bytes:
    """Bright wherever one of the models looks, so that only the model tells them apart."""
    pixels = np.full((64, 64), 20, np.uint8)
    for row, column in PLACES:
        pixels[row : row + 16, column : column + 16] = 250
    return encoded(pixels)


@pytest.mark.parametrize("place", PLACES)
def test_heat_is_where_the_model_looks(tmp_path: Path, place: tuple[int, int]) -> None:
    maps = maps_of(tmp_path / "model", place)
    heat = maps.of(bright_squares(), "bright")
    row, column = place[0] // 8, place[1] // 8
    seen = np.zeros_like(heat, bool)
    seen[row : row + 2, column : column + 2] = True
    assert heat[seen].min() > 0.2
    beside = np.zeros_like(heat, bool)  # which a window covers together with what is seen
    beside[max(row - 1, 0) : row + 3, max(column - 1, 0) : column + 3] = True
    assert heat[~beside] == pytest.approx(0, abs=1e-6)
    assert heat[seen].mean() > heat[beside & ~seen].max()
    # The same parts speak against the other class.
    assert maps.of(bright_squares(), "dark") == pytest.approx(-heat, abs=1e-4)


def test_the_picture_is_red_there(tmp_path: Path) -> None:
    maps = maps_of(tmp_path / "model", (48, 0))
    maps.draw((bright_squares(), "bright"), tmp_path / "heat.png")
    red, green, _ = np.moveaxis(np.asarray(Image.open(tmp_path / "heat.png")).astype(int), -1, 0)
    assert red.shape == (64, 64)
    where = np.unravel_index((red - green).argmax(), red.shape)
    assert where[0] >= 48
    assert where[1] < 16
    assert (red == green)[:32].all()  # elsewhere it is grey


def test_what_decides_nothing_is_not_drawn(tmp_path: Path) -> None:
    """An image of one grey is the same blurred: no part is made up to matter."""
    maps = maps_of(tmp_path / "model", (0, 0))
    maps.draw((encoded(np.full((64, 64), 128, np.uint8)), "bright"), tmp_path / "heat.png")
    assert (np.asarray(Image.open(tmp_path / "heat.png")) == 128).all()


def test_unknown_classes_and_damaged_images(tmp_path: Path) -> None:
    maps = maps_of(tmp_path / "model", (0, 0))
    with pytest.raises(KeyError, match="grey"):
        maps.of(bright_squares(), "grey")
    with pytest.raises(ImageError):
        maps.of(b"nothing", "bright")


@pytest.mark.parametrize("size", [(3, 5), (64, 64), (640, 300), (2000, 10)])
def test_images_of_any_size(tmp_path: Path, size: tuple[int, int]) -> None:
    image = np.full(size, 128, np.uint8)
    maps = maps_of(tmp_path / "model", (0, 0))
    maps.draw((encoded(image), "bright"), tmp_path / "heat.png")
    assert 64 <= max(Image.open(tmp_path / "heat.png").size) <= 128
