"""Random changes of training images, after the preprocessing that is kept in memory."""

from collections.abc import Callable

import keras
import tensorflow as tf

from darkroom.components.base import sections
from darkroom.components.training import dataset


def augment(
    steps: tf.data.Dataset, config: sections.Augmentation | None, seed: int
) -> tf.data.Dataset:
    """Changes batches of images at random, by seed and step alone; without ``config`` not at all.

    Makes pairs of images and labels out of triples of step int64 [], images float32 [batch,
    height, width, channels] and labels, as ``dataset.Feed`` has them.
    """
    layers = _layers(config) if config else []

    def change(
        step: tf.Tensor, images: tf.Tensor, labels: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        seeds = _Seeds(tf.stack([tf.constant(seed, tf.int64), step]))
        for layer in layers:
            chosen = layer.get_random_transformation(images, training=True, seed=seeds)
            images = layer.transform_images(images, chosen, training=True)
        return images, labels

    change = tf.autograph.experimental.do_not_convert(change)
    if not layers:
        return steps.map(change)
    changed = steps.map(change, num_parallel_calls=tf.data.AUTOTUNE)
    return changed.prefetch(dataset.PREFETCHED).with_options(dataset.OPTIONS)


class _Seeds(keras.random.SeedGenerator):
    """Draws seeds from int64 [2] alone; what Keras's own draws depends on earlier draws."""

    def __init__(self, seed: tf.Tensor):
        self._seed, self._count = seed, 0

    def next(self, ordered: bool = True) -> tf.Tensor:
        self._count += 1
        return tf.random.experimental.stateless_fold_in(self._seed, self._count)


def _layers(config: sections.Augmentation) -> list[keras.Layer]:
    """Keras's layers of what is configured, in the order of the section's keys."""
    spatial = {"fill_mode": config.fill, "interpolation": "bilinear"}
    # One for each direction: Keras draws once for both where it is told "horizontal_and_vertical".
    flips = [kind for kind in ("horizontal", "vertical") if config.flip in (kind, "both")]
    layers: list[keras.Layer] = [keras.layers.RandomFlip(kind) for kind in flips]
    if config.rotation:
        layers.append(keras.layers.RandomRotation(config.rotation, **spatial))
    if config.zoom != 0:
        ends = config.zoom if isinstance(config.zoom, list) else (-config.zoom, config.zoom)
        # One factor for both axes, as a camera does.
        layers.append(keras.layers.RandomZoom(tuple(ends), **spatial))
    if config.shear:
        layers.append(keras.layers.RandomShear(config.shear, config.shear, **spatial))
    if config.translation:
        both = config.translation, config.translation
        layers.append(keras.layers.RandomTranslation(*both, **spatial))
    own = {_brightness: config.brightness, _contrast: config.contrast, _cutout: config.cutout}
    return [*layers, *(_OfImage(change, amount) for change, amount in own.items() if amount)]


class _OfImage:
    """A random change with the methods of Keras's layers, which want pixels in a known range."""

    def __init__(self, change: Callable[[tf.Tensor, tf.Tensor, float], tf.Tensor], amount: float):
        """``change`` gets [batch, height, width, channels], and -1 to 1 as float32 [batch, 2]."""
        self._change, self._amount = change, amount

    def get_random_transformation(
        self, images: tf.Tensor, training: bool, seed: _Seeds
    ) -> tf.Tensor:
        return tf.random.stateless_uniform((tf.shape(images)[0], 2), seed.next(), -1.0, 1.0)

    def transform_images(self, images: tf.Tensor, chosen: tf.Tensor, training: bool) -> tf.Tensor:
        return self._change(images, chosen, self._amount)


def _brightness(images: tf.Tensor, chosen: tf.Tensor, amount: float) -> tf.Tensor:
    """Adds up to ``amount`` of an image's range between its darkest and its brightest value."""
    low = tf.reduce_min(images, axis=(1, 2, 3), keepdims=True)
    high = tf.reduce_max(images, axis=(1, 2, 3), keepdims=True)
    return images + amount * chosen[:, :1, tf.newaxis, tf.newaxis] * (high - low)


def _contrast(images: tf.Tensor, chosen: tf.Tensor, amount: float) -> tf.Tensor:
    """Stretches values away from an image's mean, or towards it, by up to ``amount``."""
    mean = tf.reduce_mean(images, axis=(1, 2), keepdims=True)
    return mean + (images - mean) * (1.0 + amount * chosen[:, :1, tf.newaxis, tf.newaxis])


def _cutout(images: tf.Tensor, chosen: tf.Tensor, amount: float) -> tf.Tensor:
    """Puts the image's mean into a square of ``amount`` of its sides, at a random place."""
    centre = 0.5 + 0.5 * chosen  # in units of the sides; it may be anywhere

    def inside(axis: int) -> tf.Tensor:
        size = images.shape[axis + 1]
        places = (tf.range(size, dtype=tf.float32) + 0.5) / size
        return tf.abs(places - centre[:, axis, tf.newaxis]) < amount / 2

    square = inside(0)[:, :, tf.newaxis, tf.newaxis] & inside(1)[:, tf.newaxis, :, tf.newaxis]
    return tf.where(square, tf.reduce_mean(images, axis=(1, 2), keepdims=True), images)
