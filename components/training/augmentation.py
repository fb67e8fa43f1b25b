"""Random changes of training images, after the preprocessing that is kept in memory."""

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import keras
import tensorflow as tf

from darkroom.components.base import sections
from darkroom.components.training import dataset, policies

_ASPECT = math.log(4 / 3)  # of crops, at most, as torchvision's RandomResizedCrop has it


# Labels, or labels and weights.
Targets: TypeAlias = "tf.Tensor | tuple[tf.Tensor, tf.Tensor]"


def augment(
    steps: tf.data.Dataset,
    config: sections.Augmentation | None,
    seed: int,
    size: Sequence[int] | None = None,
    outputs: int = 0,
) -> tf.data.Dataset:
    """Changes batches of images at random, by seed and step alone; without ``config`` not at all.

    Args:
      steps: triples of step int64 [], images float32 [batch, height, width, channels] and targets,
        as ``dataset.Feed`` has them.
      config: the section.
      seed: ``training.seed``.
      size: height and width of what is cropped; None: as before.
      outputs: the network's, for targets that are mixed: they become float32 [batch, outputs].

    Returns:
      Pairs of images and targets.
    """
    config = config or sections.Augmentation()
    layers = _layers(config)
    crops, mixes = bool(config.crop), bool(outputs) and bool(config.mixup or config.cutmix)

    def change(step: tf.Tensor, images: tf.Tensor, targets: Targets) -> tuple[tf.Tensor, Targets]:
        seeds = _Seeds(tf.stack([tf.constant(seed, tf.int64), step]))
        if crops:
            images = _cropped(images, seeds, config.crop, size or images.shape[1:3])
        for layer in layers:
            chosen = layer.get_random_transformation(images, training=True, seed=seeds)
            images = layer.transform_images(images, chosen, training=True)
        if mixes:
            return _mixed(images, targets, seeds, config, outputs)
        return images, targets

    change = tf.autograph.experimental.do_not_convert(change)
    if not (layers or crops or mixes):
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
        # By whole pixels: shares of one would blur what is sharp when it is judged.
        whole = {**spatial, "interpolation": "nearest"}
        layers.append(keras.layers.RandomTranslation(*both, **whole))
    own = {_brightness: config.brightness, _contrast: config.contrast, _cutout: config.cutout}
    layers += [_OfImage(change, amount) for change, amount in own.items() if amount]
    return [*layers, policies.Trivial(config.fill)] if config.policy == "trivial" else layers


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
    square = _rectangle(images, 0.5 + 0.5 * chosen, amount)
    return tf.where(square, tf.reduce_mean(images, axis=(1, 2), keepdims=True), images)


def _cropped(images: tf.Tensor, seeds: _Seeds, least: float, size: Sequence[int]) -> tf.Tensor:
    """A part of each image, of at least this share of its area, in another size."""
    count = tf.shape(images)[0]
    area = tf.random.stateless_uniform([count], seeds.next(), least, 1.0)
    ratio = tf.exp(tf.random.stateless_uniform([count], seeds.next(), -_ASPECT, _ASPECT) / 2)
    sides = tf.minimum(tf.stack([tf.sqrt(area) * ratio, tf.sqrt(area) / ratio], axis=1), 1.0)
    begin = tf.random.stateless_uniform([count, 2], seeds.next()) * (1.0 - sides)
    boxes = tf.concat([begin, begin + sides], axis=1)
    cropped = tf.image.crop_and_resize(images, boxes, tf.range(count), tf.constant(list(size)))
    return tf.ensure_shape(cropped, [None, *size, images.shape[-1]])


def _mixed(
    images: tf.Tensor,
    targets: Targets,
    seeds: _Seeds,
    config: sections.Augmentation,
    outputs: int,
) -> tuple[tf.Tensor, Targets]:
    """Mixes each image with the one before it in the batch, and their targets as well."""
    count = tf.shape(images)[0]
    blended = tf.random.stateless_uniform([count], seeds.next()) < 0.5
    if not (config.mixup and config.cutmix):
        blended = tf.fill([count], bool(config.mixup))
    shares = [_beta(count, seeds, alpha or 1.0) for alpha in (config.mixup, config.cutmix)]
    # Where an image stays itself, as share of each place.
    outside = _outside(images, 1.0 - shares[1], seeds)
    own = tf.where(blended[:, None, None, None], shares[0][:, None, None, None], outside)
    share = tf.reduce_mean(own, axis=(1, 2, 3))

    def mixed(target: tf.Tensor) -> tf.Tensor:
        shape = [-1] + [1] * (target.shape.rank - 1)
        part = tf.reshape(share, shape)
        return part * target + (1.0 - part) * tf.roll(target, 1, axis=0)

    if isinstance(targets, tuple):
        labels, weights = targets
        targets = mixed(_soft(labels, outputs)), mixed(weights)
    else:
        targets = mixed(_soft(targets, outputs))
    return own * images + (1.0 - own) * tf.roll(images, 1, axis=0), targets


def _soft(labels: tf.Tensor, outputs: int) -> tf.Tensor:
    """Labels as float32 [batch, outputs]; class numbers as ones and zeros."""
    if labels.shape.rank > 1:
        return tf.cast(labels, tf.float32)
    if outputs == 1:  # for the second of two classes
        return tf.cast(labels[:, tf.newaxis], tf.float32)
    return tf.one_hot(labels, outputs)


def _beta(count: tf.Tensor, seeds: _Seeds, alpha: float) -> tf.Tensor:
    """Draws of Beta(alpha, alpha), float32 [count]."""
    # In float64: with a small alpha both draws of the gamma distribution can be 0 in float32.
    one, other = (
        tf.random.stateless_gamma(
            [count], seeds.next(), tf.constant(alpha, tf.float64), dtype=tf.float64
        )
        for _ in range(2)
    )
    return tf.cast(tf.math.divide_no_nan(one, one + other), tf.float32)


def _outside(images: tf.Tensor, area: tf.Tensor, seeds: _Seeds) -> tf.Tensor:
    """0 within a rectangle of this share of the area, somewhere, and 1 elsewhere."""
    centre = tf.random.stateless_uniform([tf.shape(images)[0], 2], seeds.next())
    inside = _rectangle(images, centre, tf.sqrt(area)[:, tf.newaxis])
    return 1.0 - tf.cast(inside, tf.float32)


def _rectangle(images: tf.Tensor, centre: tf.Tensor, side: tf.Tensor | float) -> tf.Tensor:
    """Whether a place is within a rectangle, bool [batch, height, width, 1]; in shares of sides."""

    def inside(axis: int) -> tf.Tensor:
        size = images.shape[axis + 1]
        places = (tf.range(size, dtype=tf.float32) + 0.5) / size
        return tf.abs(places - centre[:, axis, tf.newaxis]) < side / 2

    return inside(0)[:, :, tf.newaxis, tf.newaxis] & inside(1)[:, tf.newaxis, :, tf.newaxis]
