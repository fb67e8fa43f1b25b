"""Losses of a network's logits, for every head, by the name that ``training.loss`` has."""

import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from darkroom.components.base import sections, user_code
from darkroom.components.base.errors import DarkroomError
from darkroom.components.base.sections.training import loss_of, of_other_heads


def of(
    training: sections.Training, head: str
) -> keras.losses.Loss | Callable[..., keras.KerasTensor]:
    """The loss that ``training.loss`` names, for labels and logits as ``model.head`` has them.

    Raises a DarkroomError where it doesn't fit the head.
    """
    name, smoothing = loss_of(training.loss, head), training.label_smoothing
    of_one_class = head == "softmax"
    if misfit := of_other_heads(name, head):
        raise DarkroomError(f"{misfit}.")
    if head == "regression" and "." not in name:
        of_numbers: keras.losses.Loss = getattr(keras.losses, name)()
        return of_numbers
    if name == "crossentropy":
        return (SmoothedCrossentropy if of_one_class else SmoothedBinaryCrossentropy)(smoothing)
    if name == "focal":
        return Focal(of_one_class, training.focal_gamma, smoothing)
    if name == "hinge":
        return Hinge(of_one_class)
    if "." in name:
        return _own(name, of_one_class)
    return OfKeras(name, of_one_class)


class _Smoothed(keras.losses.Loss):
    def __init__(self, label_smoothing: float = 0.0, **options: object):
        super().__init__(**options)
        self.label_smoothing = label_smoothing

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


@keras.saving.register_keras_serializable("darkroom")
class SmoothedCrossentropy(_Smoothed):
    """Cross-entropy of integer labels and logits with label smoothing, which Keras's lacks."""

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """From labels and logits float32 [batch, num_classes] to float32 [batch].

        Labels are int [batch], or shares of classes float32 [batch, num_classes].
        """
        if are_shares(y_true, y_pred):
            exact = keras.losses.categorical_crossentropy(y_true, y_pred, from_logits=True)
        else:
            exact = keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)
        if not self.label_smoothing:
            return exact
        # The smoothed label is a mixture, and so is its cross-entropy.
        spread = -keras.ops.mean(keras.ops.log_softmax(y_pred), axis=-1)
        return (1 - self.label_smoothing) * exact + self.label_smoothing * spread


@keras.saving.register_keras_serializable("darkroom")
class SmoothedBinaryCrossentropy(_Smoothed):
    """Cross-entropy of yes or no to each class, which weights can tell apart; Keras's is a mean."""

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """From labels 0 or 1, [batch, outputs] or [batch], and logits to the logits' shape."""
        y_true = _answers(y_true, y_pred) * (1 - self.label_smoothing) + 0.5 * self.label_smoothing
        return keras.ops.softplus(y_pred) - y_true * y_pred


@keras.saving.register_keras_serializable("darkroom")
class Focal(_Smoothed):
    """Cross-entropy of which little is left where the answer is right anyway (Lin et al. 2017).

    Each class's, or each answer's, is multiplied with (1 - p)^gamma, where p is its score.
    """

    def __init__(
        self,
        of_one_class: bool,
        gamma: float = 2.0,
        label_smoothing: float = 0.0,
        **options: object,
    ):
        super().__init__(label_smoothing, **options)
        self.of_one_class, self.gamma = of_one_class, gamma

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """From labels and logits as the cross-entropies above have them to the same as they do."""
        smoothing = self.label_smoothing
        if self.of_one_class:
            classes = y_pred.shape[-1]
            shares = _shares(y_true, y_pred) * (1 - smoothing) + smoothing / classes
            return keras.ops.sum(shares * self._of(keras.ops.log_softmax(y_pred)), axis=-1)
        yes = _answers(y_true, y_pred) * (1 - smoothing) + 0.5 * smoothing
        log_yes, log_no = keras.ops.log_sigmoid(y_pred), keras.ops.log_sigmoid(-y_pred)
        return yes * self._of(log_yes) + (1 - yes) * self._of(log_no)

    def _of(self, log_score: keras.KerasTensor) -> keras.KerasTensor:
        return -((1 - keras.ops.exp(log_score)) ** self.gamma) * log_score

    def get_config(self) -> dict[str, object]:
        own = {"of_one_class": self.of_one_class, "gamma": self.gamma}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("darkroom")
class Hinge(keras.losses.Loss):
    """How far the right class's logit is from being 1 above all others; or an answer's from 0."""

    def __init__(self, of_one_class: bool, **options: object):
        super().__init__(**options)
        self.of_one_class = of_one_class

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """From labels and logits as the cross-entropies above have them to the same as they do."""
        if self.of_one_class:
            return keras.losses.categorical_hinge(_shares(y_true, y_pred), y_pred)
        signs = 2 * _answers(y_true, y_pred) - 1
        return keras.ops.relu(1 - signs * y_pred)

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "of_one_class": self.of_one_class}


@keras.saving.register_keras_serializable("darkroom")
class OfKeras(keras.losses.Loss):
    """A loss of Keras by its class's name, of the labels and scores, or logits, that it wants."""

    def __init__(self, kind: str, of_one_class: bool, **options: object):
        super().__init__(**options)
        self.kind, self.of_one_class = kind, of_one_class
        loss = getattr(keras.losses, kind)
        of_logits = {"from_logits": True} if _takes(loss, "from_logits") else {}
        self._takes_logits = bool(of_logits) or kind.endswith("Hinge")
        self._loss = loss(**of_logits, reduction=None)

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """From labels and logits as the cross-entropies above have them to the same as they do."""
        scores = y_pred
        if not self._takes_logits:
            scores = (keras.ops.softmax if self.of_one_class else keras.ops.sigmoid)(y_pred)
        if self.of_one_class:
            return self._loss(_shares(y_true, y_pred), scores)
        # Of each answer for itself: Keras takes the mean over the last axis.
        answers = keras.ops.expand_dims(_answers(y_true, y_pred), -1)
        return self._loss(answers, keras.ops.expand_dims(scores, -1))

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "kind": self.kind, "of_one_class": self.of_one_class}


def _own(path: str, of_one_class: bool) -> keras.losses.Loss | Callable[..., keras.KerasTensor]:
    """A user's function of labels and logits, or class of Keras's losses, tried on two images."""
    who = f"training.loss: {path}"
    found = user_code.resolve(path, "training.loss")
    loss = user_code.call(found, who) if isinstance(found, type) else found
    logits = tf.constant([[0.5, -1.0, 0.0], [2.0, 0.0, 1.0]])
    labels = tf.constant([0, 1] if of_one_class else [[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    values = user_code.call(loss, who, labels, logits)
    try:
        finite = bool(np.all(np.isfinite(np.asarray(values, np.float32))))
    except (TypeError, ValueError):
        finite = False
    if not finite:
        raise DarkroomError(
            f"{who}: expected finite numbers of labels {labels.shape} and logits {logits.shape}, "
            f"received {values!r}."
        )
    return loss  # type: ignore[no-any-return]  # checked to give numbers


def are_shares(y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> bool:
    """Whether labels say of each class how much of it there is, as mixed images have it."""
    return len(y_true.shape) == 2 and y_true.shape[-1] == y_pred.shape[-1] != 1


def _shares(y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
    """Labels of one class as shares of all, float32 [batch, num_classes]."""
    if are_shares(y_true, y_pred):
        return keras.ops.cast(y_true, y_pred.dtype)
    flat = keras.ops.reshape(y_true, (-1,))
    return keras.ops.one_hot(keras.ops.cast(flat, "int32"), y_pred.shape[-1], dtype=y_pred.dtype)


def _answers(y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
    """Yes or no to each output, in the logits' shape."""
    return keras.ops.cast(keras.ops.reshape(y_true, keras.ops.shape(y_pred)), y_pred.dtype)


def _takes(function: Callable[..., Any], name: str) -> bool:
    return name in inspect.signature(function).parameters
