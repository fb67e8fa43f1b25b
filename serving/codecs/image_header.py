"""What an image file says of itself in its header; nothing is decoded here. Light to import."""

import contextlib
import re
import struct
import sys
import zlib
from collections.abc import Iterator

# Pixels that an image may claim, to be decoded: in training and in serving alike, so that a photo
# that trains can be served. One of 100 megapixels, as the largest cameras make them, takes 1.5 GB
# while the graph decodes and shrinks it.
MAX_PIXELS = 100_000_000
# In a JPEG an EXIF block comes first, or right after the 18 bytes of the JFIF block.
EXIF_AT = (6, 24)
PNG_BIT_DEPTH_AT = 24  # in the header chunk, which always is the first
_PNG_COLOUR_TYPE_AT = 25
# Chunks in which an orientation may stand: EXIF itself, and texts.
_PNG_TURNS = frozenset([b"eXIf", b"tEXt", b"zTXt", b"iTXt", b""])

# Chunks that decoders unpack though nobody reads them. A byte of them takes as long as a pixel;
# deflate makes at most so many of one, and libpng so many of a chunk.
_PNG_PACKED = frozenset([b"zTXt", b"iTXt", b"iCCP"])
_PNG_RATIO, _MOST_UNPACKED = 1032, 8_000_000
_USUAL_UNPACKED = 4 * _MOST_UNPACKED  # a colour profile, EXIF and XMP, say

# Frame headers of JPEG (SOF0 to SOF15); the three between are tables, extensions and arithmetic
# coding conditions.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_WITHOUT_LENGTH = frozenset([0x01, *range(0xD0, 0xD9)])
_JPEG_APP1, _JPEG_SCAN, _JPEG_END = 0xE1, 0xDA, 0xD9
# The beginning of what has a length. Others are pixels, stand alone, or end a decoder.
_JPEG_SEGMENT = re.compile(rb"\xff[^\x00-\xbf\xd0-\xd8\xff]")
# Each goes over all pixels, however few bytes it has. Encoders make 10, of CMYK 18.
_USUAL_SCANS = 20
_GIF_FRAME, _GIF_EXTENSION = 0x2C, 0x21
# Segments of a JPEG, or blocks of a GIF, that are looked at: some tens of milliseconds. A
# photograph has tens, an animation has thousands for each megabyte.
_MOST_STEPS = 300_000
_TOO_MANY = sys.maxsize

# Bytes that a regular expression searches at a time, in which no other thread runs, and those of
# the longest match.
_WINDOW, _LONGEST = 2**20, 32
# The tag and the length of a string in a tf.Example, before what begins as an image does.
_FIELD = re.compile(rb"\n([\x80-\xff]{0,9}[\x00-\x7f])(?=\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8|RIFF)")
_NO_MESSAGE = (b"\xff\xd8\xff", b"GIF8")  # with such a start, as no field has that type
_SMALLEST = 20  # bytes; no image has fewer


def pixels(content: bytes) -> int:
    """Width × height that a JPEG, PNG, GIF or WebP claims; 0 of anything else.

    A small file can claim gigabytes of pixels, which a decoder allocates before it finds out; a BMP
    isn't packed. (Pillow takes ten times as long.) It is more where decoders have more to do: of an
    animation for all frames, as large as the largest; of a JPEG with more scans than encoders
    make; of a PNG with much packed text. A file that is too long-winded to tell claims more than
    any limit.
    """
    for signature, read in _READERS:
        if content.startswith(signature):
            try:
                return read(content)
            except (struct.error, IndexError):
                return 0
    return 0


def pixels_within(message: bytes) -> int:
    """``pixels`` of all images in a serialised message, such as a tf.Example.

    They are found by their first bytes behind the tag of a string: what a decoder of the message
    would find, and what several decoders find differently, as in unknown or repeated fields.
    """
    if message.startswith(_NO_MESSAGE):
        return 0
    total = at = seen = 0
    while found := _find(_FIELD, message, at):
        at = found.end()
        size = sum((byte & 0x7F) << 7 * n for n, byte in enumerate(found[1]))
        if size < _SMALLEST:
            continue
        seen += min(size, len(message) - at)
        if seen > 2 * len(message):  # one in the other, many times
            return _TOO_MANY
        total += pixels(message[at : at + size])
    return total


def is_image(content: bytes) -> bool:
    """Whether it begins as an image does: a JPEG, PNG, GIF, BMP or WebP."""
    return content.startswith((*(signature for signature, _ in _READERS), b"BM"))


def bit_depth(content: bytes) -> int:
    """Bits of one channel of one pixel of an image; of a palette's index."""
    return content[PNG_BIT_DEPTH_AT] if content.startswith(_PNG) else 8


def is_plain(content: bytes) -> bool:
    """Whether the transform graph reads a file as it is meant, as far as the header can tell.

    Takes some microseconds. Plain is a JPEG or a PNG, unless it may be turned where the graph
    doesn't look for it, or has a transparent colour. Of a BMP the graph takes a palette's indices
    for grey, of a GIF it sees no transparency, and from both it wants more order than others do.
    """
    try:
        if content.startswith(_JPEG):
            return _has_exif(content) or not _may_be_turned(content)
        if content.startswith(_PNG):
            turns = any(kind in _PNG_TURNS for kind, _, _ in _chunks(content))
            return not turns and not has_colour_key(content)
    except (struct.error, IndexError):
        return True  # cut off: it can't be read at all
    return False


def has_colour_key(content: bytes) -> bool:
    """Whether in a PNG without a palette one colour is transparent, which the graph passes over."""
    has_palette = content[_PNG_COLOUR_TYPE_AT] == 3
    return not has_palette and any(kind == b"tRNS" for kind, _, _ in _chunks(content))


def is_damaged_png(content: bytes) -> bool:
    """Whether it is a PNG with a wrong checksum, or cut off; not all decoders look at all of it."""
    if not content.startswith(_PNG):
        return False
    view = memoryview(content)
    for kind, at, size in _chunks(content):
        checksum = int.from_bytes(view[at + size : at + size + 4], "big")
        # What isn't needed for the pixels has a small letter first.
        if not kind.isalpha():  # not a PNG's any more
            return True
        if kind[:1].isupper() and zlib.crc32(view[at - 4 : at + size]) != checksum:
            return True
        if kind == b"IEND":
            return False
    return True


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Of a PNG each chunk's kind, where its data begin, and their size in bytes."""
    at = len(_PNG)
    for _ in range(_MOST_STEPS):
        if len(content) < at + 8:
            return
        size, kind = struct.unpack_from(">I4s", content, at)
        yield kind, at + 8, size
        at += 12 + size
    yield b"", at, 0  # more than any picture has


def _has_exif(content: bytes) -> bool:
    """Whether a JPEG has an EXIF block where the transform graph looks for its orientation."""
    return any(content.startswith(b"Exif", at) for at in EXIF_AT)


def _may_be_turned(content: bytes) -> bool:
    """Whether a JPEG has an EXIF or XMP block that may say so, before its pixels."""
    at = 2
    for _ in range(_MOST_STEPS):
        at = content.find(b"\xff", at)
        marker = content[at + 1]
        if at < 0 or marker == _JPEG_SCAN:
            return False
        if marker in (0x00, 0xFF):
            at += 1
        elif marker in _JPEG_WITHOUT_LENGTH:
            at += 2
        else:
            end = at + 2 + max(2, int(struct.unpack_from(">H", content, at + 2)[0]))
            if marker == _JPEG_APP1 and (
                content.startswith(b"Exif", at + 4)
                or content.find(b"tiff:Orientation", at, end) >= 0
            ):
                return True
            at = end
    return True


def _find(pattern: re.Pattern[bytes], content: bytes, at: int) -> re.Match[bytes] | None:
    """The first match from there on."""
    end = at + _WINDOW
    while not (found := pattern.search(content, at, end)) and end < len(content):
        at, end = end - _LONGEST, end + _WINDOW - _LONGEST
    return found


def _png(content: bytes) -> int:
    width, height = struct.unpack_from(">II", content, 16)
    unpacked = 0
    for kind, _, size in _chunks(content):
        if kind in _PNG_PACKED:
            unpacked += min(size * _PNG_RATIO, _MOST_UNPACKED)
        elif not kind:
            return _TOO_MANY
    return max(int(width * height), unpacked - _USUAL_UNPACKED)


def _gif(content: bytes) -> int:
    width, height, flags = struct.unpack_from("<HHB", content, 6)
    frames = 0
    at = 13 + _gif_colours(flags)
    in_data = False
    with contextlib.suppress(struct.error, IndexError):  # cut off; what came before is decoded
        for _ in range(_MOST_STEPS):
            block = content[at]
            if in_data:  # parts, each behind its length, up to an empty one
                at += 1 + block
                in_data = block > 0
            elif block == _GIF_FRAME:
                wide, high, flags = struct.unpack_from("<HHB", content, at + 5)
                width, height = max(width, wide), max(height, high)
                frames += 1
                at += 11 + _gif_colours(flags)  # with the first byte of the packed pixels
                in_data = True
            elif block == _GIF_EXTENSION:
                at += 2
                in_data = True
            else:  # the file's end, or what decoders stop at
                break
        else:
            return _TOO_MANY
    return int(width * height) * max(1, frames)


def _gif_colours(flags: int) -> int:
    """Bytes of the colour table that may follow."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _jpeg(content: bytes) -> int:
    at, size, scans = 2, 0, 0
    for _ in range(_MOST_STEPS):
        found = _find(_JPEG_SEGMENT, content, at)  # decoders pass over what is between segments
        if not found:
            break
        at, marker = found.end(), content[found.end() - 1]
        if marker == _JPEG_END and size:
            break
        if marker in _JPEG_FRAMES and not size:
            height, width = struct.unpack_from(">HH", content, at + 3)
            size = int(width * height)
        scans += marker == _JPEG_SCAN
        at += max(2, int.from_bytes(content[at : at + 2], "big"))
    else:
        return _TOO_MANY
    return size * max(scans, _USUAL_SCANS) // _USUAL_SCANS


def _webp(content: bytes) -> int:
    kind = content[8:16]
    if kind == b"WEBPVP8 ":
        width, height = struct.unpack_from("<HH", content, 26)
        return int((width & 0x3FFF) * (height & 0x3FFF))
    if kind == b"WEBPVP8L":
        [bits] = struct.unpack_from("<I", content, 21)
        return int(((bits & 0x3FFF) + 1) * ((bits >> 14 & 0x3FFF) + 1))
    if kind == b"WEBPVP8X":
        width, height = (n >> 8 for n in struct.unpack("<II", content[23:27] + content[26:30]))
        return int((width + 1) * (height + 1)) * max(1, content.count(b"ANMF"))  # frames
    return 0


_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_READERS = ((_JPEG, _jpeg), (_PNG, _png), (b"GIF8", _gif), (b"RIFF", _webp))
