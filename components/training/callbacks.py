"""Keras callbacks by which a training reports how far it is, its curves, and what is wrong."""

import os
import time
from collections.abc import Callable, Mapping

import keras
import tensorflow as tf

from darkroom.components.base import progress
from darkroom.components.training.clock import Clock
from darkroom.components.training.model_run import History

_SECONDS_BETWEEN_REPORTS = 0.2
# Many trainings have learnt nothing yet after the first epochs.
_EPOCHS_BEFORE_DIAGNOSIS = 3

Logs = Mapping[str, float]  # metrics by name, as Keras gives them


class ReportEpochs(keras.callbacks.Callback):
    """Reports epochs, and batches within them, of a node's ``fit``."""

    def __init__(
        self,
        node: str,
        prefix: str = "",
        start: float = 0.0,
        share: float = 1.0,
        clock: Clock | None = None,
    ):
        """Reports for ``node``; this fit is ``share`` of its work (0 to 1), from ``start`` on.

        With a ``clock`` it may end before its last epoch.
        """
        super().__init__()
        self._clock = clock
        self._node, self._prefix, self._start, self._share = node, prefix, start, share
        self._epoch, self._metrics, self._last_report = 0, "", 0.0

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch = epoch
        self._report(0.0)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if time.monotonic() - self._last_report > _SECONDS_BETWEEN_REPORTS:
            self._report((batch + 1) / (self.params.get("steps") or batch + 1))

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        logs = logs or {}
        of_train = ("loss", "accuracy", "mae")
        of_eval = map("val_{}".format, of_train)
        names = [name for name in (*of_train, *of_eval) if name in logs]
        self._metrics = ", " + ", ".join(f"{name} {logs[name]:.4f}" for name in names[-2:])
        self._report(1.0)

    def _report(self, share_of_epoch: float) -> None:
        self._last_report = time.monotonic()
        epochs = self.params["epochs"]
        done = (self._epoch + share_of_epoch) / epochs
        if self._clock is not None:
            done = max(done, self._clock.share)
        text = f"{self._prefix}epoch {self._epoch + 1}/{epochs}{self._metrics}"
        progress.report(self._node, text, self._start + self._share * done)


class Diagnose(keras.callbacks.Callback):
    """Warns of what is wrong with a training as soon as its curves show it, each thing once."""

    def __init__(self, node: str, diagnose: Callable[[dict[str, list[float]]], Mapping[str, str]]):
        """Warns for ``node`` what ``diagnose`` says of the metrics so far, a sentence for each."""
        super().__init__()
        self._node, self._diagnose = node, diagnose
        self._history: dict[str, list[float]] = {}
        self._reported: set[str] = set()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        for name, value in (logs or {}).items():
            self._history.setdefault(name, []).append(float(value))
        if len(self._history["loss"]) < _EPOCHS_BEFORE_DIAGNOSIS:
            return
        sentences = self._diagnose(self._history)
        for problem in sentences.keys() - self._reported:
            progress.warn(self._node, f"after epoch {epoch + 1}: {sentences[problem]}")
        self._reported |= sentences.keys()


class Curves(keras.callbacks.Callback):
    """Writes metrics as Keras's TensorBoard callback does, which counts no epochs done before."""

    def __init__(self, folder: str):
        """Writes to the folders ``train`` and ``validation`` below ``folder``."""
        super().__init__()
        self.before = 0  # epochs that were done before the fit
        self._folder = folder
        self._writers: dict[str, tf.summary.SummaryWriter] = {}

    def write(self, history: History, before: int) -> None:
        """Writes the epochs of a history, the first of them as number ``before``."""
        # Epoch by epoch: a step that is lower than the one before looks like a restart.
        for epoch, values in enumerate(zip(*history.values(), strict=True), before):
            self._write(epoch, dict(zip(history, values, strict=True)))

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._write(self.before + epoch, logs or {})

    def _write(self, epoch: int, logs: Logs) -> None:
        for name, value in logs.items():
            split, tag = place(name)
            if split not in self._writers:
                path = os.path.join(self._folder, split)
                self._writers[split] = tf.summary.create_file_writer(path)
            with self._writers[split].as_default():
                tf.summary.scalar(tag, float(value), step=epoch)
        for writer in self._writers.values():
            writer.flush()


def place(metric: str) -> tuple[str, str]:
    """The folder below a training's own that holds a metric, and the metric's tag there."""
    split = "validation" if metric.startswith("val_") else "train"
    return split, f"epoch_{metric.removeprefix('val_')}"
