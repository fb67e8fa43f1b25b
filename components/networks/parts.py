"""The two parts of each of our networks, which transfer learning trains apart."""

import keras

NAMES = BACKBONE, CLASSIFIER = "backbone", "classifier"


def leaves(layer: keras.Layer) -> list[keras.Layer]:
    """The layers of a model, of its models, and so on, from the input on."""
    if not isinstance(layer, keras.Model):
        return [layer]
    return [leaf for inner in layer.layers for leaf in leaves(inner)]
