"""One training on several machines: the chief's side in the Trainer node, and everybody's part.

It runs in a process of its own on each machine: where one is lost, TensorFlow's collectives can't
begin again in the same process. All start anew then, from the chief's checkpoint. Light to import.
"""

import contextlib
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, TypedDict

from darkroom.components.base import progress
from darkroom.components.base.errors import DarkroomError, explain
from darkroom.components.training.distribution import cluster, shared_work
from darkroom.serving import imports

if TYPE_CHECKING:
    from darkroom.components.training.stages import TrainingJob

# The file, below the pipeline's artifacts, that announces the training to other machines.
FILE = "Trainer/training.json"
MODULE = "darkroom.components.training.multi_worker"
_DONE_SECONDS = 30.0  # for a finished process to end


class _Answer(TypedDict, total=False):
    """A line of the chief's process: how far it is, or a warning, or how it ended."""

    words: str
    fraction: float | None
    warning: str
    state: str
    message: str


def train(
    this: cluster.Cluster, path: str, job: "TrainingJob", done: Callable[[], int | None]
) -> None:
    """Trains on all machines, of which this is the chief, until the checkpoint has all epochs.

    ``path`` is a file that all see; ``done`` counts the epochs in the checkpoint. Raises a
    DarkroomError where the training fails, or machines are lost again and again.
    """
    progress.report("Trainer", f"waiting for the other machines, {this.size - 1} in all")
    tries = 0
    while True:
        number = shared_work.announce(path, **job.pack(), cluster=this.addresses)
        before = done()
        state, message = _run(path, number)
        if state == shared_work.DONE:
            break
        tries = tries + 1 if done() == before else 1
        if state == shared_work.RUNNING and tries == shared_work.TRIES:
            message = (
                f"The machines lost each other {tries} times without a new epoch in between. The "
                f"last time: {message} What the others say of it is in their own logs."
            )
        if state == shared_work.FAILED or tries == shared_work.TRIES:
            shared_work.conclude(path, message)
            raise DarkroomError(message)
        progress.warn(
            "Trainer",
            f"{message} The training goes on after epoch {done() or 0}, once all machines are back",
        )
    shared_work.conclude(path)


def _run(path: str, number: int) -> tuple[str, str]:
    """Runs the chief's process; returns how it ended (RUNNING: it lost a machine), and why."""
    last: _Answer = {}
    pipe = {"stdout": subprocess.PIPE, "encoding": "utf-8"}
    with shared_work.process(MODULE, path, number, **pipe) as child:
        assert child.stdout is not None
        for line in child.stdout:
            with contextlib.suppress(ValueError):  # it was killed in the middle of a line
                last = json.loads(line)
            if "words" in last:
                progress.report("Trainer", last["words"], last["fraction"])
            elif "warning" in last:
                progress.LOGGER.warning("%s", last["warning"])
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_DONE_SECONDS)
    if "state" in last:
        return last["state"], last["message"]
    return shared_work.RUNNING, f"The training's process ended with code {child.returncode}."


def main(path: str, number: int) -> None:
    """Does a machine's part; the chief answers in lines of JSON, others by their exit code."""
    answers, this = shared_work.answers(), cluster.read()
    assert this is not None

    def answer(answered: _Answer) -> None:
        if this.is_chief:
            print(json.dumps(answered), file=answers)

    try:
        work = shared_work.Work.read(path)
        assert work is not None
        if work.number == number:
            if this.addresses != work.facts["cluster"]:
                # Wrongly set up, or left by a run that was stopped.
                print(
                    f"darkroom worker: {cluster.VARIABLE} names other machines here than on the "
                    f"chief: {this.addresses} here, {work.facts['cluster']} there. If that run "
                    "goes on, set the same cluster on all of them. If it was stopped, the next one "
                    "is waited for.",
                    file=sys.stderr,
                    flush=True,
                )
                os._exit(shared_work.LOST)
            shared_work.Reporter(
                lambda words, fraction: answer({"words": words, "fraction": fraction}),
                lambda warning: answer({"warning": warning}),
            )
            _train(this, work)
        answer({"state": shared_work.DONE, "message": ""})
    except Exception as error:
        from darkroom.components.training.distribution import replicas

        code, state, message = 1, shared_work.FAILED, explain(error)
        if replicas.lost(error):
            code, state, message = shared_work.LOST, shared_work.RUNNING, _who(error)
        else:
            logging.getLogger("darkroom").exception("the training failed")
        print(f"darkroom: {message}", file=sys.stderr, flush=True)
        answer({"state": state, "message": message})
        os._exit(code)  # TensorFlow would wait for machines that are gone


def _train(this: cluster.Cluster, work: shared_work.Work) -> None:
    with imports.without_collections():
        from darkroom.components.training import dataset, devices, stages

    devices.grow_memory()
    job = stages.TrainingJob.unpack(work.facts)
    splits = dataset.kept(job.examples, job.config.training.cache_bytes)
    with tempfile.TemporaryDirectory() as nowhere:
        if not this.is_chief:
            job = job.model_copy(update={"run_folder": nowhere})
        stages.Training(job, splits, this).run()


def _who(error: Exception) -> str:
    """A sentence on the machine of which TensorFlow's message tells; else what it says."""
    pattern = r"(?:reported from|Task|remote target) /job:(\w+)/\S*task:(\d+)"
    if match := re.search(pattern, str(error)):
        return f"The connection to {match[1]} {match[2]} was lost."
    return f"The machines lost each other ({explain(error).rstrip('.')})."
