"""Fitting a model: the same in the Trainer node and in every trial of the Tuner."""

import math
from types import SimpleNamespace
from typing import Any

import keras
import tensorflow as tf
import tensorflow_transform as tft

from components import augmentation, dataset, features
from components.errors import DarkroomError


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
      config: the ``training`` and ``augmentation`` sections are used.
      train, validation: made by ``dataset.preprocessed``.
      callbacks: added to early stopping.
      epochs: instead of ``training.epochs``.

    Returns:
      The metrics by name, one number per epoch, as in ``keras.callbacks.History.history``.
    """
    training = config.training
    steps = training.steps_per_epoch
    batches = dataset.batches(train, training.batch_size, shuffle_seed=training.seed)
    batches = augmentation.augment(batches, config.augmentation, training.seed)
    if steps is not None:
        batches = batches.repeat()
    if training.patience is not None:
        stopping = keras.callbacks.EarlyStopping(
            patience=training.patience, min_delta=training.min_delta, restore_best_weights=True
        )
        callbacks = [stopping, *callbacks]
    epochs = epochs or training.epochs
    if training.schedule != "constant" or training.warmup_epochs:
        scheduler = keras.callbacks.LearningRateScheduler(
            lambda epoch: learning_rate(training, epoch, epochs)
        )
        callbacks = [scheduler, *callbacks]
    callbacks = [StopAtNaN(), *callbacks]
    fitted = model.fit(
        batches,
        epochs=epochs,
        steps_per_epoch=steps,
        validation_data=dataset.batches(validation, max(training.batch_size, 256)),
        callbacks=callbacks,
        class_weight=_balanced(train) if training.class_weights == "balanced" else None,
        verbose=2,
    )
    history: dict[str, list[Any]] = fitted.history
    return {name: [float(value) for value in values] for name, values in history.items()}


def learning_rate(training: SimpleNamespace, epoch: int, epochs: int) -> float:
    """The step size of an epoch.

    Args:
      training: the section.
      epoch: from 0.
      epochs: of the whole training.
    """
    peak, decay = float(training.learning_rate), float(training.decay)
    if epoch < training.warmup_epochs:
        return peak * float((epoch + 1) / (training.warmup_epochs + 1))
    epoch, epochs = epoch - training.warmup_epochs, max(1, epochs - training.warmup_epochs)
    if training.schedule == "cosine":
        return peak * 0.5 * (1 + math.cos(math.pi * epoch / epochs))
    if training.schedule == "step":
        return peak * math.pow(decay, epoch // training.decay_epochs)
    if training.schedule == "exponential":
        return peak * math.pow(decay, epoch / training.decay_epochs)
    return peak


def _balanced(train: tf.data.Dataset) -> dict[int, float]:
    """A weight for each class: all classes weigh the same together, and images 1 on average."""
    counts = dataset.class_counts(train)
    total = sum(counts.values())
    return {label: total / (len(counts) * count) for label, count in sorted(counts.items())}


class Diverged(DarkroomError):
    """The loss is no number any more."""


class StopAtNaN(keras.callbacks.Callback):
    """Ends a training whose loss is no number any more, and says where."""

    def __init__(self) -> None:
        super().__init__()
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            rate = float(self.model.optimizer.learning_rate)
            raise Diverged(
                f"The loss is {loss} by step {batch + 1} of epoch {self._epoch + 1}, at a learning "
                f"rate of {rate:.3g}. Try a tenth of training.learning_rate."
            )


def class_names(transform: tft.TFTransformOutput) -> list[str]:
    """The label vocabulary, in the order of the model's outputs."""
    vocabulary = transform.vocabulary_by_name(features.LABEL_VOCABULARY)
    return [name.decode("utf-8") for name in vocabulary]
