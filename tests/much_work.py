"""Small files that make decoders work for long."""

import io
import struct
import zlib
from collections.abc import Sequence

from PIL import Image

_GIF_DOT = b",\0\0\0\0\1\0\1\0\0\2\2D\1\0"  # a frame of one pixel


def animation(size: tuple[int, int], frames: int) -> bytes:
    """A GIF of a first frame of that size, and others of one pixel."""
    buffer = io.BytesIO()
    Image.new("L", size).save(buffer, "GIF")
    return buffer.getvalue()[:-1] + _GIF_DOT * (frames - 1) + b";"


def scans(size: tuple[int, int], count: int) -> bytes:
    """A progressive JPEG with so many scans, from the tenth on the same."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (90, 120, 30)).save(buffer, "JPEG", progressive=True)
    content = buffer.getvalue()
    last = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + last * (count - 10) + content[-2:]


def png(width: int, height: int, *chunks: bytes) -> bytes:
    """A PNG that claims a size, with chunks before its pixels, which are of 1×1."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"\0\0"))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + pixels + chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    check = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + check


def png_texts(texts: Sequence[bytes]) -> bytes:
    """A PNG of one pixel with packed texts."""
    packed = (b"k%d\0\0" % n + zlib.compress(text) for n, text in enumerate(texts))
    return png(1, 1, *(chunk(b"zTXt", text) for text in packed))
