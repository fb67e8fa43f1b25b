"""What is measured in one image; in processes of their own, so nothing heavy is imported here."""

import hashlib
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageStat

from darkroom.components.ingestion import near_duplicates
from darkroom.serving.codecs import pictures
from darkroom.serving.codecs.pictures import ImageError

_SIDE = 256  # pixels of the long side at which an image is measured, at most
_EDGE = 0.05  # share of pixels that may be darker, or brighter, than what counts


class Measures(NamedTuple):
    """What was measured. Grey values are 0 (black) to 1 (white)."""

    height: int  # pixels, upright
    width: int  # pixels, upright
    light: float  # the grey value that a twentieth of the pixels exceeds
    shadow: float  # the grey value that a twentieth of the pixels doesn't reach
    contrast: float  # largest standard deviation of a channel's values
    sharpness: float  # variance of the Laplacian by that of the grey values; 20 is pure noise
    entropy: float  # of the grey values, bits
    colour: float  # mean distance of a pixel's highest channel from its lowest
    content: bytes  # hash of the pixels; of those at 256 pixels where the image is larger
    small: bytes  # a row of near_duplicates


def measure(images: list[bytes]) -> list[Measures | str]:
    """What is seen in each image file, or why it doesn't decode."""
    results: list[Measures | str] = []
    for encoded in images:
        try:
            results.append(_measured(encoded))
        except ImageError as error:
            results.append(str(error))
    return results


def resized(images: list[bytes], side: int, mode: str) -> np.ndarray:
    """Image files, which decode, as uint8 [images, side, side, 1 or 3]; mode is L or RGB."""
    arrays = []
    for encoded in images:
        image, _ = pictures.small(encoded, side)
        small = image.convert(mode).resize((side, side), Image.Resampling.BILINEAR)
        arrays.append(np.asarray(small).reshape(side, side, -1))
    return np.stack(arrays)


def _measured(encoded: bytes) -> Measures:
    image, (width, height) = pictures.small(encoded, _SIDE)
    content = hashlib.blake2b(f"{width} {height} ".encode(), digest_size=12)
    image.thumbnail((_SIDE, _SIDE), Image.Resampling.BOX)
    # A grey picture is the same in three channels.
    content.update(image.convert("RGB").tobytes())
    grey = image.convert("L")
    levels = np.bincount(np.asarray(grey).ravel(), minlength=256) / (grey.width * grey.height)
    shadow, light = np.searchsorted(levels.cumsum(), [_EDGE, 1 - _EDGE])
    shares = levels[levels > 0]
    channels = [np.asarray(channel) for channel in image.split()]
    spread = np.maximum.reduce(channels) - np.minimum.reduce(channels)
    small = image.convert("RGB").resize([near_duplicates.SIDE] * 2, Image.Resampling.BOX)
    return Measures(
        height=height,
        width=width,
        light=light / 255,
        shadow=shadow / 255,
        contrast=max(ImageStat.Stat(image).stddev) / 255,
        sharpness=_sharpness(np.asarray(grey, np.float32) / 255),
        entropy=float(-(shares * np.log2(shares)).sum()),
        colour=float(spread.mean()) / 255,
        content=content.digest(),
        small=near_duplicates.rows(np.asarray(small)[np.newaxis]).tobytes(),
    )


def _sharpness(grey: np.ndarray) -> float:
    if min(grey.shape) < 3:
        return 1.0
    inner = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float((around - 4 * inner).var() / max(grey.var(), 1e-4))
