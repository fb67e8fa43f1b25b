"""Processes that need slow imports: a fork server does them once, and forks each process.

TensorFlow, TFX and TFMA take five to ten seconds to import. A forked process has them at once, and
is as good as a new one as long as the server does nothing but import: then no TensorFlow operation
has run, no device was looked for, no gRPC channel is open. Of threads there are those of OpenBLAS
and jemalloc alone, which know of forks and start anew in each process.

The fork server of ``multiprocessing`` can't serve here: there is one for all of a process, with its
environment and its output, and what was forked outlives its user.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from typing import NamedTuple

_SET_PARENT_DEATH_SIGNAL = 1  # Linux's prctl
_LIBC = ctypes.CDLL(None)  # found before a fork: not safe after it where there are threads
_NUMBER = 8  # bytes of a length, a process's id or a return code
# Modules are looked for on the environment's path alone, whatever is in the current folder.
_SERVER = (
    "import sys; sys.path[:] = filter(None, sys.path); "
    f"from {__name__} import serve; sys.exit(serve(int(sys.argv[1]), sys.argv[2:]))"
)


def end_with_parent() -> None:
    """Has Linux kill this process when its parent ends, however that comes; for ``preexec_fn``."""
    _LIBC.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


class Forked:
    """A forked process; as ``subprocess.Popen``, as far as it goes."""

    def __init__(self, pid: int, messages: int):
        """``messages``: descriptor on which the server says how it has ended."""
        self.pid = pid
        self.returncode: int | None = None
        self._messages = messages

    def poll(self) -> int | None:
        """Its return code if it has ended: its exit code, or minus the signal that killed it."""
        if self.returncode is None and select.select([self._messages], [], [], 0)[0]:
            return self.wait()
        return self.returncode

    def wait(self) -> int:
        """Waits for its end; its return code."""
        if self.returncode is None:
            code = os.read(self._messages, _NUMBER)
            # Where the server was killed, so was this process.
            self.returncode = _number(code) if code else -signal.SIGKILL
            os.close(self._messages)
        return self.returncode


class ForkServer:
    """A fork server, as its user has it. With the user it ends, and all that it forked."""

    def __init__(self, modules: Sequence[str], environment: Mapping[str, str], output: int):
        """Starts it, and doesn't wait for the imports.

        Args:
          modules: what it imports, in this order.
          environment: its variables.
          output: descriptor of a file for what imports print.

        Raises:
          OSError: this system has no such servers.
        """
        if not hasattr(os, "pidfd_open"):
            raise OSError("A fork server needs Linux.")
        self.environment = environment
        self._requests, requests = socket.socketpair()
        with requests:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _SERVER, str(requests.fileno()), *modules],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[requests.fileno()],
                start_new_session=True,  # Ctrl-C is for its user
                preexec_fn=end_with_parent,
            )

    def start(
        self,
        module: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        folder: str,
        output: int,
    ) -> Forked:
        """Forks a process that runs ``main`` of a module, in a session of its own.

        Args:
          module: its ``main`` takes ``arguments`` and returns the exit code.
          arguments: of a command line.
          environment: its variables; too late for those that matter when modules are imported.
          folder: where it works.
          output: descriptor of a file for all that it prints.

        Raises:
          OSError: the server has ended; its imports failed, or it was killed.
        """
        facts = {"module": module, "arguments": list(arguments), "folder": folder}
        request = json.dumps({**facts, "environment": dict(environment)}).encode()
        messages, told = os.pipe()
        try:
            with open(told, "wb"), open(os.devnull, "rb") as nothing:
                head = len(request).to_bytes(_NUMBER, "big")
                socket.send_fds(self._requests, [head], [nothing.fileno(), output, output, told])
                self._requests.sendall(request)
            if pid := os.read(messages, _NUMBER):
                return Forked(_number(pid), messages)
            raise BrokenPipeError("The fork server has ended.")
        except OSError:
            os.close(messages)
            raise

    def close(self) -> None:
        """Ends it, and all that it forked."""
        self._requests.close()
        self._process.kill()
        self._process.wait()


class _Request(NamedTuple):
    """What ``start`` sends."""

    module: str
    arguments: list[str]
    environment: dict[str, str]
    folder: str
    streams: list[int]  # stdin, stdout, stderr
    messages: int


def serve(number: int, modules: Sequence[str]) -> int:
    """Imports modules, and forks until the user is gone; the exit code, also of what is forked.

    Args:
      number: descriptor of the socket that requests come from.
      modules: to import.
    """
    for module in modules:
        importlib.import_module(module)
    gc.freeze()  # so that no collection touches, and thereby copies, what all share
    server = os.getpid()
    request = _fork_each(socket.socket(fileno=number))
    if request is None:
        return 0
    end_with_parent()
    if os.getppid() != server:  # it was killed before this
        return 1
    os.setsid()
    for stream, standard in zip(request.streams, range(3), strict=True):
        os.dup2(stream, standard)
        os.close(stream)
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environment)
    tempfile.tempdir = None  # as the environment says
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()  # Python's own random numbers know of forks
    sys.argv = [request.module, *request.arguments]
    code: int = importlib.import_module(request.module).main(request.arguments)
    return code


def _fork_each(requests: socket.socket) -> _Request | None:
    """Forks for each request; its request in a forked process, None where there are no more."""
    running: dict[int, tuple[int, int]] = {}  # process and messages, by the process's descriptor
    while True:
        ready = select.select([requests.fileno(), *running], [], [])[0]
        for descriptor in running.keys() & ready:
            pid, messages = running.pop(descriptor)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            _tell(messages, code)
            os.close(messages)
            os.close(descriptor)
        if requests.fileno() not in ready:
            continue
        request = _receive(requests)
        if request is None:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of the threads named above
            pid = os.fork()
        if pid == 0:
            requests.close()
            for descriptor, (_, messages) in running.items():
                os.close(descriptor)
                os.close(messages)
            os.close(request.messages)
            return request
        running[os.pidfd_open(pid)] = pid, request.messages
        _tell(request.messages, pid)
        for stream in request.streams:
            os.close(stream)


def _receive(requests: socket.socket) -> _Request | None:
    head, descriptors, _, _ = socket.recv_fds(requests, _NUMBER, 4)
    if not head:
        return None
    *streams, messages = descriptors
    content = json.loads(requests.recv(_number(head), socket.MSG_WAITALL))
    return _Request(**content, streams=streams, messages=messages)


def _tell(messages: int, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody wants to know it
        os.write(messages, number.to_bytes(_NUMBER, "big", signed=True))


def _number(content: bytes) -> int:
    return int.from_bytes(content, "big", signed=True)
