import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, reject
from hypothesis import strategies as st
from PIL import Image

from darkroom.serving.codecs import image_header
from tests import much_work as work

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


def test_all_frames_are_as_large_as_the_largest() -> None:
    content = work.animation((150, 100), 40)
    assert tf.io.decode_image(content).shape == (40, 100, 150, 3)
    assert image_header.pixels(content) == 40 * 150 * 100


@pytest.mark.parametrize("count", [10, 20, 21, 5000])
def test_scans_beyond_the_usual_count_as_more_pixels(count: int) -> None:
    content = work.scans((40, 32), count)
    expected = 40 * 32 * max(20, count) // 20
    assert image_header.pixels(content) == expected
    # What follows the end isn't decoded, such as a camera's second picture, or a film.
    assert image_header.pixels(content + content * 3) == expected
    assert image_header.pixels(content[:-2] + b"\xff\xe0\xff") == expected


def test_scans_are_not_hidden_by_what_decoders_pass_over() -> None:
    content = work.scans((40, 32), 10)
    scan = content[content.rindex(b"\xff\xda") : -2]
    for marker in (b"\xff\x02", b"\xff\xbf", b"\xff\xd3", b"\xff\xff", b"\xff\0"):
        hidden = content[:-2] + marker + b"\x7f\xf0" + scan * 990
        assert image_header.pixels(hidden) == 40 * 32 * 1000 // 20


def test_a_photograph_of_the_largest_size_may_be_progressive() -> None:
    content = bytearray(work.scans((40, 32), 10))
    at = content.index(b"\xff\xc2")
    content[at + 5 : at + 9] = struct.pack(">HH", 10_000, 10_000)
    assert image_header.pixels(bytes(content)) == image_header.MAX_PIXELS


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_packed_chunks_count_where_they_are_many(kind: bytes) -> None:
    text = work.chunk(kind, zlib.compress(bytes(7_000_000)))
    assert image_header.pixels(work.png(5, 4, *[text] * 3)) == 20
    assert image_header.pixels(work.png(5, 4, *[text] * 40)) > image_header.MAX_PIXELS
    assert image_header.pixels(work.png(5, 4, *[work.chunk(b"tEXt", bytes(9))] * 400)) == 20


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
        (b"\xff\xd8", b"\xff\xfe\0\2"),
        (b"\x89PNG\r\n\x1a\n", bytes(4) + b"IDAT" + bytes(4)),
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


def field(number: int, content: bytes) -> bytes:
    """A string or message on protobuf's wire."""
    length, rest = [len(content) & 0x7F], len(content) >> 7
    while rest:
        length[-1] |= 0x80
        length.append(rest & 0x7F)
        rest >>= 7
    return bytes([number << 3 | 2, *length]) + content


# An image in a feature, behind and before what a tf.Example doesn't have, and another kind of list.
# Without what begins a field 1: before the bytes of a PNG it is an image, wherever it stands.
CONTENTS = st.binary(max_size=200).map(lambda content: content.replace(b"\n", b"\0"))
NOISE = st.lists(
    st.one_of(
        st.builds(field, st.integers(4, 15), CONTENTS),
        st.sampled_from([b"\x89PNG\r\n\x1a\n##", b"\x80\x01\x05", b"\x25abcd"]),
    ),
    max_size=3,
).map(b"".join)


@given(st.sampled_from(list(SMALL.values())), NOISE, NOISE, st.booleans())
def test_images_within_examples(image: bytes, before: bytes, after: bytes, other: bool) -> None:
    values = field(1, field(1, image)) + (field(2, b"") if other else b"")
    entry = field(1, b"image") + field(2, values)
    message = before + field(1, field(1, entry)) + after
    feature = {"image": tf.io.FixedLenFeature([], tf.string)}
    assert tf.io.parse_single_example(message, feature)["image"].numpy() == image
    assert image_header.pixels_within(message) == 31 * 17
    assert image_header.pixels_within(message * 3) == 3 * 31 * 17


def test_what_begins_as_an_image_within_a_field_counts() -> None:
    before = field(4, b"\n\x18") + b"\x89PNG\r\n\x1a\n##"
    message = before + field(1, field(1, field(1, SMALL["jpeg"])))
    assert image_header.pixels_within(message) > 31 * 17


def test_messages_of_much_else() -> None:
    hidden = field(1, work.png(20_000, 20_000))
    assert image_header.pixels_within(b"\n" * 3 * 2**20 + hidden) == 400_000_000
    for start in range(2**20 - 90, 2**20 + 9):  # wherever one search ends and the next begins
        assert image_header.pixels_within(bytes(start) + hidden) == 400_000_000
    nested = b"\n\xff\xff\x7fGIF8" * 300_000
    assert image_header.pixels_within(nested) > image_header.MAX_PIXELS
    for content in (b"", b"\n", b"\n\x04GIF8", b"\n\xff\xff\xff\xff\x0fRIFF", SMALL["jpeg"]):
        assert image_header.pixels_within(content) == 0


@given(st.binary(max_size=300))
def test_any_bytes_have_images_within_or_not(content: bytes) -> None:
    assert image_header.pixels_within(content) >= 0


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
