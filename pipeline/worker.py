"""What a machine on which the pipeline doesn't run helps with: ``darkroom worker``."""

import os

from darkroom.components.base import results
from darkroom.components.base.errors import DarkroomError
from darkroom.components.base.remote import is_remote
from darkroom.components.training import multi_worker
from darkroom.components.training.distribution import cluster, shared_work
from darkroom.pipeline.config import Config

_ID, _IP, _PORT = "KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT"


def help_chief(config: Config) -> None:
    """Trains with the chief, or runs trials of its search, as the environment says; to the end.

    Raises:
      DarkroomError: the environment says neither, or both, or lacks something; or it failed.
    """
    this, searches = cluster.read(), any(name in os.environ for name in (_ID, _IP, _PORT))
    if this is not None and searches:
        raise DarkroomError(
            f"{cluster.VARIABLE} is set, which is to train, and {_ID} or its like, which is to "
            "search. Start a darkroom worker for each of them."
        )
    if this is not None:
        _check_training(this, config)
        path, module = multi_worker.FILE, multi_worker.MODULE
    else:
        _check_search()
        path, module = results.SEARCH_FILE, "darkroom.components.tuning.remote_trials"
    if is_remote(config.root):
        raise DarkroomError(
            f"root: {config.root} is in a bucket, and machines that help each other need a folder "
            "that all of them see. Set it to one of a network disk."
        )
    # Trials don't need one another.
    shared_work.take_part(os.path.join(config.pipeline_root, path), module, rejoin=this is None)


def _check_training(this: cluster.Cluster, config: Config) -> None:
    if this.is_chief:
        raise DarkroomError(
            f"{cluster.VARIABLE} says that this machine is {this.name}, the chief. Start darkroom "
            "run on it."
        )
    if config.training.strategy != "multi_worker":
        raise DarkroomError(
            f"training.strategy is {config.training.strategy}, which trains on one machine. Set it "
            "to multi_worker, here and for darkroom run."
        )


def _check_search() -> None:
    missing = [name for name in (_ID, _IP, _PORT) if not os.environ.get(name)]
    if len(missing) == 3:
        raise DarkroomError(
            f"There is nothing to help with: {cluster.VARIABLE} isn't set, which is to train, nor "
            f"are {_ID}, {_IP} and {_PORT}, which are to search."
        )
    if missing:
        raise DarkroomError(f"To search, {' and '.join(missing)} must be set, too.")
    if "chief" in os.environ[_ID]:
        raise DarkroomError(
            f"{_ID} is {os.environ[_ID]}, the chief. Start darkroom run on this machine, or give "
            "it another id."
        )
