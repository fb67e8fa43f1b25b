import io

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform.beam as tft_beam
from PIL import Image
from tensorflow_transform.tf_metadata import dataset_metadata, schema_utils

from darkroom.components.base import features
from darkroom.components.base.errors import DarkroomError
from darkroom.components.base.sections import Preprocessing
from darkroom.components.base.settings import TransformSettings
from darkroom.components.ingestion import decoding
from darkroom.components.transform import preprocessing
from tests.conftest import encoded

GENERATOR = np.random.default_rng(0)
RGB = GENERATOR.integers(0, 256, (12, 20, 3), dtype=np.uint8)
GREY = RGB[..., 0]


def options(height: int, width: int, channels: int, **values: str) -> Preprocessing:
    values = {"normalization": "rescale", **values}
    return Preprocessing(height=height, width=width, channels=channels, **values)


def prepared(image: bytes, config: Preprocessing) -> tf.Tensor:
    return preprocessing.fit(decoding.decode(tf.constant(image)), config)


@pytest.mark.parametrize("file_format", ["PNG", "BMP"])
def test_an_image_of_the_target_size_keeps_its_pixels(file_format: str) -> None:
    decoded = prepared(encoded(RGB, file_format), options(12, 20, 3))
    np.testing.assert_array_equal(decoded, RGB.astype(np.float32))


def test_jpeg_decodes_as_pillow_does() -> None:
    image = encoded(RGB, "JPEG")
    decoded = prepared(image, options(12, 20, 3)).numpy()
    pillow = np.asarray(Image.open(io.BytesIO(image)), dtype=np.float32)
    assert np.abs(decoded - pillow).mean() < 2  # decoders may round differently


def test_grey_becomes_rgb_and_rgb_grey() -> None:
    decoded = prepared(encoded(GREY), options(12, 20, 3)).numpy()
    np.testing.assert_array_equal(decoded, np.stack([GREY] * 3, axis=-1))
    decoded = prepared(encoded(RGB), options(12, 20, 1)).numpy()
    assert decoded.shape == (12, 20, 1)
    pillow = np.asarray(Image.fromarray(RGB).convert("L"), dtype=np.float32)
    assert np.abs(decoded[..., 0] - pillow).max() < 2


def test_16_bits_keep_their_precision() -> None:
    deep = (GREY.astype(np.uint16) << 8) + 17
    decoded = prepared(encoded(deep), options(12, 20, 1)).numpy()
    np.testing.assert_allclose(decoded[..., 0], deep / 257, rtol=1e-6)


@pytest.mark.parametrize("file_format", ["GIF", "BMP", "PNG", "JPEG"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["L", "RGB", "P", "1"])
def test_every_format_in_every_number_of_channels(
    file_format: str, channels: int, mode: str
) -> None:
    image = Image.fromarray(RGB).convert(mode)
    if (file_format, mode) in {("JPEG", "P"), ("BMP", "P"), ("BMP", "1")}:
        return  # there are no such files, or TensorFlow reads none with a palette
    buffer = io.BytesIO()
    image.save(buffer, format=file_format)
    decoded = prepared(buffer.getvalue(), options(12, 20, channels)).numpy()
    written = Image.open(buffer).convert("RGB")
    expected = np.asarray(written, np.float32)
    if channels == 1:
        expected = np.asarray(written.convert("L"), np.float32)[..., np.newaxis]
    assert np.abs(decoded - expected).mean() < 4


def test_of_a_gif_the_first_frame() -> None:
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    buffer = io.BytesIO()
    frames[0].save(buffer, format="GIF", save_all=True, append_images=frames[1:])
    decoded = prepared(buffer.getvalue(), options(12, 20, 3)).numpy()
    np.testing.assert_array_equal(decoded[..., 0], GREY)


def test_shrinking_averages_and_enlarging_stays_in_range() -> None:
    small = prepared(encoded(RGB), options(6, 10, 3)).numpy()
    expected = RGB.reshape(6, 2, 10, 2, 3).mean((1, 3))
    np.testing.assert_allclose(small, expected, atol=1e-3)
    large = prepared(encoded(RGB), options(50, 70, 3)).numpy()
    assert large.shape == (50, 70, 3)
    assert large.min() >= 0
    assert large.max() <= 255


def test_padding_keeps_proportions() -> None:
    white = np.full((12, 24, 3), 255, np.uint8)
    padded = prepared(encoded(white), options(16, 16, 3, resize="pad")).numpy()
    assert padded[4:12].min() > 254
    assert padded[:4].max() == 0
    assert padded[12:].max() == 0


@pytest.mark.parametrize("normalization", ["standardize", "rescale"])
def test_the_graph_of_the_training_set(normalization: str, tmp_path: object) -> None:
    images = GENERATOR.integers(0, 256, (40, 5, 7, 3)).astype(np.uint8)
    images[..., 2] = 77  # a constant channel
    labels = [b"owl", b"dog", b"owl", b"cat"] * 10
    data = [
        {features.IMAGE_KEY: np.array([encoded(image)]), features.LABEL_KEY: np.array([label])}
        for image, label in zip(images, labels, strict=True)
    ]
    spec = {key: tf.io.FixedLenFeature([1], tf.string) for key in data[0]}
    metadata = dataset_metadata.DatasetMetadata(schema_utils.schema_from_feature_spec(spec))
    preprocessed = options(5, 7, 3, normalization=normalization)
    config = TransformSettings(preprocessing=preprocessed).pack()
    with tft_beam.Context(temp_dir=str(tmp_path)):
        (transformed, out), _ = (data, metadata) | tft_beam.AnalyzeAndTransformDataset(
            lambda inputs: preprocessing.preprocessing_fn(inputs, config)
        )
    result = np.stack([row[features.IMAGE] for row in transformed])
    # By name, not by frequency.
    assert [row[features.LABEL] for row in transformed[:4]] == [2, 1, 2, 0]
    assert out.schema.feature[0].name == features.IMAGE
    expected = images / np.float32(255)
    if normalization == "standardize":
        deviation = images.std((0, 1, 2))
        expected = (images - images.mean((0, 1, 2))) / np.where(deviation == 0, 1, deviation)
    np.testing.assert_allclose(result, expected, atol=1e-4)


def test_several_labels_become_ones_and_zeros() -> None:
    numbers = tf.ragged.constant([[2, 0], [], [1, -1]], dtype=tf.int64).to_sparse()
    labels = preprocessing.target({features.LABEL: numbers}, num_classes=3)
    np.testing.assert_array_equal(labels, [[1, 0, 1], [0, 0, 0], [0, 1, 0]])
    none = tf.ragged.constant([[], []], dtype=tf.int64, ragged_rank=1).to_sparse()
    np.testing.assert_array_equal(
        preprocessing.target({features.LABEL: none}, num_classes=3), np.zeros((2, 3))
    )


def test_an_image_function_of_the_users_comes_last(tmp_path: object) -> None:
    photos = GENERATOR.integers(0, 256, (12, 6, 8, 3)).astype(np.uint8)
    rows = [
        {features.IMAGE_KEY: np.array([encoded(image)]), features.LABEL_KEY: np.array([b"x"])}
        for image in photos
    ]
    spec = {key: tf.io.FixedLenFeature([1], tf.string) for key in rows[0]}
    metadata = dataset_metadata.DatasetMetadata(schema_utils.schema_from_feature_spec(spec))
    config = TransformSettings(preprocessing=theirs("negative")).pack()
    with tft_beam.Context(temp_dir=str(tmp_path)):
        (transformed, _), _ = (rows, metadata) | tft_beam.AnalyzeAndTransformDataset(
            lambda inputs: preprocessing.preprocessing_fn(inputs, config)
        )
    result = np.stack([row[features.IMAGE] for row in transformed])
    np.testing.assert_allclose(result, 1 - photos / np.float32(255), atol=1e-6)


def theirs(name: str) -> Preprocessing:
    return options(6, 8, 3, image_fn=f"tests.users_code.{name}")


def test_image_functions_that_can_be_served() -> None:
    for name in ("negative", "per_image"):
        preprocessing.check(theirs(name))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("smaller", ["float32 of shape (None, 6, 8, 3)", "received float32 of shape (None, 3, 8"]),
        ("double", ["received float64 of shape (None, 6, 8, 3)"]),
        ("nothing", ["received None"]),
        ("in_numpy", ["failed while it was traced to a graph", "np.clip(images, 0, 1)"]),
        ("with_an_if", ["failed while it was traced", "if tf.reduce_mean(images) > 0.5"]),
        ("in_python", ["calls Python from the graph", "a model server has no Python"]),
    ],
)
def test_image_functions_that_can_not_be(name: str, words: list[str]) -> None:
    with pytest.raises(DarkroomError) as caught:
        preprocessing.check(theirs(name))
    text = str(caught.value)
    assert text.startswith(f"preprocessing.image_fn: tests.users_code.{name}")
    for word in words:
        assert word in text
    assert text.count("users_code.py") == ("traced" in text)
