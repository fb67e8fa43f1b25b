"""Random changes of training images, so that a network can't learn them by heart.

They come after the preprocessing that is kept in memory, and never in evaluation or serving.
"""

import keras
import tensorflow as tf

from darkroom.components.base import sections
from darkroom.components.training import dataset


def augment(
    steps: tf.data.Dataset, config: sections.Augmentation | None, seed: int
) -> tf.data.Dataset:
    """Changes every batch of images at random, each step in its own way.

    Args:
      steps: triples of step int64 [], image float32 [batch, height, width, channels] and label,
        as ``dataset.Feed`` makes them.
      config: the ``augmentation`` section; None: nothing is changed.
      seed: what is drawn, together with the step.

    Returns:
      Pairs of image and label.
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
    """Seeds from the training's seed and the step.

    Keras's own generator keeps a variable, which would put the batches into an order, one after the
    other; and what it draws would depend on how often it drew before.
    """

    def __init__(self, seed: tf.Tensor):
        """Begins with int64 [2]."""
        self._seed, self._count = seed, 0

    def next(self, ordered: bool = True) -> tf.Tensor:
        """Another seed each time, int64 [2]."""
        self._count += 1
        return tf.random.experimental.stateless_fold_in(self._seed, self._count)


def _layers(config: sections.Augmentation) -> list[keras.Layer]:
    """Keras's layers of what is configured, in the order of the section's keys."""
    spatial = {"fill_mode": config.fill, "interpolation": "bilinear"}
    layers: list[keras.Layer] = []

    def add(kind: type, *values: object, **options: object) -> None:
        layers.append(kind(*values, **options))

    # One for each direction: Keras draws once for both where it is told "horizontal_and_vertical".
    if config.flip in ("horizontal", "both"):
        add(keras.layers.RandomFlip, "horizontal")
    if config.flip in ("vertical", "both"):
        add(keras.layers.RandomFlip, "vertical")
    if config.rotation:
        add(keras.layers.RandomRotation, config.rotation, **spatial)
    if config.zoom != 0:
        low, high = config.zoom if isinstance(config.zoom, list) else (-config.zoom, config.zoom)
        # Both axes alike, as a camera does.
        add(keras.layers.RandomZoom, (low, high), **spatial)
    if config.shear:
        add(keras.layers.RandomShear, config.shear, config.shear, **spatial)
    if config.translation:
        add(keras.layers.RandomTranslation, config.translation, config.translation, **spatial)
    if config.brightness:
        add(RandomBrightness, config.brightness)
    if config.contrast:
        add(RandomContrast, config.contrast)
    if config.cutout:
        add(Cutout, config.cutout)
    return layers


class _OfImage:
    """One random change, as Keras's layers have it; theirs want pixels in a known range."""

    def __init__(self, amount: float):
        self.amount = amount

    def get_random_transformation(
        self, images: tf.Tensor, training: bool, seed: _Seeds
    ) -> tf.Tensor:
        """Two numbers for each image from -1 to 1, float32 [batch, 2]."""
        return tf.random.stateless_uniform((tf.shape(images)[0], 2), seed.next(), -1.0, 1.0)


class RandomBrightness(_OfImage):
    """Adds up to ``amount`` of an image's range between its darkest and its brightest value."""

    def transform_images(self, images: tf.Tensor, chosen: tf.Tensor, training: bool) -> tf.Tensor:
        """float32 [batch, height, width, channels] to the same."""
        low = tf.reduce_min(images, axis=(1, 2, 3), keepdims=True)
        high = tf.reduce_max(images, axis=(1, 2, 3), keepdims=True)
        return images + self.amount * _per_image(chosen) * (high - low)


class RandomContrast(_OfImage):
    """Stretches values away from an image's mean, or towards it, by up to ``amount``."""

    def transform_images(self, images: tf.Tensor, chosen: tf.Tensor, training: bool) -> tf.Tensor:
        """float32 [batch, height, width, channels] to the same."""
        mean = tf.reduce_mean(images, axis=(1, 2), keepdims=True)
        return mean + (images - mean) * (1.0 + self.amount * _per_image(chosen))


class Cutout(_OfImage):
    """Puts the image's mean into a square of ``amount`` of its sides, at a random place."""

    def transform_images(self, images: tf.Tensor, chosen: tf.Tensor, training: bool) -> tf.Tensor:
        """float32 [batch, height, width, channels] to the same."""
        height, width = images.shape[1], images.shape[2]
        centre = 0.5 + 0.5 * chosen  # in units of the sides; it may be anywhere
        rows = (tf.range(height, dtype=tf.float32) + 0.5) / height
        columns = (tf.range(width, dtype=tf.float32) + 0.5) / width
        in_rows = tf.abs(rows[tf.newaxis, :] - centre[:, :1]) < self.amount / 2
        in_columns = tf.abs(columns[tf.newaxis, :] - centre[:, 1:]) < self.amount / 2
        inside = in_rows[:, :, tf.newaxis, tf.newaxis] & in_columns[:, tf.newaxis, :, tf.newaxis]
        mean = tf.reduce_mean(images, axis=(1, 2), keepdims=True)
        return tf.where(inside, mean, images)


def _per_image(chosen: tf.Tensor) -> tf.Tensor:
    return chosen[:, 0, tf.newaxis, tf.newaxis, tf.newaxis]
