"""What users write: image functions and layers, good and bad."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from darkroom.components.base.settings import NetworkSettings


def negative(images: tf.Tensor) -> tf.Tensor:
    return 1.0 - images


def per_image(images: tf.Tensor) -> tf.Tensor:
    """Each image with mean 0 and deviation 1."""
    return tf.image.per_image_standardization(images)


def smaller(images: tf.Tensor) -> tf.Tensor:
    return images[:, ::2]


def double(images: tf.Tensor) -> tf.Tensor:
    return tf.cast(images, tf.float64)


def nothing(images: tf.Tensor) -> None:
    tf.reduce_mean(images)


def in_numpy(images: tf.Tensor) -> Any:
    return np.clip(images, 0, 1)


def with_an_if(images: tf.Tensor) -> tf.Tensor:
    if tf.reduce_mean(images) > 0.5:
        return 1.0 - images
    return images


def in_python(images: tf.Tensor) -> tf.Tensor:
    def one(image: tf.Tensor) -> tf.Tensor:
        return tf.numpy_function(lambda pixels: np.sort(pixels, axis=0), [image], tf.float32)

    return tf.ensure_shape(tf.map_fn(one, images), images.shape)


class Contrast(keras.layers.Layer):
    """Learns how much to stretch each channel."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.gain = self.add_weight(shape=shape[-1:], initializer="ones", name="gain")

    def call(self, images: Any) -> Any:
        return images * self.gain


class Halved(keras.layers.Layer):
    """Half the height and width."""

    def call(self, images: Any) -> Any:
        return images[:, ::2, ::2]


class WithArguments(Contrast):
    def __init__(self, amount: float):
        super().__init__()
        self.amount = amount


class InNumpy(keras.layers.Layer):
    """Keras believes it."""

    def call(self, images: Any) -> Any:
        return np.log1p(images)

    def compute_output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape


class InPython(keras.layers.Layer):
    def call(self, images: Any) -> Any:
        return in_python(images)


class Flat(keras.layers.Flatten):
    """No images any more."""


def no_layer() -> str:
    return "a layer"


def network(layer: keras.layers.Layer) -> keras.Model:
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), Contrast(), layer, keras.layers.Flatten(), keras.layers.Dense(10)]
    )
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def network_in_numpy(hp: object, config: object, num_classes: int) -> keras.Model:
    return network(InNumpy())


def network_in_python(hp: object, config: object, num_classes: int) -> keras.Model:
    return network(InPython())


class Subclassed(keras.Model):
    """A network without layers that are known before it is called."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.flatten, self.logits = keras.layers.Flatten(), keras.layers.Dense(num_classes)

    def call(self, images: Any, training: bool = False) -> Any:
        return self.logits(self.flatten(images))


def subclassed(hp: object, config: object, num_classes: int) -> keras.Model:
    model = Subclassed(num_classes)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def backbone(config: NetworkSettings) -> keras.Model:
    """A network of somebody else's, from images to features."""
    size = config.preprocessing
    images = keras.Input((size.height, size.width, size.channels))
    hidden = keras.layers.Conv2D(6, 3, 2, padding="same", activation="relu")(images)
    return keras.Model(images, keras.layers.BatchNormalization()(hidden))


def backbone_with_pooling(config: NetworkSettings) -> keras.Model:
    whole = backbone(config)
    return keras.Model(whole.input, keras.layers.GlobalAveragePooling2D()(whole.output))


def no_backbone(config: NetworkSettings) -> str:
    return "a network"
