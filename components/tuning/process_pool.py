"""The processes that run a search's trials at the same time, under one oracle."""

import contextlib
import itertools
import json
import math
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

import keras_tuner

from darkroom.components.base import progress
from darkroom.components.base.errors import DarkroomError
from darkroom.components.training import devices
from darkroom.components.training.distribution import shared_work
from darkroom.components.tuning.oracles import Durable

_Status = keras_tuner.engine.trial.TrialStatus
_SECONDS_BETWEEN_LOOKS = 0.5
# Below this share of all memory the system starts to swap, or to kill.
_LEAST_FREE = 0.05
# So many in a row that don't even get to a trial: it isn't bad luck.
_FAILED_STARTS = 2


class Worker:
    """A process, and the trial that it runs."""

    def __init__(
        self, worker_id: str, folder: str, threads: int, gpu: int | None, events: "_Events"
    ):
        """Starts it; its answers come as pairs of the worker and a dict, None when it has ended."""
        self.id, self.gpu = worker_id, gpu
        self.trial: Any = None
        self.begin: float | None = None  # of the trial, by the monotonic clock; None: not yet ready
        self.words, self.fraction = "", 0.0  # how far it is
        devices_of_its_own = {}
        if gpu is not None:
            visible = os.environ.get("CUDA_VISIBLE_DEVICES")
            name = visible.split(",")[gpu] if visible else str(gpu)
            devices_of_its_own["CUDA_VISIBLE_DEVICES"] = name
        self._process = subprocess.Popen(
            shared_work.command("darkroom.components.tuning.trial_process", folder, threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **devices_of_its_own},
            encoding="utf-8",
        )
        self.ready = False  # whether it has got so far as to run trials
        threading.Thread(target=self._listen, args=(events,), daemon=True).start()

    def run(self, trial: Any) -> None:
        """Gives it a trial."""
        self.trial, self.words, self.fraction = trial, "", 0.0
        self.begin = time.monotonic() if self.ready else None
        order = {
            "trial_id": trial.trial_id,
            "hyperparameters": trial.hyperparameters.get_config(),
        }
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has just ended, which comes as an event
            print(json.dumps(order), file=self._process.stdin, flush=True)

    def hear(self, answer: dict[str, Any]) -> None:
        """Takes in what it says of itself."""
        if "ready" in answer:
            self.ready, self.begin = True, time.monotonic()
        else:
            self.words, self.fraction = answer["words"], answer["fraction"] or 0.0

    def stop(self) -> None:
        """Ends it at once; what it did up to its last checkpoint stays."""
        self._process.kill()
        self._process.wait()

    def ended(self) -> int:
        """Its exit code; negative: the signal that ended it."""
        return self._process.wait()

    def _listen(self, events: "_Events") -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError):  # it was killed in the middle of a line
            for line in self._process.stdout:
                events.put((self, json.loads(line)))
        events.put((self, None))


_Events = queue.SimpleQueue[tuple[Worker, dict[str, Any] | None]]


class Workers:
    """All workers of a search."""

    def __init__(self, oracle: Durable, folder: str, most: int, gpus: int):
        """Up to ``most`` at the same time, on as many GPUs as there are, or sharing the cores."""
        self._oracle, self._folder = oracle, folder
        self._most, self._gpus = most, gpus
        self._threads = max(1, len(os.sched_getaffinity(0)) // most)
        self._events: _Events = queue.SimpleQueue()
        self._failed_starts = 0
        self.running: list[Worker] = []

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self.running:
            worker.stop()

    def hire(self) -> None:
        """Starts all of them ahead of their trials: they take seconds to load TensorFlow."""
        for _ in range(self._most):
            self._start(self._free_id())

    def run(self, look: Callable[[], None], others: Callable[[], bool]) -> None:
        """Runs trials until the oracle has no more.

        Args:
          look: called from time to time, and whenever a trial has ended.
          others: whether workers on other machines are at work.

        Raises:
          DarkroomError: processes can't even be started.
        """
        while any([self._give_trials(), self._busy(), others()]):
            look()
            self._hear()
            self._watch_memory()
        look()

    def _busy(self) -> bool:
        return any(worker.trial is not None for worker in self.running)

    def _give_trials(self) -> bool:
        """Gives a trial to whoever has none; False once there are no more."""
        while sum(w.trial is not None for w in self.running) < self._most:
            worker = next((w for w in self.running if w.trial is None), None)
            worker_id = worker.id if worker else self._free_id()
            trial = self._oracle.create_trial(worker_id)
            if trial.status != _Status.RUNNING:
                return False
            if worker is None:
                worker = self._start(worker_id)
            worker.run(trial)
        return True

    def _free_id(self) -> str:
        taken = {worker.id for worker in self.running}
        return next(i for i in map("local-{}".format, itertools.count(1)) if i not in taken)

    def _start(self, worker_id: str) -> Worker:
        taken = [worker.gpu for worker in self.running]
        gpu = min(range(self._gpus), key=taken.count, default=None)
        worker = Worker(worker_id, self._folder, self._threads, gpu, self._events)
        self.running.append(worker)
        return worker

    def _hear(self) -> None:
        """Takes in all that workers have said by now, and waits a moment if they said nothing."""
        with contextlib.suppress(queue.Empty):
            self._take(*self._events.get(timeout=_SECONDS_BETWEEN_LOOKS))
            while True:
                self._take(*self._events.get_nowait())

    def _take(self, worker: Worker, answer: dict[str, Any] | None) -> None:
        if worker not in self.running:
            return  # stopped by us, and these are its last words
        if answer is None:
            self._bury(worker)
        elif "status" in answer:
            trial, worker.trial = worker.trial, None
            trial.hyperparameters = keras_tuner.HyperParameters.from_config(
                answer["hyperparameters"]
            )
            if answer["status"] == _Status.COMPLETED:
                self._oracle.update_trial(trial.trial_id, answer["metrics"], step=answer["step"])
            trial.status, trial.message = answer["status"], answer["message"]
            self._oracle.end_trial(trial)
        else:
            if "ready" in answer:
                self._failed_starts = 0
            worker.hear(answer)

    def _bury(self, worker: Worker) -> None:
        """A worker has died: that costs its trial one of two chances, and never the search."""
        busy = sum(w.trial is not None for w in self.running)
        self.running.remove(worker)
        code = worker.ended()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        self._failed_starts += not worker.ready
        if self._failed_starts == _FAILED_STARTS:
            raise DarkroomError(
                f"The processes for trials end before they can run one: the last {how}. The log "
                "has what they said."
            )
        if worker.trial is None:
            return
        words = f"the process of trial {int(worker.trial.trial_id)} {how}"
        if code == -signal.SIGKILL and busy > 1:  # what the system does where memory runs out
            self._most = busy - 1
            words += f", perhaps for want of memory: from now on {self._most} at a time"
        progress.warn("Tuner", words)
        message = f"Its process {how}, twice."
        if code == -signal.SIGKILL:
            message += " If memory is short, lower training.batch_size or tuner.workers."
        self._oracle.lose_trial(worker.trial.trial_id, message)

    def _watch_memory(self) -> None:
        free, total = devices.free_memory()
        busy = [worker for worker in self.running if worker.trial is not None]
        if free > _LEAST_FREE * total or len(busy) < 2:
            return
        youngest = max(busy, key=lambda worker: worker.begin or math.inf)
        self.running.remove(youngest)
        youngest.stop()
        self._oracle.lose_trial(youngest.trial.trial_id, None)
        self._most = len(busy) - 1
        progress.warn(
            "Tuner",
            f"only {free / 2**30:.1f} GiB of memory are left: from now on {self._most} at a time. "
            f"Trial {int(youngest.trial.trial_id)} goes on later.",
        )
