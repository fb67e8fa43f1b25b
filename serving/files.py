"""Files that are whole or not there, also where a process is killed or power fails; and locks."""

import contextlib
import errno
import fcntl
import json
import math
import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, TypeAlias

_Path: TypeAlias = "str | os.PathLike[str]"

_BETWEEN = 0.1  # seconds between two tries to get a lock


def unfinished_path(path: _Path) -> str:
    """Where a process writes what is to be the file; several machines may do so side by side."""
    return f"{os.fspath(path)}.{socket.gethostname()}.{os.getpid()}.unfinished"


@contextlib.contextmanager
def replacing(path: _Path, *, durable: bool = False) -> Iterator[Path]:
    """Gives a path to write to, which replaces the file in one step when the block ends."""
    unfinished = Path(unfinished_path(path))
    try:
        yield unfinished
        if durable:
            sync(unfinished)
        os.replace(unfinished, path)
    except BaseException:
        with contextlib.suppress(OSError):  # it would keep a full disk full
            unfinished.unlink()
        raise
    if durable:
        sync(Path(path).parent)


def replace(path: Path, text: str) -> None:
    """Replaces a file's text in one step, durably; does nothing where it is the same."""
    with contextlib.suppress(FileNotFoundError, UnicodeDecodeError):
        if path.read_text(encoding="utf-8") == text:
            return
    with replacing(path, durable=True) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def write_json(path: _Path, value: object) -> None:
    """Writes a file of JSON, in one step."""
    with replacing(path) as unfinished:
        unfinished.write_text(json.dumps(value), encoding="utf-8")


def read_json(path: _Path) -> Any:
    """What a file of JSON holds; None where there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno != errno.ESTALE:  # a network disk's, of a file that was just replaced
            raise
        return read_json(path)


def copy_folder(source: Path, target: Path) -> None:
    """Copies a folder to where none is; the disk has it then. An OSError leaves a part of it."""
    for folder, _, names in os.walk(source):
        copied = target / os.path.relpath(folder, source)
        copied.mkdir()
        for name in names:
            shutil.copyfile(os.path.join(folder, name), copied / name)
            sync(copied / name)
        sync(copied)


def sync(path: Path) -> None:
    """Waits until the disk has a file, or the names of the files in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Locked(Exception):
    """Another process holds a lock."""

    def __init__(self, path: _Path, holder: str):
        super().__init__(f"{os.fspath(path)} is locked by process {holder}")
        self.holder = holder  # id of the process; "unknown" where it hasn't said so yet


@contextlib.contextmanager
def locked(path: _Path, *, shared: bool = False, patience: float | None = None) -> Iterator[None]:
    """Holds a lock, maybe together with others that share it; a killed process loses it by itself.

    In the file stands who holds it. Raises Locked where another process holds it for longer than
    ``patience``, in seconds (None: never), and an OSError where the disk has no locks.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    with open(path, "a+", encoding="utf-8") as file:
        until = math.inf if patience is None else time.monotonic() + patience
        # A flock that waits by itself would keep a signal waiting that comes just before it.
        while not _take(file, kind):
            if time.monotonic() >= until:
                file.seek(0)
                raise Locked(path, file.read() or "unknown")
            time.sleep(_BETWEEN)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def is_locked(path: _Path) -> bool:
    """Whether a process holds a lock for itself; no where there is no such file, or no locks."""
    try:  # takes the lock for a moment: who wants it needs a little patience
        with open(path, encoding="utf-8") as file:
            return not _take(file, fcntl.LOCK_SH)
    except OSError:
        return False


def _take(file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
