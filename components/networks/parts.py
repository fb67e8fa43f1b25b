"""The two parts of each of our networks, which transfer learning trains apart."""

import keras
import tensorflow as tf

NAMES = BACKBONE, CLASSIFIER = "backbone", "classifier"


def batch_normalizations(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """All of them, also those within layers of a user's own."""
    within = tf.train.TrackableView(model).descendants()
    return [layer for layer in within if isinstance(layer, keras.layers.BatchNormalization)]


def leaves(layer: keras.Layer) -> list[keras.Layer]:
    """The layers of a model, of its models, and so on, from the input on."""
    if not isinstance(layer, keras.Model):
        return [layer]
    return [leaf for inner in layer.layers for leaf in leaves(inner)]
