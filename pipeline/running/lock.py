"""Who may run in a pipeline's folder: one ``darkroom run``, or nodes beside each other.

Files that a process locks; a killed one loses its locks by itself.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from darkroom.components.base.errors import DarkroomError
from darkroom.pipeline.config import Config

# Another process may be looking whether a lock is held, which holds it for a moment.
_ATTEMPTS, _BETWEEN = 10, 0.1  # seconds


@contextlib.contextmanager
def alone(config: Config) -> Iterator[None]:
    """Holds the pipeline.

    Raises:
      DarkroomError: another run goes on, or a node of one.
    """
    with open(_of_all(config), "a+", encoding="utf-8") as lock:
        if not _take(lock, fcntl.LOCK_EX):
            raise DarkroomError(
                f"Another run of {config.name} is going on ({_holder(lock)}). Wait for it, or "
                "give this one another root or name."
            )
        _sign(lock)
        yield


@contextlib.contextmanager
def beside(config: Config, node: str, say: Callable[[str], None]) -> Iterator[None]:
    """Holds a node, beside other nodes; waits where ``darkroom run`` or the same node goes on.

    Args:
      config: of the pipeline.
      node: its id.
      say: is told of what is waited for.
    """
    path = _of_nodes(config) / node
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        open(_of_all(config), "a+", encoding="utf-8") as lock,
        open(path, "a+", encoding="utf-8") as own,
    ):
        for file, kind, who in ((lock, fcntl.LOCK_SH, config.name), (own, fcntl.LOCK_EX, node)):
            if not _take(file, kind):
                say(f"Another run of {who} is going on ({_holder(file)}): waiting for its end.")
                fcntl.flock(file, kind)
            _sign(file)
        yield


def alive(config: Config) -> bool | set[str]:
    """What goes on now: True for ``darkroom run``; else the ids of nodes that others started."""
    if _is_held(_of_all(config)):
        return True
    return {path.name for path in _of_nodes(config).glob("*") if _is_held(path)}


def _of_all(config: Config) -> Path:
    return config.home / "lock"


def _of_nodes(config: Config) -> Path:
    return config.home / "nodes"


def _take(lock: IO[str], kind: int) -> bool:
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_BETWEEN)
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            continue
        except OSError as error:
            raise DarkroomError(
                f"{lock.name} can't be locked: {error.strerror}. Set root, or local_root where "
                "root is in a bucket, to a folder of a disk that has locks."
            ) from error
    return False


def _sign(lock: IO[str]) -> None:
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()


def _holder(lock: IO[str]) -> str:
    lock.seek(0)
    return f"process {lock.read() or 'unknown'}"


def _is_held(path: Path) -> bool:
    """Whether somebody has the lock to himself."""
    try:
        lock = open(path, encoding="utf-8")  # noqa: SIM115
    except FileNotFoundError:
        return False
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # of a disk without locks: who runs says so
            return False
    return False
