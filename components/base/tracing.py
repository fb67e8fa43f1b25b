"""Whether a user's code can be exported: a model server runs a graph, and no Python."""

import re
import traceback
from collections.abc import Iterable

import keras
import tensorflow as tf

from darkroom.components.base.errors import DarkroomError, UserCodeError

# How UserCodeError says it.
FAILED = "failed while it was traced to a graph, which is what training and serving run"

# What tf.py_function and tf.numpy_function put into a graph.
_PYTHON_OPS = ("EagerPyFunc", "PyFunc", "PyFuncStateless")


def check(
    model: keras.Model, shape: Iterable[int], who: str, layers: Iterable[keras.Layer]
) -> None:
    """Traces a model as it will be served: it, or a layer in it, is the user's.

    Images have the ``shape`` [height, width, channels]. Raises a UserCodeError where it can't be
    traced, a DarkroomError where it calls Python.
    """
    run = tf.function(lambda images: model(images, training=False), autograph=False)
    try:
        graph = run.get_concrete_function(tf.TensorSpec([None, *shape], tf.float32)).graph
    except Exception as error:
        raise UserCodeError(_with_layer(who, _raised_in(error)), error, FAILED) from error
    refuse_python(graph, who, layers)


def refuse_python(graph: tf.Graph, who: str, layers: Iterable[keras.Layer] = ()) -> None:
    """Raises a DarkroomError where a graph calls Python; one of ``layers`` may be to blame.

    ``who`` is the configuration key, and the dotted path there.
    """
    definition = graph.as_graph_def()
    nodes = [*definition.node, *(n for f in definition.library.function for n in f.node_def)]
    calls = [node.name for node in nodes if node.op in _PYTHON_OPS]
    if calls:
        raise DarkroomError(
            f"{_with_layer(who, _owner(calls[0], layers))} calls Python from the graph, with "
            "tf.py_function or tf.numpy_function, and a model server has no Python. Use operations "
            "of TensorFlow or Keras instead."
        )


def _with_layer(who: str, layer: keras.Layer | None) -> str:
    return who if layer is None else f"{who}, layer {layer.name!r} ({type(layer).__name__}),"


def _raised_in(error: BaseException) -> keras.Layer | None:
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    owners = [frame.f_locals.get("self") for frame in frames]
    return next((owner for owner in reversed(owners) if isinstance(owner, keras.Layer)), None)


def _owner(operation: str, layers: Iterable[keras.Layer]) -> keras.Layer | None:
    """The layer of an operation, which Keras calls ``model/layer_1/map/while/PyFunc``."""
    matches = [
        (match.start(), layer)
        for layer in layers
        if (match := re.search(rf"(?:^|/){re.escape(layer.name)}(?:_\d+)?/", operation))
    ]
    return max(matches, key=lambda pair: pair[0])[1] if matches else None
