"""Functions for ``model.build_fn`` that break its contract, each in its own way."""

from typing import Any

import keras


def _network(config: Any, outputs: int, activation: str | None) -> keras.Model:
    shape = config.preprocessing.height, config.preprocessing.width, config.preprocessing.channels
    layers = keras.layers
    return keras.Sequential(
        [keras.Input(shape), layers.Flatten(), layers.Dense(outputs, activation)]
    )


def _compiled(
    config: Any, outputs: int, loss: Any, activation: str | None = "softmax"
) -> keras.Model:
    model = _network(config, outputs, activation)
    model.compile("adam", loss, metrics=["accuracy"])
    return model


def good(hp: Any, config: Any, num_classes: int) -> keras.Model:
    return _compiled(config, num_classes, "sparse_categorical_crossentropy")


def good_logits(hp: Any, config: Any, num_classes: int) -> keras.Model:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return _compiled(config, num_classes, loss, None)


def own_loss(hp: Any, config: Any, num_classes: int) -> keras.Model:
    def loss(y_true: Any, y_pred: Any) -> Any:
        return keras.losses.sparse_categorical_crossentropy(y_true, y_pred) * 2

    return _compiled(config, num_classes, loss)


def for_ten_only(hp: Any, config: Any, num_classes: int) -> keras.Model:
    if num_classes != 10:
        raise ValueError("ten classes are expected")
    return good(hp, config, num_classes)


def binary(hp: Any, config: Any, num_classes: int) -> keras.Model:
    return _compiled(config, 1, "binary_crossentropy", "sigmoid")


def two_arguments(hp: Any, config: Any) -> keras.Model:
    return good(hp, config, 10)


def nothing(hp: Any, config: Any, num_classes: int) -> None:
    good(hp, config, num_classes)


def uncompiled(hp: Any, config: Any, num_classes: int) -> keras.Model:
    return _network(config, num_classes, "softmax")


def one_more(hp: Any, config: Any, num_classes: int) -> keras.Model:
    return good(hp, config, num_classes + 1)


def one_hot_loss(hp: Any, config: Any, num_classes: int) -> keras.Model:
    return _compiled(config, num_classes, "categorical_crossentropy")


def squares(hp: Any, config: Any, num_classes: int) -> keras.Model:
    return _compiled(config, num_classes, keras.losses.MeanSquaredError())


def forgotten(hp: Any, config: Any, num_classes: int) -> keras.Model:
    return _compiled(config, num_classes, "sparse_categorical_crossentropy", None)


def twice(hp: Any, config: Any, num_classes: int) -> keras.Model:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return _compiled(config, num_classes, loss)


def typo(hp: Any, config: Any, num_classes: int) -> keras.Model:
    return keras.Sequentail()


def failing_loss(hp: Any, config: Any, num_classes: int) -> keras.Model:
    def loss(y_true: Any, y_pred: Any) -> Any:
        raise ValueError("no such labels")

    return _compiled(config, num_classes, loss)
