"""The networks. Each is a function of the configuration that returns a compiled Keras model.

The contract, also for a user's own ``model.build_fn``: ``build_model(hp, config, num_classes)``
returns a compiled ``keras.Model`` from images [batch, height, width, channels], as the transform
graph makes them, to logits [batch, num_classes], or to scores where the last layer has a softmax.
The same function serves fixed training and search. Hyperparameters that the search space names by
configuration key arrive in ``config``; others are asked for with KerasTuner's ``hp.Float(...)``.
"""

from types import SimpleNamespace

import keras
import keras_tuner

from components import user_code
from components.errors import DarkroomError

_OPTIMIZERS = {
    "adam": keras.optimizers.Adam,
    "adagrad": keras.optimizers.Adagrad,
    "rmsprop": keras.optimizers.RMSprop,
    "sgd": lambda learning_rate: keras.optimizers.SGD(learning_rate, momentum=0.9),
}


def build_model(
    hp: keras_tuner.HyperParameters, config: SimpleNamespace, num_classes: int
) -> keras.Model:
    """The model that the configuration names.

    Args:
      hp: the trial's hyperparameters; empty where nothing is searched.
      config: the ``preprocessing``, ``model`` and ``training`` sections, the trial's values in it.
      num_classes: size of the label vocabulary.
    """
    path = config.model.build_fn
    if path is None:
        network = {"cnn": cnn, "dense": dense}[config.model.name]
        return compiled(network(config, num_classes), config)
    build_fn = user_code.resolve(path, "model.build_fn")
    model = user_code.call(build_fn, path, hp, config, num_classes)
    if not isinstance(model, keras.Model) or not model.compiled:
        raise DarkroomError(
            f"model.build_fn: expected {path} to return a compiled keras.Model, "
            f"received {'one that is not compiled' if isinstance(model, keras.Model) else model!r}."
        )
    return model


def cnn(config: SimpleNamespace, num_classes: int) -> keras.Model:
    """Blocks of convolution, batch normalisation and pooling, then dense layers."""
    images = hidden = _input(config)
    for filters in config.model.filters:
        hidden = keras.layers.Conv2D(
            filters, config.model.kernel_size, padding="same", use_bias=False
        )(hidden)
        hidden = keras.layers.BatchNormalization()(hidden)
        hidden = keras.layers.Activation(config.model.activation)(hidden)
        # "same" lets images shrink to one pixel instead of failing at odd sizes.
        hidden = keras.layers.MaxPooling2D(padding="same")(hidden)
    hidden = keras.layers.Dropout(config.model.dropout)(hidden)
    return keras.Model(images, _classifier(hidden, config, num_classes), name="cnn")


def dense(config: SimpleNamespace, num_classes: int) -> keras.Model:
    """Dense layers on the flattened image."""
    images = _input(config)
    return keras.Model(images, _classifier(images, config, num_classes), name="dense")


def compiled(model: keras.Model, config: SimpleNamespace) -> keras.Model:
    """The model with the configured optimizer, cross-entropy from logits, and accuracy."""
    model.compile(
        optimizer=_OPTIMIZERS[config.training.optimizer](config.training.learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=config.training.jit_compile,
        steps_per_execution=_steps_per_execution(config.training),
    )
    return model


def _steps_per_execution(training: SimpleNamespace) -> int:
    """As configured, or less: Keras runs whole executions only, one must divide an epoch."""
    most: int = training.steps_per_execution
    if training.steps_per_epoch is None:
        return most
    return max(n for n in range(1, most + 1) if training.steps_per_epoch % n == 0)


def _input(config: SimpleNamespace) -> keras.KerasTensor:
    size = config.preprocessing
    return keras.Input((size.height, size.width, size.channels), name="image")


def _classifier(
    hidden: keras.KerasTensor, config: SimpleNamespace, num_classes: int
) -> keras.KerasTensor:
    hidden = keras.layers.Flatten()(hidden)
    for units in config.model.units:
        hidden = keras.layers.Dense(units, config.model.activation)(hidden)
        hidden = keras.layers.Dropout(config.model.dropout)(hidden)
    return keras.layers.Dense(num_classes, name="logits")(hidden)
