"""What darkroom takes of Keras besides its public API, each with the reason."""

import re
from collections.abc import Mapping
from typing import NamedTuple

import keras
import tensorflow as tf


def random_states(model: keras.Model) -> list[keras.Variable]:
    """The states of a model's random layers, such as dropout: uint32 [2], seed and count.

    Reason: Keras lists them among all variables, and tells them from the others by name only.
    """
    return [v for v in model.variables if v.name == "seed_generator_state"]


def discriminative(
    optimizer: type[keras.optimizers.Optimizer], rates: Mapping[str, float]
) -> type[keras.optimizers.Optimizer]:
    """An optimizer whose steps differ by layer (Howard and Ruder 2018).

    ``rates``: shares of the learning rate by variables' paths; the others have all of it. Reason:
    ``update_step`` gets TensorFlow's variable, and only the optimizer knows which of Keras's it is.
    """

    class Discriminative(optimizer):  # type: ignore[misc, valid-type]  # a variable
        def update_step(
            self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor
        ) -> None:
            path = self._trainable_variables[self._get_variable_index(variable)].path
            super().update_step(gradient, variable, learning_rate * rates.get(path, 1.0))

    return Discriminative


class LeftOut(NamedTuple):
    """Why ``load_weights(skip_mismatch=True)`` left layers out."""

    layers: set[str]  # those of whose weights there is something to say
    first: str | None  # layer of which it says more
    shapes: tuple[str, str] | None  # of the first one's weights, and of the file's in their place
    words: str


def left_out(warning: str) -> LeftOut:
    """Reads the warning of ``load_weights(skip_mismatch=True)``.

    Reason: that is all that Keras says of what it left out.
    """
    named = re.findall(r"for object <\w+ name=([^,]+),", warning)
    shapes = re.search(r"variable.shape=(\(.*?\)), Received: value.shape=(\(.*?\))", warning)
    return LeftOut(
        layers=set(re.findall(r"<\w+ name=([^,]+), built", warning)),
        first=named[0] if named else None,
        shapes=None if shapes is None else (shapes[1], shapes[2]),
        words=warning.partition("\n\n")[2].partition("\n")[0] or warning,
    )
