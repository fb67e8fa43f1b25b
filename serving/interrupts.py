"""Ctrl-C at any moment: work ends, and one sentence says so."""

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130  # the exit code that shells give a command that Ctrl-C ended
_told = False  # whether a signal has come that ends work


def heed_at_once() -> None:
    """Has Ctrl-C end this process at once: while it starts there is nothing to tidy up."""
    if not _is_ignored():
        signal.signal(signal.SIGINT, _end)
    if hasattr(signal, "pthread_sigmask"):  # not on Windows
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def heed() -> None:
    """Has Ctrl-C raise KeyboardInterrupt, but end an import at once."""
    if not _is_ignored():
        signal.signal(signal.SIGINT, _end_import_or_raise)


def heed_in_work(numbers: Sequence[int]) -> None:
    """Has signals raise KeyboardInterrupt whenever they come, for work that tidies up."""
    for number in numbers:
        signal.signal(number, _raise)


def become(module: str, arguments: Sequence[str]) -> NoReturn:
    """Runs a module as this process; Ctrl-C waits until that heeds it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])


def came() -> bool:
    """Whether one came. What fails after it fails of it, whatever the error is called."""
    return _told


def go_on() -> None:
    """Raises the KeyboardInterrupt that a library may have swallowed."""
    if _told:
        raise KeyboardInterrupt


def end_import(frame: FrameType | None) -> None:
    """Ends this process at once where a signal came in an import.

    Libraries in C or Rust make other errors of KeyboardInterrupt, or none, while they load.
    """
    while frame is not None:
        if frame.f_globals.get("__name__") == "importlib._bootstrap":
            _end()
        frame = frame.f_back


def _is_ignored() -> bool:
    """As of what a shell runs beside itself."""
    return signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def _end(*_: object) -> NoReturn:
    print("darkroom: interrupted.", file=sys.stderr, flush=True)
    os._exit(INTERRUPTED)


def _end_import_or_raise(number: int, frame: FrameType | None) -> NoReturn:
    end_import(frame)
    _raise()


def _raise(*_: object) -> NoReturn:
    global _told
    _told = True
    raise KeyboardInterrupt
