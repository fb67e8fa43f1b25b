"""Fitting a model: the same in the Trainer node and in every trial of the Tuner."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from darkroom.components.base import examples as base_examples
from darkroom.components.base import sections
from darkroom.components.base.errors import DarkroomError, closest
from darkroom.components.base.settings import NetworkSettings
from darkroom.components.networks import layers
from darkroom.components.training import augmentation, checkpoint, dataset
from darkroom.components.training.batch_normalization import AverageAnew
from darkroom.components.training.clock import Clock, KeepTime
from darkroom.components.training.distribution import replicas
from darkroom.components.training.weight_average import AverageWeights

_WHITENED = 5000 * 32**2  # pixels of images of which a stem's filters are made
# Values of the configuration that keep the learning rate of a short fit constant.
CONSTANT_RATE = {"training.schedule": "constant", "training.warmup_epochs": 0}


class Fitted(NamedTuple):
    """What a fit came to."""

    history: dict[str, list[float]]  # metrics by name, a number per epoch, as in Keras's History
    epoch: int  # from 0: the one whose weights the model has now


def fit(
    model: keras.Model,
    config: NetworkSettings,
    train: dataset.Examples,
    validation: dataset.Examples,
    callbacks: list[keras.callbacks.Callback],
    augmented: bool = True,
    keep: Callable[[keras.callbacks.EarlyStopping], checkpoint.Keep] | None = None,
    until: int | None = None,
    clock: Clock | None = None,
    classes: Sequence[str] = (),
) -> Fitted:
    """Fits a compiled model on preprocessed examples, with early stopping.

    ``callbacks`` are added to those of any fit, ``keep`` makes its ``checkpoint.Keep``; it stops
    after ``until`` epochs, and in the time of ``clock``, by which the learning rate falls, too.
    ``classes`` are those of the labels, by which ``training.class_weights`` may name them.
    Raises Diverged, or DarkroomError where batch, schedule or time don't fit.
    """
    training = config.training
    _check(model, training, len(train))
    _adapt(model, train)
    shares = replicas.shares(model.distribute_strategy)
    options = train, training.batch_size, training.seed, training.steps_per_epoch
    feeds = [dataset.Feed(*options, share) for share in shares]

    def tell_feeds(epoch: int, logs: dict[str, float]) -> None:
        for feed in feeds:  # Keras asks for an iterator after that
            feed.epoch = epoch

    stopping = keras.callbacks.EarlyStopping(
        monitor=training.monitor,
        mode="max" if training.monitor == "val_accuracy" else "min",
        patience=training.patience or training.epochs,
        min_delta=training.min_delta,
        restore_best_weights=training.export_epoch == "best",
    )
    before = [
        StopAtNaN(),
        keras.callbacks.LambdaCallback(on_epoch_begin=tell_feeds),
        AverageAnew(train, training.batch_size, shares, training.seed),
        stopping,
    ]
    kept = keep(stopping) if keep else None
    state = kept.state if kept else None
    first = state.epoch if state else 0
    if _is_scheduled(training):
        before.append(Schedule(training, feeds[0].steps, first, clock))
    if training.average_epochs:
        average = AverageWeights(training.average_epochs * feeds[0].steps)
        before.insert(0, average)
        if kept:
            kept.average = average
    if clock:
        validation_steps = len(validation) / training.batch_size
        begins = state is None and not (kept and kept.goes_on)
        before.insert(0, KeepTime(clock, feeds[0].steps, validation_steps, at_least_one=begins))
    changes = config.augmentation if augmented else None
    weigh = _weights(train, training.class_weights, classes)
    history = replicas.fit(
        model,
        [_changed(feed, weigh, changes, config, model.output_shape[-1]) for feed in feeds],
        [dataset.batches(validation, max(training.batch_size, 256), share) for share in shares],
        range(first, first if state and state.over else until or training.epochs),
        training.steps_per_epoch,
        [*before, *callbacks, *([kept] if kept else [])],
    )
    if kept and kept.state:
        history = kept.state.history
    history = {name: [float(value) for value in values] for name, values in history.items()}
    last = len(history["loss"]) - 1
    return Fitted(history, stopping.best_epoch if training.export_epoch == "best" else last)


def _check(model: keras.Model, training: sections.Training, examples: int) -> None:
    base_examples.check_batch(training.batch_size, examples)
    if _is_scheduled(training) and not hasattr(model.optimizer.learning_rate, "assign"):
        raise DarkroomError(
            f"training.schedule is {training.schedule}, and the optimizer of the model has a "
            "schedule of its own. Set schedule to constant and warmup_epochs to 0, or give the "
            "optimizer a number as its learning rate."
        )


def _adapt(model: keras.Model, train: dataset.Examples) -> None:
    """Makes the filters of a network that begins with some that aren't learnt."""
    for part in (model, *(layer for layer in model.layers if isinstance(layer, keras.Model))):
        for layer in part.layers:
            if isinstance(layer, layers.Whitening):
                pixels = math.prod(train.first(1).shape[1:3])
                first = train.first(math.ceil(_WHITENED / pixels))
                layer.adapt(keras.Model(part.inputs, layer.input)(first).numpy())


def as_loss(fitted: Fitted, training: sections.Training) -> float:
    """What ``training.monitor`` reached, as a loss: the lower, the better."""
    value = fitted.history[training.monitor][fitted.epoch]
    return -value if training.monitor == "val_accuracy" else value


def _is_scheduled(training: sections.Training) -> bool:
    return training.schedule != "constant" or bool(training.warmup_epochs)


def learning_rate(training: sections.Training, epoch: float) -> float:
    """The learning rate of an epoch, which counts from 0; of one_cycle within an epoch too."""
    peak, decay = float(training.learning_rate), float(training.decay)
    if training.schedule == "one_cycle":
        top = training.warmup_epochs or training.epochs / 4
        return peak * min(epoch / top, (training.epochs - epoch) / (training.epochs - top))
    if epoch < training.warmup_epochs:
        return peak * float((epoch + 1) / (training.warmup_epochs + 1))
    epochs = max(1, training.epochs - training.warmup_epochs)
    epoch -= training.warmup_epochs
    if training.schedule == "cosine":
        return peak * 0.5 * (1 + math.cos(math.pi * epoch / epochs))
    if training.schedule == "step":
        return peak * math.pow(decay, epoch // training.decay_epochs)
    if training.schedule == "exponential":
        return peak * math.pow(decay, epoch / training.decay_epochs)
    return peak


def _changed(
    feed: dataset.Feed,
    weigh: Callable[[tf.Tensor], tf.Tensor] | None,
    changes: sections.Augmentation | None,
    config: NetworkSettings,
    outputs: int,
) -> tf.data.Dataset:
    share, training = feed.share, config.training
    options = changes, training.seed, config.model.image_size, outputs
    if weigh is None and share.of == 1:
        return augmentation.augment(feed.batches(), *options)

    def prepare(step: tf.Tensor, inputs: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, ...]:
        # Each replica changes its images otherwise, as if they were of another step.
        step = step * share.of + share.number
        return step, inputs, labels if weigh is None else (labels, weigh(labels))

    changed = augmentation.augment(feed.batches().map(prepare), *options)
    return changed.map(lambda inputs, weighed: (inputs, *weighed)) if weigh else changed


def _weights(
    train: dataset.Examples, of: str | dict[str, float], classes: Sequence[str]
) -> Callable[[tf.Tensor], tf.Tensor] | None:
    """Makes float32 weights of labels; None: all weigh the same."""
    if of == "none":
        return None
    if isinstance(of, str):
        return _balanced(train)
    if unknown := sorted(of.keys() - set(classes)):
        raise DarkroomError(
            f"training.class_weights: there is no class {unknown[0]!r}; the train split has "
            f"{', '.join(classes)}.{closest(unknown[0], list(classes))}"
        )
    of_class = tf.constant([of.get(name, 1.0) for name in classes], tf.float32)
    if train.labels.ndim == 1:
        return lambda labels: tf.gather(of_class, labels)
    return lambda labels: tf.broadcast_to(of_class, tf.shape(labels))


def _balanced(train: dataset.Examples) -> Callable[[tf.Tensor], tf.Tensor]:
    """Of classes, or of a label's yes and no, which weigh the same in all then."""
    counts = np.array([count for _, count in sorted(train.counts().items())])
    if train.labels.ndim == 1:
        of_class = np.zeros(max(train.counts()) + 1, np.float32)
        of_class[sorted(train.counts())] = len(train) / (len(counts) * counts)
        return lambda labels: tf.gather(tf.constant(of_class), labels)
    no = len(train) - counts
    of_no, of_yes = (len(train) / (2 * np.maximum([no, counts], 1))).astype("float32").tolist()
    return lambda labels: tf.where(labels > 0, tf.constant(of_yes), tf.constant(of_no))


class Schedule(keras.callbacks.Callback):
    """Sets the learning rate: before each epoch, or where that is said, before each execution."""

    def __init__(
        self, training: sections.Training, steps: int, first: int = 0, clock: Clock | None = None
    ):
        """``steps``: in an epoch; ``first``: the epoch with which the time of ``clock`` begins."""
        super().__init__()
        self._training, self._steps, self._first, self._clock = training, steps, first, clock
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._epoch = epoch
        self._set(epoch)

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if self._clock is None and self._training.schedule != "one_cycle":
            return  # an execution is one batch, or several
        middle = batch + min(self.model.steps_per_execution, self._steps - batch) / 2
        self._set(self._epoch + middle / self._steps)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if logs is not None:
            rate = self.model.optimizer.learning_rate
            logs["learning_rate"] = float(tf.convert_to_tensor(rate))

    def _set(self, epoch: float) -> None:
        if self._clock is not None:  # whatever ends first, the schedule ends with it
            by_time = self._first + self._clock.share * (self._training.epochs - self._first)
            epoch = max(epoch, by_time)
        self.model.optimizer.learning_rate.assign(learning_rate(self._training, epoch))


class Diverged(DarkroomError):
    """The loss is no number any more."""


class StopAtNaN(keras.callbacks.Callback):
    """Ends a training whose loss is no number any more, and says where."""

    _epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            # Under a strategy it is a variable of several replicas, which is no number by itself.
            rate = float(tf.convert_to_tensor(self.model.optimizer.learning_rate))
            raise Diverged(
                f"The loss is {loss} by step {batch + 1} of epoch {self._epoch + 1}, at a learning "
                f"rate of {rate:.3g}. Try a tenth of training.learning_rate."
            )
