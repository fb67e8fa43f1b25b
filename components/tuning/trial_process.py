"""A process that runs trials of a search, one after the other, until its orders end.

``darkroom.components.tuning.process_pool`` starts it on the search's own machine; on others
``darkroom.components.tuning.remote_trials`` runs trials in the same way.
"""

import logging
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from darkroom.components.tuning import messages
from darkroom.components.tuning.messages import SearchFile
from darkroom.serving import imports

if TYPE_CHECKING:
    from darkroom.components.tuning.trial import Trials


def main(folder: str, threads: int | None = None) -> None:
    """Runs what the standard input orders, a line each; answers on the standard output.

    Args:
      folder: of the search.
      threads: of TensorFlow; None: all cores.
    """
    # Ctrl-C goes to all processes of a terminal; the search's own decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what Keras prints is no answer
    orders: queue.SimpleQueue[messages.Order] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(orders,), daemon=True).start()

    with imports.without_collections():
        import keras_tuner

        from darkroom.components.base.errors import explain
        from darkroom.components.training import dataset, devices
        from darkroom.components.tuning import trial

    devices.grow_memory()
    if threads is not None:
        devices.limit_threads(threads)
        dataset.OPTIONS.threading.private_threadpool_size = threads
    trials: Trials | None = None
    lock = threading.Lock()

    def answer(message: messages.Answer) -> None:
        with lock:
            print(messages.encode(message), file=answers)

    _Reporter(answer).attach()
    answer(messages.Ready())
    while True:
        order = orders.get()
        hp = keras_tuner.HyperParameters.from_config(order.hyperparameters)
        try:
            trials = trials or of_search(folder, SearchFile.read(folder))
            result = trials.run(order.trial_id, hp)
        except Exception as error:  # before there was a trial to fail
            result = trial.Result("FAILED", {}, [], explain(error))
        asked_for = result.hyperparameters or order.hyperparameters
        answer(
            messages.Ended(result.status, result.metrics, result.step, result.message, asked_for)
        )


def _listen(orders: queue.SimpleQueue[messages.Order]) -> None:
    """Hands orders on; ends the process when whoever gives them is gone, however that came."""
    for line in sys.stdin:
        order = messages.decode(line)
        assert isinstance(order, messages.Order)
        orders.put(order)
    os._exit(1)


def of_search(folder: str, search: SearchFile) -> "Trials":
    """What runs the trials of a search."""
    from darkroom.components.training import dataset, devices, fitting
    from darkroom.components.tuning import trial

    training = search.settings.training
    devices.split_cpu(training.cpu_replicas)
    splits = dataset.kept(search.examples, fitting.budget(training))
    candidate = trial.Candidate(search.settings, search.num_classes)
    return trial.Trials(candidate, splits, folder, search.maximize)


class _Reporter(logging.Handler):
    """Sends progress to the search."""

    def __init__(self, answer: Callable[[messages.Answer], None]):
        super().__init__(level=logging.INFO)
        self._answer = answer

    def attach(self) -> None:
        from darkroom.components.base import progress

        progress.LOGGER.setLevel(logging.INFO)
        progress.LOGGER.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if moved := getattr(record, "progress", None):
            _, words, fraction = moved
            self._answer(messages.Progress(words, fraction))
