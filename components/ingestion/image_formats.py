"""What kind of image some bytes are, told by their header: nothing is decoded here.

Light to import: ``darkroom ingest`` and the examples' inspection both ask this first.
"""

import io
from typing import NamedTuple

from PIL import ExifTags, Image

# What TensorFlow's decode_image reads, and with it the transform graph.
DECODABLE = ("JPEG", "PNG", "GIF", "BMP")
# An image of 100 megapixels takes 1.2 GB as float32 RGB; what claims more is refused unseen.
MAX_PIXELS = 100_000_000
Image.MAX_IMAGE_PIXELS = None  # ours takes its place, with the same sentence for every format

_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"RIFF")
_CHANNELS = {"1": 1, "L": 1, "I": 1, "I;16": 1, "I;16B": 1, "F": 1, "P": 3, "PA": 4}
_PNG_BIT_DEPTH_BYTE = 24  # in the header chunk, which is always the first


class ImageError(ValueError):
    """The image can't be used; the message is the reason, in a few words."""


class Header(NamedTuple):
    """An image file's own word about itself."""

    format: str  # JPEG, PNG, GIF, BMP
    height: int  # pixels, as stored
    width: int  # pixels, as stored
    channels: int  # 1 to 4; a palette counts as its colours
    bit_depth: int  # bits of one channel of one pixel; of a palette's index


def read_header(encoded: bytes) -> Header:
    """Reads the header of an image that the transform graph can decode.

    Raises:
      ImageError: no image, one of another format, or one that claims more than ``MAX_PIXELS``.
    """
    image = open_image(encoded, DECODABLE)
    width, height = image.size
    channels = _CHANNELS.get(image.mode, len(image.getbands()))
    name = str(image.format)
    # Pillow opens a JPEG with several pictures in it, as some phones write, as MPO.
    name = "JPEG" if name == "MPO" else name
    bit_depth = encoded[_PNG_BIT_DEPTH_BYTE] if name == "PNG" else 8
    return Header(name, height, width, channels, bit_depth)


def open_image(encoded: bytes, formats: tuple[str, ...]) -> Image.Image:
    """Pillow's image, not decoded yet.

    Args:
      encoded: the file's content.
      formats: Pillow's names of those that are welcome.

    Raises:
      ImageError: as ``read_header``.
    """
    if not encoded:
        raise ImageError("empty")
    try:
        image = Image.open(io.BytesIO(encoded), formats=formats)
    except Exception:  # Pillow's plugins raise whatever a damaged header makes them
        raise ImageError(_why_not_opened(encoded)) from None
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError("too many pixels")
    if width * height == 0:
        raise ImageError("damaged")
    return image


def why_not_decoded(encoded: bytes) -> str:
    """The reason why an image with a good header doesn't decode."""
    try:
        open_image(encoded, DECODABLE).load()
    except ImageError as error:
        return str(error)
    except Exception as error:
        return "cut off" if "truncated" in str(error) else "damaged"
    return "damaged"


def orientation(image: Image.Image) -> int:
    """The EXIF orientation of an open image, 1 (upright) to 8."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # a damaged EXIF block says nothing about the picture
        return 1
    return value if value in range(1, 9) else 1


def _why_not_opened(encoded: bytes) -> str:
    try:
        return f"format not supported ({Image.open(io.BytesIO(encoded)).format})"
    except Exception:
        pass
    return "damaged" if encoded.startswith(_SIGNATURES) else "not an image"
