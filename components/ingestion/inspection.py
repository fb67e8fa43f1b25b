"""A look at every image: does it decode, and what does it look like?"""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import tensorflow as tf

from darkroom.components.ingestion import image_formats
from darkroom.components.ingestion.decoding import decode

# Images that are decoded at the same time; each is held as float32 meanwhile.
_PARALLEL = 4


class Inspection(NamedTuple):
    """What was seen in one image."""

    header: image_formats.Header
    height: int  # pixels, upright
    width: int  # pixels, upright
    brightness: float  # mean of all values, 0 (black) to 1 (white)
    contrast: float  # standard deviation of all values, 0 to 0.5
    content: int  # 63-bit hash of the pixels: the same for the same picture in another file


def inspect(encoded: Sequence[bytes]) -> list[Inspection | str]:
    """Decodes images with the transform graph's own decoder.

    Args:
      encoded: image files.

    Returns:
      For each an inspection, or the reason why it can't be used.
    """
    results: list[Any] = []
    for file in encoded:
        try:
            results.append(image_formats.read_header(file))
        except image_formats.ImageError as error:
            results.append(str(error))
    good = [index for index, found in enumerate(results) if not isinstance(found, str)]
    for index, measured in zip(good, _measure([encoded[i] for i in good]), strict=True):
        results[index] = (
            image_formats.why_not_decoded(encoded[index])
            if measured is None
            else Inspection(results[index], *measured)
        )
    return results


def _measure(encoded: list[bytes]) -> list[tuple[Any, ...] | None]:
    """Height, width, brightness, contrast and content hash; None for what doesn't decode."""
    if not encoded:
        return []
    try:
        columns = _measured()(tf.constant(encoded))
    except tf.errors.OpError:
        if len(encoded) == 1:
            return [None]
        # One bad image fails its batch: halves find it in few steps.
        middle = len(encoded) // 2
        return _measure(encoded[:middle]) + _measure(encoded[middle:])
    return list(zip(*(column.numpy().tolist() for column in columns), strict=True))


@cache
def _measured() -> Any:
    """The graph of ``_measure``, traced once in each process that inspects."""
    spec = tuple(
        tf.TensorSpec([], t) for t in (tf.int32, tf.int32, tf.float32, tf.float32, tf.int64)
    )

    def one(encoded: tf.Tensor) -> tuple[tf.Tensor, ...]:
        image = decode(encoded)
        height, width, channels = tf.unstack(tf.shape(image))
        pixels = tf.reshape(image, [-1]) / 255.0
        brightness = tf.reduce_mean(pixels)
        # The shape belongs to the picture: a row of pixels is not a column of them.
        shape = tf.cast(tf.stack([height, width, channels]), tf.float32)
        octets = tf.bitcast(tf.concat([shape, tf.reshape(image, [-1])], axis=0), tf.uint8)
        content = tf.bitcast(tf.fingerprint(tf.reshape(octets, [1, -1]))[0], tf.int64)
        content = tf.bitwise.bitwise_and(content, tf.int64.max)
        contrast = tf.math.reduce_std(pixels)
        return height, width, brightness, contrast, content

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string)])
    def every(encoded: tf.Tensor) -> Any:
        return tf.map_fn(one, encoded, fn_output_signature=spec, parallel_iterations=_PARALLEL)

    return every
