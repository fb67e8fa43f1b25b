"""Work that several machines share: a file that all of them see says what there is to do.

The chief announces its work there, under a number that is new each time. On each other machine
``darkroom worker`` takes part in a process of its own, which it starts anew for each number: what
breaks when a machine is lost can't be mended within a process. Light to import.
"""

import contextlib
import importlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TextIO

from darkroom.components.base import processes, progress
from darkroom.components.base.errors import DarkroomError
from darkroom.components.base.processes import Forked, end_with_parent
from darkroom.serving import files

# States of announced work.
RUNNING, DONE, FAILED = "running", "done", "failed"
# Exit code of a process that lost the others, as sysexits' EX_TEMPFAIL: to be tried again.
LOST = 75
TRIES = 5  # in a row without progress, after which it isn't bad luck
_SECONDS_BETWEEN_LOOKS = 0.5
# The modules' paths are this process's own, whatever else is in the current folder.
_CODE = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1])['path']; "
    f"from {__name__} import main; main(sys.argv[1:])"
)


class Lost(DarkroomError):
    """Machines lost each other, not by a mistake that repeats: starting anew may help."""

    exit_code = LOST


class Work(NamedTuple):
    """What the file says."""

    number: int
    state: str
    facts: Mapping[str, object]  # what there is to do
    message: str | None = None  # why it failed

    @classmethod
    def read(cls, path: str) -> "Work | None":
        """What is announced; None where nothing ever was."""
        facts = files.read_json(path)
        if facts is None:
            return None
        fields = {key: facts.pop(key) for key in cls._fields if key in facts}
        return cls(**fields, facts=facts)

    def write(self, path: str) -> None:
        """Announces it, in place of what was announced before."""
        message = {} if self.message is None else {"message": self.message}
        files.write_json(
            path, {**self.facts, "number": self.number, "state": self.state, **message}
        )


def announce(path: str, **facts: object) -> int:
    """Says what there is to do, in place of what was said before; returns its number."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    before = Work.read(path)
    number = 1 if before is None else before.number + 1
    Work(number, RUNNING, facts).write(path)
    return number


def conclude(path: str, message: str | None = None) -> None:
    """Says that what was announced, if anything was, is done, or in ``message`` why it failed."""
    if work := Work.read(path):
        work._replace(state=FAILED if message else DONE, message=message).write(path)


def main(arguments: Sequence[str]) -> int:
    """The ``main`` of the processes below: runs that of the module in its one argument."""
    facts = json.loads(arguments[0])
    sys.path[:] = facts["path"]
    importlib.import_module(facts["module"]).main(*facts["arguments"])
    return 0


def _argument(module: str, arguments: Sequence[object]) -> str:
    return json.dumps({"path": sys.path, "module": module, "arguments": arguments})


def start(
    module: str, *arguments: object, environment: Mapping[str, str], stdin: int, stdout: int
) -> subprocess.Popen[bytes] | Forked:
    """Runs ``main`` of a module in a process, with arguments that are JSON.

    It is forked where this process has a fork server. Streams are descriptors.
    """
    argument = _argument(module, arguments)
    if forked := processes.forked(__name__, [argument], environment, stdout, stdin):
        return forked
    return subprocess.Popen(
        [sys.executable, "-c", _CODE, argument], env=environment, stdin=stdin, stdout=stdout
    )


@contextlib.contextmanager
def process(module: str, *arguments: Any, **options: Any) -> Iterator[subprocess.Popen]:
    """Runs ``main`` of a module in a process that ends with the block, or with this process."""
    started = subprocess.Popen(
        [sys.executable, "-c", _CODE, _argument(module, arguments)],
        preexec_fn=end_with_parent if sys.platform == "linux" else None,
        **options,
    )
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def answers() -> TextIO:
    """The standard output of such a process; from now on nothing else is printed to it."""
    # Ctrl-C goes to all processes of a terminal; the parent decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stream = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what Keras prints is no answer
    return stream


class Reporter(logging.Handler):
    """Hands on what this process says of its progress."""

    def __init__(
        self,
        report: Callable[[str, float | None], None],
        warn: Callable[[str], None] = lambda _: None,
    ):
        """From now on ``report`` gets words and the share done (0 to 1), and ``warn`` warnings."""
        super().__init__(level=logging.INFO)
        self._report, self._warn = report, warn
        progress.LOGGER.setLevel(logging.INFO)
        progress.LOGGER.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if moved := getattr(record, "progress", None):
            self._report(*moved[1:])
        elif record.levelno >= logging.WARNING:
            self._warn(record.getMessage())


def take_part(path: str, module: str, rejoin: bool) -> None:
    """Helps until the work is done; raises a DarkroomError where it failed, Lost after ``TRIES``.

    ``main(path, number)`` of the module does a part. ``rejoin``: a lost process can be replaced.
    """
    work, joined = _work(path, 0), 0
    while work.state == RUNNING:
        joined = work.number
        _say(f"takes part, number {joined}")
        for _ in range(TRIES if rejoin else 1):
            with process(module, path, joined) as helper:
                while _goes_on(work := _work(path, joined), joined) and helper.poll() is None:
                    time.sleep(_SECONDS_BETWEEN_LOOKS)
            if helper.returncode == 0 or not _goes_on(work, joined):
                break
            if helper.returncode > 0 and helper.returncode != LOST:
                raise DarkroomError("This machine can't take part: what it said stands above.")
        else:
            if rejoin:
                raise Lost(f"This machine was lost {TRIES} times, and gives up.")
        while _goes_on(work, joined):
            time.sleep(_SECONDS_BETWEEN_LOOKS)
            work = _work(path, joined)
    if work.state == FAILED:
        raise DarkroomError(f"It failed on the chief: {work.message}")


def _goes_on(work: Work, number: int) -> bool:
    return work.state == RUNNING and work.number == number


def _work(path: str, joined: int) -> Work:
    """The announced work; waits for another if it was over before this machine came to help."""
    waits = False
    while True:
        work = Work.read(path)
        if work is not None and (work.state == RUNNING or joined):
            return work
        if not waits:
            _say(f"waits for {path}")
            waits = True
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def _say(words: str) -> None:
    print(f"darkroom worker: {words}", flush=True)
