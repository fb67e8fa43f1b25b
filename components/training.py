"""Fitting a model: the same in the Trainer node and in every trial of the Tuner."""

import math
from types import SimpleNamespace
from typing import Any

import keras
import tensorflow as tf
import tensorflow_transform as tft

from components import dataset, features


def fit(
    model: keras.Model,
    config: SimpleNamespace,
    train: tf.data.Dataset,
    validation: tf.data.Dataset,
    callbacks: list[keras.callbacks.Callback],
    epochs: int | None = None,
) -> dict[str, list[float]]:
    """Fits a model on preprocessed examples.

    Args:
      model: compiled.
      config: the ``training`` section is used.
      train, validation: made by ``dataset.preprocessed``.
      callbacks: added to early stopping.
      epochs: instead of ``training.epochs``.

    Returns:
      The metrics by name, one number per epoch, as in ``keras.callbacks.History.history``.
    """
    training = config.training
    steps = training.steps_per_epoch
    batches = dataset.batches(train, training.batch_size, shuffle_seed=training.seed)
    if steps is not None:
        batches = batches.repeat()
    if training.patience is not None:
        stopping = keras.callbacks.EarlyStopping(
            patience=training.patience, restore_best_weights=True
        )
        callbacks = [stopping, *callbacks]
    epochs = epochs or training.epochs
    if training.schedule == "cosine":
        callbacks = [_cosine(training.learning_rate, epochs), *callbacks]
    fitted = model.fit(
        batches,
        epochs=epochs,
        steps_per_epoch=steps,
        validation_data=dataset.batches(validation, max(training.batch_size, 256)),
        callbacks=callbacks,
        verbose=2,
    )
    history: dict[str, list[Any]] = fitted.history
    return {name: [float(value) for value in values] for name, values in history.items()}


def _cosine(learning_rate: float, epochs: int) -> keras.callbacks.Callback:
    return keras.callbacks.LearningRateScheduler(
        lambda epoch: learning_rate * 0.5 * (1 + math.cos(math.pi * epoch / epochs))
    )


def class_names(transform: tft.TFTransformOutput) -> list[str]:
    """The label vocabulary, in the order of the model's outputs."""
    vocabulary = transform.vocabulary_by_name(features.LABEL_VOCABULARY)
    return [name.decode("utf-8") for name in vocabulary]
