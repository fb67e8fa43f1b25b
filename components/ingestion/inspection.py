"""A look at every image: does it decode, and what does it look like?"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import tensorflow as tf

from darkroom.components.ingestion import image_formats
from darkroom.components.ingestion.decoding import decode

_PARALLEL = 4  # images decoded at the same time; each is held as float32 meanwhile
# Types of height, width, brightness, contrast and content hash.
_DTYPES = (tf.int32, tf.int32, tf.float32, tf.float32, tf.int64)


class Inspection(NamedTuple):
    """What was seen in one image."""

    header: image_formats.Header
    height: int  # pixels, upright
    width: int  # pixels, upright
    brightness: float  # mean of all values, 0 (black) to 1 (white)
    contrast: float  # standard deviation of all values, 0 to 0.5
    content: int  # 63-bit hash of the pixels: the same for the same picture in another file


_Measures = tuple[int, int, float, float, int]  # an Inspection's, behind the header


def inspect(encoded: Sequence[bytes]) -> list[Inspection | str]:
    """What the transform graph's decoder sees in each image file, or why it can't be used."""
    headers = [_header_or_reason(file) for file in encoded]
    good = [f for f, header in zip(encoded, headers, strict=True) if not isinstance(header, str)]
    measured = iter(_measure(good))
    results: list[Inspection | str] = []
    for file, header in zip(encoded, headers, strict=True):
        if isinstance(header, str):
            results.append(header)
        elif (measures := next(measured)) is None:
            results.append(image_formats.why_not_decoded(file))
        else:
            results.append(Inspection(header, *measures))
    return results


def _header_or_reason(file: bytes) -> image_formats.Header | str:
    try:
        return image_formats.read_header(file)
    except image_formats.ImageError as error:
        return str(error)


def _measure(encoded: list[bytes]) -> list[_Measures | None]:
    if not encoded:
        return []
    try:
        columns = _graph()(tf.constant(encoded))
    except tf.errors.OpError:
        if len(encoded) == 1:
            return [None]
        # One bad image fails its batch: halves find it in few steps.
        middle = len(encoded) // 2
        return _measure(encoded[:middle]) + _measure(encoded[middle:])
    return list(zip(*(column.numpy().tolist() for column in columns), strict=True))


@cache
def _graph() -> Callable[[tf.Tensor], tuple[tf.Tensor, ...]]:
    """The graph of ``_measure``, traced once in each process that inspects."""

    def measure_one(encoded: tf.Tensor) -> tuple[tf.Tensor, ...]:
        image = decode(encoded)
        height, width, channels = tf.unstack(tf.shape(image))
        pixels = tf.reshape(image, [-1]) / 255.0
        # The shape belongs to the picture: a row of pixels is not a column of them.
        shape = tf.cast(tf.stack([height, width, channels]), tf.float32)
        octets = tf.bitcast(tf.concat([shape, tf.reshape(image, [-1])], axis=0), tf.uint8)
        content = tf.bitcast(tf.fingerprint(tf.reshape(octets, [1, -1]))[0], tf.int64)
        content = tf.bitwise.bitwise_and(content, tf.int64.max)
        return height, width, tf.reduce_mean(pixels), tf.math.reduce_std(pixels), content

    spec = tuple(tf.TensorSpec([], dtype) for dtype in _DTYPES)

    def measure(encoded: tf.Tensor) -> tuple[tf.Tensor, ...]:
        columns: tuple[tf.Tensor, ...] = tf.map_fn(
            measure_one, encoded, fn_output_signature=spec, parallel_iterations=_PARALLEL
        )
        return columns

    signature = [tf.TensorSpec([None], tf.string)]
    graph: Callable[[tf.Tensor], tuple[tf.Tensor, ...]] = tf.function(
        measure, autograph=False, input_signature=signature
    )
    return graph
