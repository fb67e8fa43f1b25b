"""Initial weights from a file, or from an earlier pushed model of this pipeline."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from darkroom.components.base.errors import DarkroomError, explain
from darkroom.components.compat import keras as compat
from darkroom.components.networks import parts
from darkroom.serving.contract import Contract


def load(model: keras.Model, source: str, classes: Sequence[str]) -> None:
    """Sets the weights of a network's backbone, and of its classifier where that fits.

    The outputs of a pushed version go to the ``classes`` of the same names; a file names none, and
    gives as many classes as it has its outputs in their order.

    ``source`` is a ``.weights.h5`` or ``.keras`` file of a model of ``models``, or of a backbone
    alone, or the folder of a pushed version. Raises a DarkroomError where it is missing or unfit.
    """
    backbone = model.get_layer(parts.BACKBONE)
    classifier = model.get_layer(parts.CLASSIFIER)
    if source.endswith(".weights.h5"):
        _load_h5(model, backbone, source)
        return
    if source.endswith(".keras"):
        try:
            donor = keras.models.load_model(source, compile=False)
        except Exception as error:  # Keras's own differ from one kind of damage to the next
            raise DarkroomError(
                f"model.weights: {source} can't be read as a Keras model. {explain(error)}"
            ) from error
        names = [layer.name for layer in donor.layers]
        own = [donor.get_layer(name) for name in parts.NAMES if name in names]
        values = [[weight.numpy() for weight in part.weights] for part in own or [donor]]
    else:
        values = _pushed(source, classifier, classes)
    _assign(backbone, values[0], source)
    shapes = [tuple(weight.shape) for weight in classifier.weights]
    if len(values) > 1 and shapes == [value.shape for value in values[1]]:
        classifier.set_weights(values[1])


def _pushed(folder: str, classifier: keras.Model, classes: Sequence[str]) -> list[list[np.ndarray]]:
    """Weights of backbone and classifier, whose outputs are put in the order of ``classes``."""
    if not os.path.isfile(os.path.join(folder, "saved_model.pb")):
        raise DarkroomError(
            f"model.weights: {folder} is no pushed version: expected a folder with a "
            "saved_model.pb, such as runs/NAME/pushed/NAME/VERSION."
        )
    kept = getattr(tf.saved_model.load(folder), "parts", None)  # none in earlier versions'
    if not kept:
        raise DarkroomError(
            f"model.weights: {folder} was not made from one of darkroom's own networks, so it "
            "isn't known which of its weights are which."
        )
    values = [[variable.numpy() for variable in part] for part in kept]
    if len(values) > 1:
        theirs = Contract.read(Path(folder)).classes
        values[1] = _by_name(values[1], theirs, classifier, classes)
    return values


def _by_name(
    values: list[np.ndarray], theirs: Sequence[str], classifier: keras.Model, ours: Sequence[str]
) -> list[np.ndarray]:
    """The classifier's weights, with the outputs of classes that the other one knows from there."""
    *hidden, kernel, bias = values
    own: list[np.ndarray] = classifier.get_weights()
    if (
        len(bias) == 1 == len(own[-1]) and len(ours) == 2
    ):  # the one output is for the second of two classes
        sign = -1 if list(ours) == [*reversed(theirs)] else 1
        return [*hidden, sign * kernel, sign * bias] if set(ours) == set(theirs) else own
    if (len(theirs), len(ours)) != (len(bias), len(own[-1])) or len(kernel) != len(own[-2]):
        return own
    for place, name in enumerate(ours):
        if name in theirs:
            own[-2][:, place] = kernel[:, theirs.index(name)]
            own[-1][place] = bias[theirs.index(name)]
    return [*hidden, *own[-2:]]


def _load_h5(model: keras.Model, backbone: keras.Model, source: str) -> None:
    """Loads a file of the whole model, its backbone, or a keras.applications network in that."""
    architectures = [layer for layer in backbone.layers if isinstance(layer, keras.Model)]
    reasons = []
    for part in (model, backbone, *architectures):
        before = part.get_weights()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                part.load_weights(source, skip_mismatch=True)
                reason = next((r for w in caught if (r := _reason(str(w.message)))), None)
            except (ValueError, OSError, KeyError) as error:
                reason = explain(error)
        if reason is None:
            return
        part.set_weights(before)
        reasons.append(reason)
    raise DarkroomError(
        f"model.weights: {source} doesn't match {model.name}: {reasons[0]} Set model and "
        "preprocessing to what the weights were trained with."
    )


def _reason(warning: str) -> str | None:
    """Says which layers Keras left out, without values; None where that is only the logits."""
    left_out = compat.left_out(warning)
    if left_out.layers == {"logits"}:
        return None
    if left_out.shapes is None:
        return left_out.words
    own, other = left_out.shapes
    layer = f"the layer {left_out.first or 'a layer'}"
    return f"{layer} has shape {own}, the file {other} in its place."


def _assign(part: keras.Model, values: Sequence[np.ndarray], source: str) -> None:
    if len(part.weights) != len(values):
        raise DarkroomError(
            f"model.weights: {source} has {len(values)} arrays of weights, the network's backbone "
            f"{len(part.weights)}. Set model to what the weights were trained with."
        )
    by_id = {id(weight): leaf for leaf in parts.leaves(part) for weight in leaf.weights}
    for weight, value in zip(part.weights, values, strict=True):
        if tuple(weight.shape) != value.shape:
            raise DarkroomError(
                f"model.weights: {source} has an array of shape {value.shape} where the layer "
                f"{by_id[id(weight)].name} has {weight.name} of shape {tuple(weight.shape)}. Set "
                "model and preprocessing to what the weights were trained with."
            )
    part.set_weights(values)
