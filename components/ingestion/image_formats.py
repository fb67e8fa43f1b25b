"""What kind of image some bytes are, by their header: nothing is decoded. Light to import.

Of pixels without a header the configuration or the example says it.
"""

from collections.abc import Mapping
from typing import NamedTuple

from darkroom.components.base.sections import Records
from darkroom.components.base.tfrecord import NO_FEATURE, Feature
from darkroom.serving.codecs import image_header
from darkroom.serving.codecs.pictures import ANIMATED, DECODABLE, ImageError, open_image

_CHANNELS = {"1": 1, "L": 1, "I": 1, "I;16": 1, "I;16B": 1, "F": 1, "P": 3, "PA": 4}


class Header(NamedTuple):
    """An image file's own word about itself."""

    format: str  # JPEG, PNG, GIF, BMP
    height: int  # pixels, as stored
    width: int  # pixels, as stored
    channels: int  # 1 to 4; a palette counts as its colours
    bit_depth: int  # bits of one channel of one pixel; of a palette's index


def read_header(encoded: bytes) -> Header:
    """The header of an image; raises an ImageError where the transform graph can't decode it."""
    # Of an animation all frames count here; of others open_image counts.
    is_animated = encoded.startswith(ANIMATED)
    if is_animated and image_header.pixels(encoded) > image_header.MAX_PIXELS:
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
