"""Initial weights from a file, or from an earlier pushed model of this pipeline."""

import os
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from components import models
from components.errors import DarkroomError


def load(model: keras.Model, source: str) -> None:
    """Sets the weights of a network's backbone, and of its classifier where that fits.

    Args:
      model: one of ``models``, in two parts.
      source: a ``.weights.h5`` or ``.keras`` file of such a model, or of a backbone alone; or the
        folder of a pushed version.

    Raises:
      DarkroomError: they are not there, or belong to another network.
    """
    backbone = model.get_layer(models.BACKBONE)
    classifier = model.get_layer(models.CLASSIFIER)
    if source.endswith(".weights.h5"):
        _load_h5(model, backbone, source)
        return
    if source.endswith(".keras"):
        donor = keras.models.load_model(source, compile=False)
        names = [layer.name for layer in donor.layers]
        parts = [donor.get_layer(n) for n in models.PARTS if n in names]
        found = [[weight.numpy() for weight in part.weights] for part in parts or [donor]]
    else:
        found = _pushed(source)
    _assign(backbone, found[0], source)
    if len(found) > 1 and _fits(classifier.weights, found[1]):
        classifier.set_weights(found[1])


def _pushed(folder: str) -> list[list[np.ndarray]]:
    """Weights of backbone and classifier, as ``export.ServingModel`` lists them."""
    if not os.path.isfile(os.path.join(folder, "saved_model.pb")):
        raise DarkroomError(
            f"model.weights: {folder} is no pushed version: expected a folder with a "
            "saved_model.pb, such as runs/NAME/pushed/NAME/VERSION."
        )
    # The network of an earlier version, without the optimizer, which is not exported.
    parts = getattr(tf.saved_model.load(folder), "parts", None)
    if not parts:
        raise DarkroomError(
            f"model.weights: {folder} was not made from one of darkroom's own networks, so it "
            "isn't known which of its weights are which."
        )
    return [[variable.numpy() for variable in part] for part in parts]


def _load_h5(model: keras.Model, backbone: keras.Model, source: str) -> None:
    """The whole model's, or the backbone's; a classifier of other classes is left as it is."""
    errors = []
    for part in (model, backbone):
        before = part.get_weights()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                part.load_weights(source, skip_mismatch=True)
            except (ValueError, OSError, KeyError) as error:
                caught.append(warnings.WarningMessage(str(error), UserWarning, "", 0))
        skipped = [str(w.message) for w in caught if "logits" not in str(w.message)]
        if not skipped:
            return
        part.set_weights(before)
        errors.append(skipped[0].splitlines()[0])
    raise DarkroomError(
        f"model.weights: {source} doesn't match {model.name}: {errors[0]} Set model to what the "
        "weights were trained with."
    )


def _assign(part: keras.Model, found: Sequence[np.ndarray], source: str) -> None:
    owners = [(layer, weight) for layer in models.leaves(part) for weight in layer.weights]
    if len(owners) != len(found):
        raise DarkroomError(
            f"model.weights: {source} has {len(found)} arrays of weights, the network's backbone "
            f"{len(owners)}. Set model to what the weights were trained with."
        )
    by_id = {id(weight): layer for layer, weight in owners}
    for weight, value in zip(part.weights, found, strict=True):
        if tuple(weight.shape) != value.shape:
            raise DarkroomError(
                f"model.weights: {source} has an array of shape {value.shape} where the layer "
                f"{by_id[id(weight)].name} has {weight.name} of shape {tuple(weight.shape)}. Set "
                "model and preprocessing to what the weights were trained with."
            )
    part.set_weights(found)


def _fits(weights: Sequence[Any], found: Sequence[np.ndarray]) -> bool:
    return [tuple(w.shape) for w in weights] == [value.shape for value in found]
