"""What kind of image some bytes are, by their header: nothing is decoded. Light to import.

Of pixels without a header the configuration or the example says it.
"""

import io
import threading
import warnings
from collections.abc import Mapping
from typing import NamedTuple

from PIL import ExifTags, Image

from darkroom.components.base.sections import Records
from darkroom.components.base.tfrecord import NO_FEATURE, Feature
from darkroom.serving.codecs import image_header

# What TensorFlow's decode_image reads, and with it the transform graph.
DECODABLE = ("JPEG", "PNG", "GIF", "BMP")
_CHANNELS = {"1": 1, "L": 1, "I": 1, "I;16": 1, "I;16B": 1, "F": 1, "P": 3, "PA": 4}
_FILTERS = threading.Lock()  # of warnings, which are the whole process's


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
    """The header of an image; raises an ImageError where the transform graph can't decode it."""
    if image_header.pixels(encoded) > image_header.MAX_PIXELS:  # of an animation all frames
        raise ImageError("too many pixels")
    image = open_image(encoded, DECODABLE)
    width, height = image.size
    channels = _CHANNELS.get(image.mode, len(image.getbands()))
    name = str(image.format)
    # Pillow opens a JPEG with several pictures in it, as some phones write, as MPO.
    name = "JPEG" if name == "MPO" else name
    return Header(name, height, width, channels, image_header.bit_depth(encoded))


def stated_shape(values: Mapping[str, Feature], data: Records) -> list[int]:
    """Height, width and channels of an example's pixels, as configured or as its features say.

    Raises an ImageError where that is no image's.
    """
    shape = data.shape
    if shape is None:
        shape = [int(n) for key in data.shape_keys for n in values.get(key, NO_FEATURE).values]
    if len(shape) == 2:
        shape = [*shape, 1]
    if len(shape) != 3 or min(shape) < 1 or shape[2] > 4:
        raise ImageError(f"shape {shape}, expected height, width and 1 to 4 channels")
    return list(shape)


def open_image(encoded: bytes, formats: tuple[str, ...]) -> Image.Image:
    """Pillow's image, not decoded yet; raises an ImageError where it has none of the formats."""
    if not encoded:
        raise ImageError("empty")
    try:
        image = _open(encoded, formats)
    except Image.DecompressionBombError:
        raise ImageError("too many pixels") from None
    except Exception:  # Pillow's plugins raise whatever a damaged header makes them
        raise ImageError(_why_not_opened(encoded)) from None
    width, height = image.size
    if width * height > image_header.MAX_PIXELS:
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


def _open(encoded: bytes, formats: tuple[str, ...] | None = None) -> Image.Image:
    """Opens an image without Pillow's limit, which stays as it is for the user's code."""
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(io.BytesIO(encoded), formats=formats)


def _why_not_opened(encoded: bytes) -> str:
    try:
        return f"format not supported ({_open(encoded).format})"
    except Exception:
        return "damaged" if image_header.is_image(encoded) else "not an image"
