"""A process that runs trials of a search, one after the other, until its orders end."""

import json
import os
import queue
import sys
import threading
from typing import TYPE_CHECKING

from darkroom.components.base.errors import explain
from darkroom.components.training.distribution import shared_work
from darkroom.components.tuning.messages import Order, Progress, SearchFile
from darkroom.serving import imports

if TYPE_CHECKING:
    from darkroom.components.tuning.trial import Trials


def main(folder: str, threads: int) -> None:
    """Runs what the standard input orders, a line each, with ``threads`` of TensorFlow."""
    answers = shared_work.answers()
    orders: queue.SimpleQueue[Order] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(orders,), daemon=True).start()

    with imports.without_collections():
        import keras_tuner
        import tensorflow as tf

        from darkroom.components.training import dataset, devices
        from darkroom.components.tuning import trial

    devices.grow_memory()
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    dataset.OPTIONS.threading.private_threadpool_size = threads
    trials: Trials | None = None
    lock = threading.Lock()

    def answer(words: str = "", fraction: float | None = None, ended: bool = False) -> None:
        with lock:
            print(json.dumps(Progress(words, fraction, ended)), file=answers)

    shared_work.Reporter(answer)
    answer()
    while True:
        order = orders.get()
        hp = keras_tuner.HyperParameters.from_config(order.hyperparameters)
        try:
            trials = trials or of_search(folder, SearchFile.read(folder))
            trials.run(order.trial_id, hp)
        except Exception as error:  # before there was a trial to fail
            failed = trial.Result("FAILED", {}, [], explain(error))
            trial.Folder(folder, order.trial_id).write(failed)
        answer(ended=True)


def _listen(orders: queue.SimpleQueue[Order]) -> None:
    """Hands orders on; ends the process when whoever gives them is gone, however that came."""
    for line in sys.stdin:
        orders.put(Order(*json.loads(line)))
    os._exit(1)


def of_search(folder: str, search: SearchFile) -> "Trials":
    """What runs the trials of a search."""
    from darkroom.components.training import dataset, devices
    from darkroom.components.tuning import trial

    training = search.settings.training
    devices.split_cpu(training.cpu_replicas)
    splits = dataset.kept(search.examples, training.cache_bytes)
    candidate = trial.Candidate(search.settings, search.classes, search.policy)
    return trial.Trials(candidate, splits, folder, search.maximize, search.frozen)
