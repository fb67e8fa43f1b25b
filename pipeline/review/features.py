"""What is to be seen in images, as numbers: of their pixels, or of a network's outputs."""

import os
from collections.abc import Callable, Iterator

import numpy as np
from sklearn.decomposition import PCA

from darkroom.components.base.errors import DarkroomError
from darkroom.pipeline.review.images import Images, Progress

NETWORK = "EfficientNetLite0"
SMALL = 32  # pixels of the long side up to which an image is compared pixel by pixel
_COLOURED = 0.01  # mean distance of the channels
_SIDE, _SIDE_OF_SMALL = 224, 160  # pixels of the network's input; small images are enlarged to it
_LARGE = 128  # pixels above which images aren't small
_BATCH = 64
_LEAST = 1e-3  # deviation by which outputs are divided

Raw = Callable[[np.ndarray], Iterator[np.ndarray]]  # rows → float32 [images, numbers], in blocks


class Space:
    """Principal components of images, by those of a sample; their variances add up to 1."""

    def __init__(self, name: str, raw: Raw, sample: np.ndarray, axes: int, standardise: bool):
        """``sample``: the ascending rows of the images that the components are taken from."""
        self.name, self._raw, self._sample = name, raw, sample
        values = np.concatenate(list(raw(sample)))
        deviation = np.maximum(values.std(axis=0), _LEAST)
        self._scale = deviation if standardise else np.float32(1)
        self._axes = PCA(min(axes, *values.shape), random_state=0).fit(values / self._scale)
        self._length = np.sqrt(max(self._axes.explained_variance_.sum(), _LEAST))
        self.points = self._projected(values)  # of the sample

    def of(self, rows: np.ndarray) -> np.ndarray:
        """The points of ascending rows, float32 [images, components]."""
        if np.array_equal(rows, self._sample):
            return self.points
        return np.concatenate([self._projected(block) for block in self._raw(rows)])

    def _projected(self, values: np.ndarray) -> np.ndarray:
        points: np.ndarray = self._axes.transform(values / self._scale) / self._length
        return points.astype(np.float32)


def pixels(images: Images, sample: np.ndarray, progress: Progress) -> Space:
    """By grey values or colours, of 32×32 pixels at most."""
    side = int(min(SMALL, np.median(images.column("width"))))
    mode = "RGB" if is_coloured(images) else "L"

    def raw(rows: np.ndarray) -> Iterator[np.ndarray]:
        for block in images.resized(rows.tolist(), side, mode, progress):
            yield block.reshape(len(block), -1).astype(np.float32) / 255

    return Space("pixels", raw, sample, 64, standardise=False)


def network(images: Images, sample: np.ndarray, progress: Progress) -> Space:
    """By the outputs of EfficientNet-Lite0 that has learnt from ImageNet.

    Raises a DarkroomError where TensorFlow or the weights aren't installed.
    """
    size = int(np.median(np.maximum(images.column("height"), images.column("width"))))
    side = _SIDE if size > _LARGE else _SIDE_OF_SMALL
    outputs = _network(side)

    def raw(rows: np.ndarray) -> Iterator[np.ndarray]:
        for block in images.resized(rows.tolist(), min(size, side), "RGB", progress):
            yield outputs(block)

    return Space(NETWORK, raw, sample, 256, standardise=True)


def is_coloured(images: Images) -> bool:
    """Whether most images are."""
    return bool(np.median(images.column("colour")) > _COLOURED)


def _network(side: int) -> Callable[[np.ndarray], np.ndarray]:
    """From uint8 [images, any, any, 3] to float32 [images, 1280]."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import keras
        import tensorflow as tf

        from darkroom.components.networks import efficientnet_lite
    except ImportError as error:
        raise DarkroomError(f"{error.name} can't be imported.") from error
    images = keras.Input((None, None, 3))
    backbone = efficientnet_lite.build(NETWORK, "imagenet", (side, side, 3))
    hidden = backbone(keras.layers.Resizing(side, side)(images))
    model = keras.Model(images, keras.layers.GlobalAveragePooling2D()(hidden))

    @tf.function(reduce_retracing=True)
    def call(batch: tf.Tensor) -> tf.Tensor:
        return model(tf.cast(batch, tf.float32), training=False)

    return lambda block: call(tf.constant(block)).numpy()
