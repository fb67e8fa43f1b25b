"""Automatic augmentation: one of many changes for each image, without anything to tune."""

import math
from collections.abc import Callable
from typing import NamedTuple

import keras
import tensorflow as tf

# Strengths at their ends, which torchvision's TrivialAugmentWide has too, but for rotation and
# translation: 135 degrees and 32 pixels there, made for small images of things.
_ROTATION = math.radians(45.0)
_SHEAR = 0.5
_TRANSLATION = 0.25  # share of the sides
_ENHANCEMENT = 0.9
_LEAST_LEVELS = 4.0  # of posterising; the most are 256


class _Draw(NamedTuple):
    kind: tf.Tensor  # int32 [batch], the number of the change
    strength: tf.Tensor  # float32 [batch], -1 to 1


class Trivial:
    """TrivialAugment (Müller and Hutter 2021), with the methods of Keras's layers."""

    def __init__(self, fill: str):
        """``fill``: ``augmentation.fill``."""
        self._fill = fill

    def get_random_transformation(
        self, images: tf.Tensor, training: bool, seed: keras.random.SeedGenerator
    ) -> _Draw:
        count = tf.shape(images)[0]
        kinds = len(_AFFINE) + len(_OF_VALUES) + 1  # one of them changes nothing
        kind = tf.random.stateless_uniform([count], seed.next(), 0, kinds, tf.int32)
        return _Draw(kind, tf.random.stateless_uniform([count], seed.next(), -1.0, 1.0))

    def transform_images(self, images: tf.Tensor, chosen: _Draw, training: bool) -> tf.Tensor:
        """From images float32 [batch, height, width, channels] of any range to such ones."""
        kind, strength = chosen
        images = self._moved(images, kind, strength)
        low = tf.reduce_min(images, axis=(1, 2, 3), keepdims=True)
        width = tf.reduce_max(images, axis=(1, 2, 3), keepdims=True) - low
        scaled = tf.math.divide_no_nan(images - low, width)  # 0 to 1
        changed = scaled
        for number, change in enumerate(_OF_VALUES, len(_AFFINE)):
            mine = (kind == number)[:, None, None, None]
            changed = tf.where(mine, change(scaled, strength[:, None, None, None]), changed)
        # Untouched ones to the bit.
        touched = ((kind >= len(_AFFINE)) & (kind < len(_AFFINE) + len(_OF_VALUES)))[
            :, None, None, None
        ]
        return tf.where(touched, tf.clip_by_value(changed, 0.0, 1.0) * width + low, images)

    def _moved(self, images: tf.Tensor, kind: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
        """Turns, slants and shifts, about the middle."""
        height, width = images.shape[1:3]
        of_kind = [
            tf.where(kind == number, strength * most, 0.0) for number, most in enumerate(_AFFINE)
        ]
        angle, shear_x, shear_y, shift_x, shift_y = of_kind
        # From a place in the result to one in the image.
        a, b = tf.cos(angle), tf.sin(angle) + shear_x
        c, d = -tf.sin(angle) + shear_y, tf.cos(angle)
        middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
        right = middle_x - a * middle_x - b * middle_y + shift_x * width
        down = middle_y - c * middle_x - d * middle_y + shift_y * height
        zero = tf.zeros_like(a)
        transforms = tf.stack([a, b, right, c, d, down, zero, zero], axis=1)
        moved = tf.raw_ops.ImageProjectiveTransformV3(
            images=images,
            transforms=transforms,
            output_shape=tf.constant([height, width]),
            interpolation="BILINEAR",
            fill_mode=self._fill.upper(),
            fill_value=0.0,
        )
        return tf.where((kind < len(_AFFINE))[:, None, None, None], moved, images)


def _brightness(images: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    return images * (1.0 + _ENHANCEMENT * strength)


def _contrast(images: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    mean = tf.reduce_mean(images, axis=(1, 2, 3), keepdims=True)
    return mean + (images - mean) * (1.0 + _ENHANCEMENT * strength)


def _colour(images: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    grey = tf.reduce_mean(images, axis=3, keepdims=True)
    return grey + (images - grey) * (1.0 + _ENHANCEMENT * strength)


def _sharpness(images: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    smooth = tf.nn.avg_pool2d(images, 3, 1, "SAME")
    return smooth + (images - smooth) * (1.0 + _ENHANCEMENT * strength)


def _posterised(images: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    levels = tf.exp(tf.abs(strength) * math.log(_LEAST_LEVELS / 256.0)) * 256.0
    return tf.floor(images * (levels - 1.0) + 0.5) / (levels - 1.0)


def _solarised(images: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    return tf.where(images > 1.0 - tf.abs(strength), 1.0 - images, images)


def _stretched(images: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    """Each channel from black to white."""
    low = tf.reduce_min(images, axis=(1, 2), keepdims=True)
    return tf.math.divide_no_nan(
        images - low, tf.reduce_max(images, axis=(1, 2), keepdims=True) - low
    )


# What the strength is multiplied with: angle, slants across and down, shifts across and down.
_AFFINE = (_ROTATION, _SHEAR, _SHEAR, _TRANSLATION, _TRANSLATION)
_OF_VALUES: tuple[Callable[[tf.Tensor, tf.Tensor], tf.Tensor], ...] = (
    _brightness, _contrast, _colour, _sharpness, _posterised, _solarised, _stretched,
)  # fmt: skip
