"""What a machine on which the pipeline doesn't run helps with: ``darkroom worker``."""

import os
from collections.abc import Iterator

from darkroom.components.base import remote, results
from darkroom.components.base.errors import DarkroomError
from darkroom.components.training import multi_worker
from darkroom.components.training.distribution import cluster, shared_work
from darkroom.pipeline.config import Config

_ID, _IP, _PORT = "KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT"


def help_chief(config: Config) -> None:
    """Trains with the chief, or runs trials of its search, as the environment says; to the end.

    Raises a DarkroomError where the environment says neither or both, or the work fails.
    """
    this = cluster.read()
    for problem in filter(None, _problems(config, this)):
        raise DarkroomError(str(problem))
    file, module = results.SEARCH_FILE, "darkroom.components.tuning.remote_trials"
    if this is not None:
        file, module = multi_worker.FILE, multi_worker.MODULE
    # Trials don't need one another.
    shared_work.take_part(os.path.join(config.pipeline_root, file), module, rejoin=this is None)


def _problems(config: Config, this: cluster.Cluster | None) -> Iterator[object]:
    """Yields a sentence for each problem, and something false for what is well."""
    variables = (_ID, _IP, _PORT)
    missing = [name for name in variables if not os.environ.get(name)]
    if this is not None:
        yield not os.environ.keys().isdisjoint(variables) and (
            f"{cluster.VARIABLE} is set, which is to train, and {_ID} or its like, which is to "
            "search. Start a darkroom worker for each of them."
        )
        yield this.is_chief and (
            f"{cluster.VARIABLE} says that this machine is {this.name}, the chief. Start darkroom "
            "run on it."
        )
        yield config.training.strategy != "multi_worker" and (
            f"training.strategy is {config.training.strategy}, which trains on one machine. Set it "
            "to multi_worker, here and for darkroom run."
        )
    else:
        yield len(missing) == 3 and (
            f"There is nothing to help with: {cluster.VARIABLE} isn't set, which is to train, nor "
            f"are {_ID}, {_IP} and {_PORT}, which are to search."
        )
        yield missing and f"To search, {' and '.join(missing)} must be set, too."
        yield "chief" in os.environ[_ID] and (
            f"{_ID} is {os.environ[_ID]}, the chief. Start darkroom run on this machine, or give "
            "it another id."
        )
    yield remote.is_remote(config.root) and (
        f"root: {config.root} is in a bucket, and machines that help each other need a folder that "
        "all of them see. Set it to one of a network disk."
    )
