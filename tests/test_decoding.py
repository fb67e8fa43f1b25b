import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from darkroom.components.ingestion.decoding import decode, upright_size
from tests.conftest import encoded

RGB = np.asarray(
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)).resize(
        (60, 40)
    )
)
DECODE = tf.function(
    decode, input_signature=[tf.TensorSpec([], tf.string)], autograph=False
)  # as in the transform graph


def with_exif(exif: Image.Exif | bytes) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, "JPEG", exif=exif, quality=95)
    return buffer.getvalue()


def upright(content: bytes) -> np.ndarray:
    turned = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    return np.asarray(turned.convert("RGB"), np.float32)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_camera_held_in_any_way(orientation: int, order: str) -> None:
    entries = [(0x010F, 2, 4, 0x41414100), (0x0112, 3, 1, None), (0x0213, 3, 1, 1 << 16)]
    tiff = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(entries))
    for tag, kind, count, value in entries:
        tiff += struct.pack(f"{order}HHI", tag, kind, count)
        if value is None:
            tiff += struct.pack(f"{order}HH", orientation, 0)
        else:
            tiff += struct.pack(f"{order}I", value)
    content = with_exif(b"Exif\0\0" + tiff + bytes(4))
    decoded = DECODE(content).numpy()
    expected = upright(content)
    assert decoded.shape == expected.shape
    assert np.abs(decoded - expected).mean() < 3  # decoders round differently
    if 1 < orientation < 5:  # the same size, another picture
        assert np.abs(decoded - RGB).mean() > 20


def test_exif_with_and_without_a_jfif_block_before_it() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    after_jfif = with_exif(exif)
    assert (after_jfif[6:10], after_jfif[24:28]) == (b"JFIF", b"Exif")
    first = after_jfif[:2] + after_jfif[20:]  # as cameras write
    assert first[6:10] == b"Exif"
    for content in (after_jfif, first):
        assert np.abs(DECODE(content).numpy() - RGB[::-1, ::-1]).mean() < 5


@given(st.binary(max_size=200))
def test_a_damaged_exif_block_does_not_keep_an_image_from_being_decoded(block: bytes) -> None:
    decoded = DECODE(with_exif(b"Exif\0\0" + block)).numpy()
    assert sorted(decoded.shape) == sorted(RGB.shape)


def test_sixteen_bits_keep_their_precision() -> None:
    deep = np.arange(0, 4096, 16, dtype=np.uint16).reshape(16, 16)  # a camera of 12 bits
    decoded = DECODE(encoded(deep)).numpy()
    np.testing.assert_allclose(decoded[..., 0], deep / 257, rtol=1e-6)
    assert len(np.unique(decoded)) == 256


def test_cmyk_is_read_as_pillow_reads_it() -> None:
    buffer = io.BytesIO()
    Image.fromarray(RGB).convert("CMYK").save(buffer, "JPEG", quality=95)
    decoded = DECODE(buffer.getvalue()).numpy()
    assert np.abs(decoded - upright(buffer.getvalue())).mean() < 3


@pytest.mark.parametrize("length", [0, 1, 5, 25, 26, 63, 64, 65])
def test_short_contents_raise_as_undecodable(length: int) -> None:
    content = with_exif(Image.Exif())[:length]
    with pytest.raises(tf.errors.OpError):
        DECODE(content)


@pytest.mark.parametrize(
    ("least_side", "height"),
    [(50, 100), (100, 100), (101, 200), (400, 400), (401, 800), (900, 800)],
)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_large_jpeg_comes_at_the_part_that_is_needed(
    least_side: int, height: int, mode: str
) -> None:
    noise = np.random.default_rng(1).normal(0, 20, (800, 1200, 3))
    smooth = np.asarray(Image.fromarray(RGB).resize((1200, 800)))
    pixels = Image.fromarray(np.clip(smooth + noise, 0, 255).astype(np.uint8)).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    pixels.save(buffer, "JPEG", quality=95, exif=exif)
    content = buffer.getvalue()
    assert len(content) > 2**17
    part = decode(content, least_side=least_side)
    assert part.shape == (height * 3 // 2, height, len(mode))
    expected = ImageOps.exif_transpose(Image.open(buffer)).reduce(800 // height)
    assert np.abs(part.numpy().squeeze() - np.asarray(expected, np.float32)).mean() < 4
    np.testing.assert_array_equal(upright_size(content, part), [1200, 800])
    assert decode(content).shape[:2] == (1200, 800)


def test_a_small_file_is_decoded_in_full() -> None:
    content = with_exif(Image.Exif())
    part = decode(content, least_side=1)
    assert part.shape == RGB.shape
    np.testing.assert_array_equal(upright_size(content, part), RGB.shape[:2])


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
@pytest.mark.parametrize("background", ["#ffffff", "#102030"])
def test_what_is_transparent_shows_the_background(mode: str, background: str) -> None:
    image = Image.fromarray(RGB)
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    image = image.convert(mode)
    behind = Image.new("RGBA", image.size, background)
    expected = np.asarray(Image.alpha_composite(behind, image.convert("RGBA")).convert("RGB"))
    decoded = decode(encoded(np.asarray(image)), background).numpy()
    np.testing.assert_allclose(decoded, expected, atol=1)
