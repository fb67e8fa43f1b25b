"""What darkroom takes of TensorFlow Transform besides its public API, each with the reason."""

from collections.abc import Callable, Mapping

import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_transform.saved.saved_transform_io_v2 import SavedModelLoader

Features = Mapping[str, tf.Tensor]


def transform_graph(
    transform: tft.TFTransformOutput,
) -> tuple[Callable[[Features], dict[str, tf.Tensor]], dict[str, object]]:
    """The transform graph as a function of raw features, and the resources that it holds.

    Reason: ``transform_features_layer`` wraps the same as a Keras 2 model, which would be traced
    once more in every export; that takes some seconds.
    """
    loader = SavedModelLoader(transform.transform_savedmodel_dir)
    return loader.apply_transform_model, vars(loader)
