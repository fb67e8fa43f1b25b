"""The time that a training has, where ``training.minutes`` limits it."""

import statistics
import time

import keras

from darkroom.components.base import progress, run_time
from darkroom.components.base.errors import DarkroomError
from darkroom.components.training import dataset

# A forward pass takes about a third of a training step.
_FORWARD = 1 / 3
# Executions that are measured before it is said that an epoch doesn't fit; the first one traces.
_MEASURED = 3


class Clock:
    """Tells how much of a given time has passed."""

    def __init__(self, seconds: float):
        self.seconds, self._began = seconds, time.monotonic()

    @property
    def left(self) -> float:
        """Seconds; below 0 where there are none left."""
        return self.seconds - (time.monotonic() - self._began)

    @property
    def share(self) -> float:
        """How much has passed, 0 to 1."""
        return min(1.0, 1.0 - self.left / self.seconds) if self.seconds > 0 else 1.0

    def part(self, share: float) -> "Clock":
        """A clock for a share of what is left."""
        return Clock(self.left * share)

    def check(self, seconds: float, work: str) -> None:
        """Raises a DarkroomError that says what fits, where ``work`` takes more than is left."""
        if seconds > self.left:
            have, needs = max(self.left, 0) / 60, seconds / 60
            more = needs - self.left / 60
            raise DarkroomError(
                f"training.minutes leaves {have:.1f} minutes for the training, and {work} takes "
                f"about {needs:.1f}. Give the run {more:.1f} minutes more, or make its images "
                "smaller (preprocessing.height and width)."
            )


def of_training(minutes: float, forward: float, evaluated: int, calibrated: int) -> Clock:
    """What is left of a run's minutes, without what comes after the last epoch.

    ``forward`` are the seconds that an image takes, of which Trainer's calibration sees
    ``calibrated``, and the nodes behind it ``evaluated``.
    """
    # Evaluator sees them with this model, and with the one to beat.
    after = run_time.to_come() + forward * (2 * evaluated + calibrated)
    return Clock(minutes * 60 - run_time.passed() - after)


def forward_seconds(model: keras.Model, examples: dataset.Examples, batch_size: int) -> float:
    """Seconds that an image takes from the network's input to its output."""
    images = examples.first(batch_size)
    model.predict_on_batch(images)  # traces
    began = time.perf_counter()
    model.predict_on_batch(images)
    return (time.perf_counter() - began) / len(images)


class KeepTime(keras.callbacks.Callback):
    """Ends a fit so early that its last validation ends in time. Must come first of all."""

    def __init__(self, clock: Clock, steps: int, validation_steps: float, at_least_one: bool):
        """An epoch has ``steps``; its validation as many images as ``validation_steps``.

        ``at_least_one``: it raises a DarkroomError as soon as not even the first epoch fits.
        """
        super().__init__()
        self._clock, self._steps = clock, steps
        self._validation_steps = validation_steps
        self._took: list[float] = []  # seconds per step, of each execution
        self._began = self._tested = 0.0
        self._epoch = self._batch = 0
        self._validation: float | None = None  # seconds
        self._must = at_least_one

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._began, self._batch = time.monotonic(), batch

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        executed = min(self.model.steps_per_execution, self._steps - self._batch)
        self._took.append((time.monotonic() - self._began) / max(executed, 1))
        step = statistics.median(self._took[1:] or self._took)
        validation = self._validation
        if validation is None:
            validation = step * self._validation_steps * _FORWARD
        is_late = self._clock.left < validation + step * executed
        rest = step * (self._steps - self._batch - executed)
        if self._must and rest and (is_late or len(self._took) == _MEASURED):
            self._clock.check(rest + validation, f"the rest of an epoch of {self._steps} steps")
        if is_late and not self.model.stop_training:
            self.model.stop_training = True
            of = f"{self._epoch + 1} of {self.params['epochs']}"
            progress.warn("Trainer", f"training.minutes: this stage ended in epoch {of}")

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        self._tested = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._validation = max(self._validation or 0.0, time.monotonic() - self._tested)
        self._must = False
