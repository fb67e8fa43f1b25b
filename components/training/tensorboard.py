"""The curves of a training for TensorBoard."""

import os

import keras
import tensorflow as tf

from darkroom.components.training.model_run import History


class Curves(keras.callbacks.Callback):
    """Writes metrics under the names that Keras's TensorBoard callback gives them.

    That one can't write what an interrupted run had done before, nor count over several fits.
    """

    def __init__(self, folder: str):
        """Writes to the folders ``train`` and ``validation`` below ``folder``."""
        super().__init__()
        self.before = 0  # epochs that were done before the fit
        self._folder = folder
        self._writers: dict[str, tf.summary.SummaryWriter] = {}

    def write(self, history: History, before: int) -> None:
        """Writes epochs that were done, the first of them as number ``before``."""
        # Epoch by epoch: a step that is lower than the one before looks like a restart.
        for epoch, values in enumerate(zip(*history.values(), strict=True), before):
            for name, value in zip(history, values, strict=True):
                self._write(name, value, epoch)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        for name, value in (logs or {}).items():
            self._write(name, float(value), self.before + epoch)
        for writer in self._writers.values():
            writer.flush()

    def _write(self, name: str, value: float, epoch: int) -> None:
        split, tag = place(name)
        if split not in self._writers:
            path = os.path.join(self._folder, split)
            self._writers[split] = tf.summary.create_file_writer(path)
        with self._writers[split].as_default():
            tf.summary.scalar(tag, value, step=epoch)


def place(metric: str) -> tuple[str, str]:
    """The folder below a training's own that holds a metric, and the metric's tag there."""
    split = "validation" if metric.startswith("val_") else "train"
    return split, f"epoch_{metric.removeprefix('val_')}"
