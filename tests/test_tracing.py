from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from darkroom.components.base import tracing
from darkroom.components.base.errors import DarkroomError, UserCodeError
from darkroom.components.networks import parts
from tests import users_code

SHAPE = (8, 8, 1)


def traced(function: Callable[[tf.Tensor], tf.Tensor]) -> tf.Graph:
    spec = tf.TensorSpec([None, *SHAPE], tf.float32)
    return tf.function(function, autograph=False).get_concrete_function(spec).graph


@pytest.mark.parametrize(
    "function",
    [
        lambda images: tf.py_function(np.abs, [images], tf.float32),
        lambda images: tf.numpy_function(np.abs, [images], tf.float32),
        lambda images: tf.numpy_function(np.abs, [images], tf.float32, stateful=False),
        users_code.in_python,
        tf.function(users_code.in_python),
    ],
    ids=["py_function", "numpy_function", "stateless", "in a loop", "in a function"],
)
def test_every_call_of_python_is_found(function: Callable[[tf.Tensor], tf.Tensor]) -> None:
    with pytest.raises(DarkroomError, match=r"^their\.code calls Python from the graph"):
        tracing.refuse_python(traced(function), "their.code")


def test_tensorflow_alone_is_fine() -> None:
    tracing.refuse_python(traced(users_code.per_image), "their.code")


@pytest.mark.parametrize(
    ("kind", "error"), [(users_code.InPython, DarkroomError), (users_code.InNumpy, UserCodeError)]
)
def test_the_innermost_layer_is_to_blame(kind: type, error: type[DarkroomError]) -> None:
    first, second = keras.Input(SHAPE), keras.Input(SHAPE)
    inner = keras.Model(first, kind(name="sort_2")(users_code.Contrast(name="sort_1")(first)))
    model = keras.Model(second, inner(users_code.Contrast(name="sort")(second)))
    with pytest.raises(error, match=rf"^their\.code, layer 'sort_2' \({kind.__name__}\), "):
        tracing.check(model, SHAPE, "their.code", parts.leaves(model))
