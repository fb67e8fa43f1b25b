import io
import struct
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, reject
from hypothesis import strategies as st
from PIL import Image

from darkroom.serving.codecs import image_header

SIZES = st.tuples(st.integers(1, 300), st.integers(1, 300))


def encoded(size: tuple[int, int], file_format: str, mode: str = "RGB", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, file_format, **options)
    return buffer.getvalue()


def pillow(content: bytes) -> int:
    width, height = Image.open(io.BytesIO(content)).size
    return width * height


def exif() -> bytes:
    made = Image.Exif()
    made[0x0112] = 6  # orientation
    made[0x010E] = "\xff\xc0 a description" * 50
    return made.tobytes()


SMALL = {
    "jpeg": encoded((31, 17), "JPEG"),
    "progressive": encoded((31, 17), "JPEG", progressive=True, exif=exif()),
    "png": encoded((31, 17), "PNG"),
    "gif": encoded((31, 17), "GIF", "P"),
    "webp": encoded((31, 17), "WEBP"),
    "extended webp": encoded((31, 17), "WEBP", exif=exif()),
}


@given(
    SIZES,
    st.sampled_from(["L", "RGB", "CMYK"]),
    st.fixed_dictionaries(
        {"progressive": st.booleans(), "optimize": st.booleans()},
        optional={
            "exif": st.just(exif()),
            "comment": st.binary(max_size=999),
            "icc_profile": st.just(b"\xff" * 200_000),
            "restart_marker_blocks": st.just(1),
        },
    ),
)
def test_jpegs(size: tuple[int, int], mode: str, options: dict[str, Any]) -> None:
    try:
        content = encoded(size, "JPEG", mode, **options)
    except OSError:  # Pillow's buffer is too small for much around few pixels
        reject()
    assert image_header.pixels(content) == pillow(content) == size[0] * size[1]


@given(SIZES, st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA", "I;16"]))
def test_pngs(size: tuple[int, int], mode: str) -> None:
    content = encoded(size, "PNG", mode)
    assert image_header.pixels(content) == pillow(content) == size[0] * size[1]


@given(SIZES, st.sampled_from(["1", "L", "P", "RGB"]))
def test_gifs(size: tuple[int, int], mode: str) -> None:
    content = encoded(size, "GIF", mode, comment=b"a comment")
    assert image_header.pixels(content) == pillow(content) == size[0] * size[1]


@given(SIZES, st.sampled_from(["L", "RGB", "RGBA"]), st.booleans(), st.booleans())
def test_webps(size: tuple[int, int], mode: str, lossless: bool, extended: bool) -> None:
    options: dict[str, Any] = {"exif": exif()} if extended else {}
    content = encoded(size, "WEBP", mode, lossless=lossless, method=0, **options)
    assert image_header.pixels(content) == pillow(content) == size[0] * size[1]


def test_largest_sizes() -> None:
    png = bytearray(SMALL["png"])
    png[16:24] = b"\x7f\xff\xff\xff" * 2
    assert image_header.pixels(bytes(png)) == (2**31 - 1) ** 2
    jpeg = bytearray(SMALL["jpeg"])
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = b"\xff" * 4
    assert image_header.pixels(bytes(jpeg)) == (2**16 - 1) ** 2


def test_all_frames_of_an_animation_count() -> None:
    frames = [Image.fromarray(np.full((17, 31), 80 * n, np.uint8)) for n in range(3)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    content = buffer.getvalue()
    assert image_header.pixels(content) == 3 * 31 * 17
    webp = io.BytesIO()
    frames[0].save(webp, "WEBP", save_all=True, append_images=frames[1:])
    assert image_header.pixels(webp.getvalue()) == 3 * 31 * 17
    assert image_header.pixels(content[:-20]) == 3 * 31 * 17


def test_a_frame_may_be_larger_than_the_screen_of_its_gif() -> None:
    content = SMALL["gif"]
    content = content[:6] + struct.pack("<HH", 1, 1) + content[10:]
    assert tf.io.decode_image(content, expand_animations=False).shape == (17, 31, 3)
    assert image_header.pixels(content) == 17 * 31


@pytest.mark.parametrize("between", [b"\0", b"\xff\xff\xff", b"junk", b"\xff\0", b"\xff\xd0"])
def test_decoders_pass_over_what_is_between_segments(between: bytes) -> None:
    content = SMALL["jpeg"]
    at = content.index(b"\xff\xc0")
    content = content[:at] + between + content[at:]
    assert tf.io.decode_image(content).shape == (17, 31, 3)
    assert image_header.pixels(content) == 17 * 31


@pytest.mark.parametrize(
    ("start", "repeated"),
    [
        (b"\xff\xd8", b"\xff"),
        (b"\xff\xd8\xff", b"\0\xff"),
        (b"\xff\xd8", b"\xff\xd0"),
        (b"\xff\xd8", b"\xff\xfe\0\2"),
        (b"GIF89a\1\0\1\0\0\0\0", b"!\xfe\0"),
        (b"GIF89a\1\0\1\0\0\0\0,\0\0\0\0\1\0\1\0\0\2", b"\1\1"),
    ],
)
def test_a_header_without_an_end_claims_too_much(start: bytes, repeated: bytes) -> None:
    assert image_header.pixels(start + repeated * 2**20) > image_header.MAX_PIXELS


@pytest.mark.parametrize(
    "content", [b"", b"BM", b"hello", b"RIFF\0\0\0\0WAVEfmt ", b"\n\2\xff\xd8"]
)
def test_other_bytes_are_no_image(content: bytes) -> None:
    assert image_header.pixels(content) == 0


def test_what_begins_as_an_image() -> None:
    bmp = encoded((31, 17), "BMP")
    assert all(map(image_header.is_image, [*SMALL.values(), bmp]))
    assert not any(map(image_header.is_image, [b"", b"hello", b"%PDF", encoded((3, 3), "TIFF")]))


@pytest.mark.parametrize(("mode", "bits"), [("1", 1), ("L", 8), ("I;16", 16), ("RGBA", 8)])
def test_the_bit_depth_of_a_png(mode: str, bits: int) -> None:
    assert image_header.bit_depth(encoded((3, 2), "PNG", mode)) == bits


def moved(jpeg: bytes) -> bytes:
    """With a comment before all else."""
    return jpeg[:2] + b"\xff\xfe\0\6abcd" + jpeg[2:]


XMP = b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="6">'


@pytest.mark.parametrize(
    ("content", "plain"),
    [
        (SMALL["jpeg"], True),
        (SMALL["progressive"], True),  # with an EXIF block where the graph looks for it
        (moved(SMALL["jpeg"]), True),
        (moved(SMALL["progressive"]), False),
        (b"\xff\xd8\xff\xe1" + struct.pack(">H", len(XMP) + 2) + XMP + SMALL["jpeg"][2:], False),
        (SMALL["png"], True),
        (encoded((31, 17), "PNG", "P", transparency=b"\0\1"), True),
        (encoded((31, 17), "PNG", "L", transparency=1), False),
        (encoded((31, 17), "PNG", transparency=(1, 2, 3)), False),
        (encoded((31, 17), "PNG", exif=exif()), False),
        (SMALL["gif"], False),
        (SMALL["webp"], False),
        (encoded((31, 17), "BMP"), False),
        (encoded((31, 17), "TIFF"), False),
        (b"", False),
    ],
)
def test_what_the_graph_reads_as_it_is_meant(content: bytes, plain: bool) -> None:
    assert image_header.is_plain(content) == plain


@given(st.sampled_from([SMALL["png"], SMALL["jpeg"], SMALL["progressive"]]), st.data())
def test_any_bytes_are_plain_or_not(content: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(content)))
    spoilt = content[:at] + data.draw(st.binary(max_size=9))
    assert image_header.is_plain(spoilt) in (True, False)


@given(st.integers(8, len(SMALL["png"]) - 1), st.integers(1, 255))
def test_a_png_is_damaged_wherever_its_pixels_are(at: int, change: int) -> None:
    content = bytearray(SMALL["png"])
    content[at] ^= change
    assert image_header.is_damaged_png(bytes(content)) or content[at] >> 5 & 1
    assert not image_header.is_damaged_png(SMALL["png"])
    assert not image_header.is_damaged_png(SMALL["jpeg"])
    assert image_header.is_damaged_png(SMALL["png"][:at])


@given(st.sampled_from(list(SMALL)), st.data())
def test_no_damaged_image_is_larger_than_it_claims(name: str, data: st.DataObject) -> None:
    content = bytearray(SMALL[name])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content)))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    _check_claim(bytes(content))


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 9), st.integers(0, 9))
@example(31, 17, 0, 0)
def test_no_gif_with_an_odd_frame_is_larger_than_it_claims(
    width: int, height: int, left: int, top: int
) -> None:
    content = bytearray(SMALL["gif"])
    at = content.rindex(b",\0\0\0\0\x1f\0\x11\0")
    content[at + 1 : at + 9] = struct.pack("<HHHH", left, top, width, height)
    _check_claim(bytes(content))


def _check_claim(content: bytes) -> None:
    claimed = image_header.pixels(content)
    if claimed > 10**6 or content.startswith(b"BM"):
        return
    try:
        shape = tf.io.decode_image(content, expand_animations=False).shape
    except (tf.errors.OpError, ValueError):
        return
    assert shape[0] * shape[1] <= claimed
