"""A process that runs trials of a search, one after the other, until its orders end.

``darkroom.components.tuning.process_pool`` starts it on the search's own machine; on others it is
``darkroom.components.tuning.remote_trials``.
"""

import json
import logging
import os
import queue
import signal
import sys
import threading
from typing import Any

SEARCH_FILE = "search.json"  # in the search's folder: what a worker needs to know


def main(folder: str, threads: int | None = None) -> None:
    """Runs what the standard input says, a JSON object in each line; answers in the same way.

    Args:
      folder: of the search.
      threads: of TensorFlow; None: all cores.
    """
    # Ctrl-C goes to all processes of a terminal; the search's own decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what Keras prints is no answer
    orders: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(orders,), daemon=True).start()

    import keras_tuner

    from darkroom.components.base.errors import explain
    from darkroom.components.training import dataset, devices
    from darkroom.components.tuning import trial

    devices.grow_memory()
    if threads is not None:
        devices.limit_threads(threads)
        dataset.OPTIONS.threading.private_threadpool_size = threads
    trials: Any = None
    lock = threading.Lock()

    def answer(**words: Any) -> None:
        with lock:
            print(json.dumps(words), file=answers)

    _Reporter(answer).attach()
    answer(ready=True)
    while True:
        order = orders.get()
        hp = keras_tuner.HyperParameters.from_config(order["hyperparameters"])
        try:
            trials = trials or of_search(folder)
            result = trials.run(order["trial_id"], hp)
        except Exception as error:  # before there was a trial to fail
            result = trial.Result("FAILED", {}, [], explain(error))
        answer(
            status=result.status,
            metrics=result.metrics,
            step=result.step,
            message=result.message,
            hyperparameters=result.hyperparameters or order["hyperparameters"],
        )


def _listen(orders: "queue.SimpleQueue[dict[str, Any]]") -> None:
    """Hands orders on; ends the process when whoever gives them is gone, however that came."""
    for line in sys.stdin:
        orders.put(json.loads(line))
    os._exit(1)


def of_search(folder: str) -> Any:
    """What runs the trials of a search, once it is written what the search is."""
    from darkroom.components.base import settings
    from darkroom.components.training import dataset, devices, fitting
    from darkroom.components.tuning import trial
    from darkroom.serving import files

    facts = files.read_json(os.path.join(folder, SEARCH_FILE))
    config = settings.unpack(facts["custom_config"])
    devices.split_cpu(config.training.cpu_replicas)
    splits = dataset.kept(facts["examples"], fitting.budget(config.training))
    candidate = trial.Candidate(facts["custom_config"], facts["num_classes"])
    return trial.Trials(candidate, splits, folder, facts["maximize"])


class _Reporter(logging.Handler):
    """Sends progress to the search."""

    def __init__(self, answer: Any):
        super().__init__(level=logging.INFO)
        self._answer = answer

    def attach(self) -> None:
        from darkroom.components.base import progress

        progress.LOGGER.setLevel(logging.INFO)
        progress.LOGGER.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if moved := getattr(record, "progress", None):
            _, words, fraction = moved
            self._answer(words=words, fraction=fraction)
