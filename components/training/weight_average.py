"""A moving average of the weights, which is better than where they happen to be."""

import math
from collections.abc import Sequence

import keras
import numpy as np


class AverageWeights(keras.callbacks.Callback):
    """Puts the average in the place of the weights wherever they are judged or kept.

    From the begin of a validation to that of the next epoch the model has the average.
    """

    def __init__(self, window: float):
        """Averages over about ``window`` steps."""
        super().__init__()
        self.trained: Sequence[
            np.ndarray
        ] = ()  # the weights themselves, while the average is there
        self._average: list[np.ndarray] = []
        self._window, self._done = window, 0

    def resume(self, trained: Sequence[np.ndarray]) -> None:
        """Goes on where the model has the average; ``trained`` are the weights."""
        self.trained, self._average = trained, self._weights()
        self._done = self._steps()

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self._done = self._steps()

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if self.trained:
            self._put(self.trained)
            self.trained = ()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        steps, weights = self._steps(), self._weights()
        passed, self._done = steps - self._done, steps
        # At first the plain mean, lest the initial weights count.
        share = max(1 - math.exp(-passed / self._window), passed / max(steps, 1))
        self._average = self._average or weights
        for average, value in zip(self._average, weights, strict=True):
            average += share * (value - average)

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        if self._average and not self.trained:
            self.trained = self._weights()
            self._put(self._average)

    def _steps(self) -> int:
        return int(self.model.optimizer.iterations.numpy())

    def _weights(self) -> list[np.ndarray]:
        return [variable.numpy().copy() for variable in self.model.trainable_variables]

    def _put(self, values: Sequence[np.ndarray]) -> None:
        for variable, value in zip(self.model.trainable_variables, values, strict=True):
            variable.assign(value)
