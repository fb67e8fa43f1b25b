"""Files and folders that are whole or not there, also where a process is killed or power fails."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path


def replace(path: Path, text: str) -> None:
    """Replaces a file in one step; does nothing where it says the same already.

    Two processes must not do so at the same time: see ``locked``.
    """
    try:
        if path.read_text(encoding="utf-8") == text:
            return
    except (FileNotFoundError, UnicodeDecodeError):
        pass
    unfinished = path.with_name(f"{path.name}.unfinished")
    with open(unfinished, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, path)
    sync_folder(path.parent)


def copy_folder(source: Path, target: Path) -> None:
    """Copies a folder to where none is; when it returns, the disk has it.

    Raises:
      OSError: a file can't be read or written. What was copied until then stays.
    """
    for folder, _, names in os.walk(source):
        copied = target / os.path.relpath(folder, source)
        copied.mkdir()
        for name in names:
            with open(os.path.join(folder, name), "rb") as read, open(copied / name, "wb") as write:
                shutil.copyfileobj(read, write)
                write.flush()
                os.fsync(write.fileno())
        sync_folder(copied)


def sync_folder(folder: Path) -> None:
    """Waits until the disk has the names of the files in a folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Waits for a lock and holds it; a killed process loses it by itself."""
    with open(path, "a", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
