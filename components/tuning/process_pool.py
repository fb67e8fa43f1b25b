"""The processes that run a search's trials at the same time, under one oracle."""

import contextlib
import itertools
import json
import math
import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from typing import TextIO

import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus
from typing_extensions import Self

from darkroom.components.base import progress
from darkroom.components.base.errors import DarkroomError
from darkroom.components.training import devices
from darkroom.components.training.distribution import shared_work
from darkroom.components.tuning.messages import Order, Progress
from darkroom.components.tuning.oracles import Durable
from darkroom.components.tuning.trial import Folder

_SECONDS_BETWEEN_LOOKS = 0.5
_LEAST_FREE = 0.05  # share of all memory; with less free the system starts to swap, or to kill
# Processes in a row that end before their first trial, after which it isn't bad luck.
_FAILED_STARTS = 2


class TrialProcess:
    """A process, and the trial that it runs."""

    def __init__(
        self, process_id: str, folder: str, threads: int, gpu: int | None, events: "_Events"
    ):
        """Starts it; ``events`` gets pairs of this object and an answer, or None at its end."""
        self.id, self.gpu = process_id, gpu
        self.trial: Trial | None = None
        self.begin: float | None = None  # of the trial, by the monotonic clock; None: not yet ready
        self.ready = False  # whether it has got so far as to run trials
        self.words, self.fraction = "", 0.0  # how far it is
        environment = dict(os.environ)
        if gpu is not None:
            visible = os.environ.get("CUDA_VISIBLE_DEVICES")
            environment["CUDA_VISIBLE_DEVICES"] = visible.split(",")[gpu] if visible else str(gpu)
        orders, self._orders = _pipe()
        self._answers, answers = _pipe()
        with orders, answers:
            self._process = shared_work.start(
                "darkroom.components.tuning.trial_process", folder, threads,
                environment=environment, stdin=orders.fileno(), stdout=answers.fileno(),
            )  # fmt: skip
        threading.Thread(target=self._listen, args=(events,), daemon=True).start()

    def run(self, trial: Trial) -> None:
        self.trial, self.words, self.fraction = trial, "", 0.0
        self.begin = time.monotonic() if self.ready else None
        order = Order(trial.trial_id, trial.hyperparameters.get_config())
        with contextlib.suppress(BrokenPipeError):  # it has just ended, which comes as an event
            print(json.dumps(order), file=self._orders, flush=True)

    def hear(self, answer: Progress) -> None:
        if not self.ready:
            self.ready, self.begin = True, time.monotonic()
        self.words, self.fraction = answer.words, answer.fraction or 0.0

    def stop(self) -> None:
        """Ends it at once; what it did up to its last checkpoint stays."""
        self._process.kill()
        self.exit_code()

    def exit_code(self) -> int:
        """Exit code of the ended process; negative: the signal that ended it."""
        with contextlib.suppress(BrokenPipeError):
            self._orders.close()
        return self._process.wait()

    def _listen(self, events: "_Events") -> None:
        # A process that is killed may leave half a line.
        with self._answers, contextlib.suppress(ValueError):
            for line in self._answers:
                events.put((self, Progress(*json.loads(line))))
        events.put((self, None))


def _pipe() -> tuple[TextIO, TextIO]:
    """A pipe's end to read from, and its end to write to."""
    reads, writes = os.pipe()
    return open(reads, encoding="utf-8"), open(writes, "w", encoding="utf-8")


_Events = queue.SimpleQueue[tuple[TrialProcess, Progress | None]]


class ProcessPool:
    """All trial processes of a search on this machine."""

    def __init__(self, oracle: Durable, folder: str, most: int, gpus: int):
        """Runs up to ``most`` processes at once, spread over the GPUs, or sharing the cores."""
        self._oracle, self._folder = oracle, folder
        self._most, self._gpus = most, gpus
        self._threads = max(1, len(os.sched_getaffinity(0)) // most)
        self._events: _Events = queue.SimpleQueue()
        self._failed_starts = 0
        self._processes: list[TrialProcess] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._processes:
            process.stop()

    @property
    def busy(self) -> list[tuple[TrialProcess, Trial]]:
        """The processes that run a trial, each with its trial."""
        return [(each, each.trial) for each in self._processes if each.trial is not None]

    def start(self) -> None:
        """Starts all of them ahead of their trials: they take seconds to load TensorFlow."""
        for _ in range(self._most):
            self._start(self._free_id())

    def run(self, look: Callable[[], None], remote_at_work: Callable[[], bool]) -> None:
        """Runs trials until the oracle has no more and other machines run none.

        Calls ``look`` every half second, and when a trial has ended. Raises a DarkroomError where
        processes end before they can run a trial.
        """
        while any([self._give_trials(), self.busy, remote_at_work()]):
            look()
            self._hear()
            self._watch_memory()
        look()

    def _give_trials(self) -> bool:
        """Gives a trial to each process that has none; False once there are no more."""
        while len(self.busy) < self._most:
            process = next((p for p in self._processes if p.trial is None), None)
            process_id = process.id if process else self._free_id()
            trial = self._oracle.create_trial(process_id)
            if trial.status != TrialStatus.RUNNING:
                return False
            (process or self._start(process_id)).run(trial)
        return True

    def _free_id(self) -> str:
        taken = {process.id for process in self._processes}
        return next(i for i in map("local-{}".format, itertools.count(1)) if i not in taken)

    def _start(self, process_id: str) -> TrialProcess:
        taken = [process.gpu for process in self._processes]
        gpu = min(range(self._gpus), key=taken.count, default=None)
        process = TrialProcess(process_id, self._folder, self._threads, gpu, self._events)
        self._processes.append(process)
        return process

    def _hear(self) -> None:
        """Takes in all answers that came by now, and waits a moment if there are none."""
        with contextlib.suppress(queue.Empty):
            self._take(*self._events.get(timeout=_SECONDS_BETWEEN_LOOKS))
            while True:
                self._take(*self._events.get_nowait())

    def _take(self, process: TrialProcess, answer: Progress | None) -> None:
        if process not in self._processes:
            return  # stopped by us, and these are its last words
        if answer is None:
            self._lose(process)
        elif answer.ended:
            self._end_trial(process)
        else:
            self._failed_starts = 0
            process.hear(answer)

    def _end_trial(self, process: TrialProcess) -> None:
        trial, process.trial = process.trial, None
        assert trial is not None
        result = Folder(self._folder, trial.trial_id).read()
        assert result is not None
        if result.hyperparameters is not None:  # with those that the model asked for
            values = keras_tuner.HyperParameters.from_config(result.hyperparameters)
            trial.hyperparameters = values
        if result.status == TrialStatus.COMPLETED:
            self._oracle.update_trial(trial.trial_id, result.metrics, step=result.step)
        trial.status, trial.message = result.status, result.message
        self._oracle.end_trial(trial)

    def _lose(self, process: TrialProcess) -> None:
        """A process has died: that costs its trial one of two chances, and never the search."""
        busy = len(self.busy)
        self._processes.remove(process)
        code = process.exit_code()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        self._failed_starts += not process.ready
        if self._failed_starts == _FAILED_STARTS:
            raise DarkroomError(
                f"The processes for trials end before they can run one: the last {how}. The log "
                "has what they said."
            )
        if process.trial is None:
            return
        words = f"the process of trial {int(process.trial.trial_id)} {how}"
        if code == -signal.SIGKILL and busy > 1:  # what the system does where memory runs out
            self._most = busy - 1
            words += f", perhaps for want of memory: from now on {self._most} at a time"
        progress.warn("Tuner", words)
        message = f"Its process {how}, twice."
        if code == -signal.SIGKILL:
            message += " If memory is short, lower training.batch_size or tuner.workers."
        self._oracle.lose_trial(process.trial.trial_id, message)

    def _watch_memory(self) -> None:
        free, total = devices.free_memory()
        busy = self.busy
        if free > _LEAST_FREE * total or len(busy) < 2:
            return
        youngest, trial = max(busy, key=lambda pair: pair[0].begin or math.inf)
        self._processes.remove(youngest)
        youngest.stop()
        self._oracle.lose_trial(trial.trial_id, None)
        self._most = len(busy) - 1
        progress.warn(
            "Tuner",
            f"only {free / 2**30:.1f} GiB of memory are left: from now on {self._most} at a time. "
            f"Trial {int(trial.trial_id)} goes on later.",
        )
