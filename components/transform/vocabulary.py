"""The classes, as Transform found them in the train split."""

import tensorflow_transform as tft

from darkroom.components.base import features


def class_names(transform: tft.TFTransformOutput) -> list[str]:
    """The label vocabulary, in the order of the model's outputs."""
    vocabulary = transform.vocabulary_by_name(features.LABEL_VOCABULARY)
    return [name.decode("utf-8") for name in vocabulary]
