"""A look at every image: does it decode, and what does it look like?"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from darkroom.components.ingestion import decoding, image_formats, near_duplicates
from darkroom.serving.codecs import pictures

_LEAST_SIDE = 256  # pixels that brightness, contrast and content of a large JPEG are of
_PARALLEL = 4  # images decoded at the same time; each is held as float32 meanwhile
# Types of height, width, brightness, contrast and content hash.
_DTYPES = (tf.int32, tf.int32, tf.float32, tf.float32, tf.int64)
_SMALL = [near_duplicates.SIDE, near_duplicates.SIDE]


class Inspection(NamedTuple):
    """What was seen in one image."""

    encoded: bytes  # the file, or another of the same picture where the graph can't read it
    header: image_formats.Header
    height: int  # pixels, upright
    width: int  # pixels, upright
    brightness: float  # mean of all values, 0 (black) to 1 (white)
    contrast: float  # standard deviation of all values, 0 to 0.5
    content: int  # 63-bit hash of the pixels: the same for the same picture in another file
    small: bytes  # a row of near_duplicates: nearly the same for what shows the same


_Measures = tuple[int, int, float, float, int, bytes]  # an Inspection's, behind file and header


def inspect(encoded: Sequence[bytes]) -> list[Inspection | str]:
    """What the transform graph's decoder sees in each image file, or why it can't be used."""
    read = [_read_or_reason(file) for file in encoded]
    measured = iter(_measure([one[0] for one in read if not isinstance(one, str)]))
    results: list[Inspection | str] = []
    for one in read:
        if isinstance(one, str):
            results.append(one)
        elif (measures := next(measured)) is None:
            results.append(pictures.why_not_decoded(one[0]))
        else:
            results.append(Inspection(one[0], one[1], *measures))
    return results


def _read_or_reason(file: bytes) -> tuple[bytes, image_formats.Header] | str:
    try:
        readable = pictures.for_the_graph(file)
        return readable, image_formats.read_header(readable)
    except pictures.ImageError as error:
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
    *measures, small = (column.numpy() for column in columns)
    rows = map(np.ndarray.tobytes, near_duplicates.rows(small))
    return list(zip(*(column.tolist() for column in measures), rows, strict=True))


@cache
def _graph() -> Callable[[tf.Tensor], tuple[tf.Tensor, ...]]:
    """The graph of ``_measure``, traced once in each process that inspects."""

    def measure_one(encoded: tf.Tensor) -> tuple[tf.Tensor, ...]:
        # Of two white icons the alpha tells them apart.
        image = decoding.decode_layers(encoded, _LEAST_SIDE)
        height, width = tf.unstack(decoding.upright_size(encoded, image))
        shown = decoding.composite(image)
        pixels = tf.reshape(shown, [-1]) / 255.0
        small = tf.raw_ops.ResizeArea(images=shown[tf.newaxis], size=_SMALL)[0]
        small = tf.cast(small + tf.fill([*_SMALL, 3], 0.5), tf.uint8)  # grey in three channels
        # The shape belongs to the picture: a row of pixels is not a column of them.
        shape = tf.cast(tf.shape(image), tf.float32)
        octets = tf.bitcast(tf.concat([shape, tf.reshape(image, [-1])], axis=0), tf.uint8)
        content = tf.bitcast(tf.fingerprint(tf.reshape(octets, [1, -1]))[0], tf.int64)
        content = tf.bitwise.bitwise_and(content, tf.int64.max)
        brightness, contrast = tf.reduce_mean(pixels), tf.math.reduce_std(pixels)
        return height, width, brightness, contrast, content, small

    scalars = (tf.TensorSpec([], dtype) for dtype in _DTYPES)
    spec = (*scalars, tf.TensorSpec([*_SMALL, 3], tf.uint8))

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
