"""What a long node tells while it works.

Progress is logged, with the fields attached to the record: the command line's display is a
logging handler, and where nobody displays (Airflow, Kubeflow) it is a readable line in the log.
"""

import logging
import time
from typing import Any

import keras

from darkroom.components.training import diagnosis

LOGGER = logging.getLogger("darkroom.progress")
_SECONDS_BETWEEN_REPORTS = 0.2
# Many trainings have learnt nothing yet after the first.
_EPOCHS_BEFORE_WORDS = 3


def report(node: str, text: str, fraction: float | None = None) -> None:
    """Says how far a node is.

    Args:
      node: id of the node, such as ``Trainer``.
      text: a few words, such as ``epoch 3/10``.
      fraction: share of the work that is done, from 0 to 1, where known.
    """
    LOGGER.info("%s: %s", node, text, extra={"progress": (node, text, fraction)})


def warn(node: str, text: str) -> None:
    """Says in a sentence what a person will want to know before the node is done."""
    LOGGER.warning("%s: %s", node, text)


class Diagnose(keras.callbacks.Callback):
    """Says what is wrong with a training as soon as its curves show it, each thing once."""

    def __init__(self, node: str, constant_accuracy: float):
        """Reports for ``node``; what is wrong is ``diagnosis.diagnose``'s to say."""
        super().__init__()
        self._node, self._constant_accuracy = node, constant_accuracy
        self._history: dict[str, list[float]] = {}
        self._said: set[str] = set()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        for name, value in (logs or {}).items():
            self._history.setdefault(name, []).append(float(value))
        if len(self._history["loss"]) < _EPOCHS_BEFORE_WORDS:
            return
        found = diagnosis.diagnose(self._history, self._constant_accuracy)
        for rule in found.keys() - self._said:
            warn(self._node, f"after epoch {epoch + 1}: {found[rule]}")
        self._said |= found.keys()


class ReportEpochs(keras.callbacks.Callback):
    """Reports epochs, and batches within them, of a node's ``fit``."""

    def __init__(self, node: str, prefix: str = "", start: float = 0.0, share: float = 1.0):
        """Reports for ``node``; this fit is ``share`` of its work, and begins at ``start``."""
        super().__init__()
        self._node, self._prefix, self._start, self._share = node, prefix, start, share
        self._epoch, self._words, self._last = 0, "", 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch = epoch
        self._report(0.0)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if time.monotonic() - self._last > _SECONDS_BETWEEN_REPORTS:
            self._report((batch + 1) / (self.params.get("steps") or batch + 1))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = logs or {}
        names = [name for name in ("loss", "accuracy", "val_loss", "val_accuracy") if name in logs]
        self._words = ", " + ", ".join(f"{name} {logs[name]:.4f}" for name in names[-2:])
        self._report(1.0)

    def _report(self, share_of_epoch: float) -> None:
        self._last = time.monotonic()
        epochs = self.params["epochs"]
        done = (self._epoch + share_of_epoch) / epochs
        words = f"{self._prefix}epoch {self._epoch + 1}/{epochs}{self._words}"
        report(self._node, words, self._start + self._share * done)
