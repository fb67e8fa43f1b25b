import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from darkroom.components.ingestion import image_formats
from darkroom.components.ingestion.image_formats import Header
from darkroom.serving import flags
from darkroom.serving.codecs import pictures
from darkroom.serving.codecs.pictures import ImageError
from darkroom.serving.errors import ServingError
from darkroom.serving.server.inference import Limits
from tests.conftest import encoded

RGB = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)


def reason(content: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        image_formats.read_header(content)
    return str(caught.value)


def claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims a giant image."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"x") + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("mode", "file_format", "channels", "bit_depth"),
    [
        ("RGB", "JPEG", 3, 8),
        ("L", "JPEG", 1, 8),
        ("CMYK", "JPEG", 4, 8),
        ("RGBA", "PNG", 4, 8),
        ("LA", "PNG", 2, 8),
        ("P", "PNG", 3, 8),
        ("1", "PNG", 1, 1),
        ("I;16", "PNG", 1, 16),
        ("P", "GIF", 3, 8),
        ("RGB", "BMP", 3, 8),
    ],
)
def test_headers(mode: str, file_format: str, channels: int, bit_depth: int) -> None:
    buffer = io.BytesIO()
    if mode == "I;16":
        image = Image.fromarray(RGB[..., 0].astype(np.uint16) * 100)
    else:
        image = Image.fromarray(RGB).convert(mode)
    image.save(buffer, format=file_format)
    found = image_formats.read_header(buffer.getvalue())
    assert found == Header(file_format, 12, 20, channels, bit_depth)


def test_what_is_no_image() -> None:
    assert reason(b"") == "empty"
    assert reason(b"hello, I am text") == "not an image"
    assert reason(bytes(1000)) == "not an image"
    assert reason(b"\xff\xd8\xff\xe0 and no more") == "damaged"
    webp = io.BytesIO()
    Image.fromarray(RGB).save(webp, "WEBP")
    assert reason(webp.getvalue()) == "format not supported (WEBP)"


def test_a_bomb_is_refused_by_its_header() -> None:
    assert reason(claiming(60_000, 60_000)) == "too many pixels"
    assert reason(claiming(10_001, 10_000)) == "too many pixels"
    assert image_formats.read_header(claiming(10_000, 10_000)).width == 10_000


def test_what_trains_can_be_served() -> None:
    accepted = claiming(10_000, 10_000)
    limit = flags.parse(["--model_base_path=/m"]).max_image_pixels
    assert Limits(2**20, limit).count_pixels([np.array([accepted], object)]) == 10**8
    frames = [Image.new("L", (4000, 4000), shade) for shade in range(7)]
    animation = io.BytesIO()
    frames[0].save(animation, "GIF", save_all=True, append_images=frames[1:])
    assert reason(animation.getvalue()) == "too many pixels"
    with pytest.raises(ServingError, match="claims 112000000 pixels"):
        Limits(2**20, limit).count_pixels([np.array([animation.getvalue()], object)])


def test_pillows_own_guard_is_left_to_the_users_code() -> None:
    filters = list(warnings.filters)
    with warnings.catch_warnings(record=True) as warned:
        image_formats.read_header(claiming(10_000, 10_000))
    assert warned == []
    assert warnings.filters == filters
    with pytest.warns(Image.DecompressionBombWarning):
        Image.open(io.BytesIO(claiming(10_000, 10_000)))
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(claiming(60_000, 60_000)))


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
def test_a_cut_file_is_called_so(file_format: str) -> None:
    content = encoded(RGB, file_format)
    assert pictures.why_not_decoded(content[: len(content) * 3 // 4]) == "cut off"


@given(
    st.binary(max_size=400), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM"])
)
def test_any_bytes_get_a_header_or_a_reason(content: bytes, start: bytes) -> None:
    try:
        found = image_formats.read_header(start + content)
    except ImageError:
        return
    assert found.height * found.width > 0


@pytest.mark.parametrize("orientation", [0, 1, 6, 8, 9, 77])
def test_orientations_that_there_are_not_count_as_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, "JPEG", exif=exif)
    expected = orientation if 1 <= orientation <= 8 else 1
    assert pictures.orientation(Image.open(buffer)) == expected
