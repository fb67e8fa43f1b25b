"""Processes that need slow imports: a fork server has done them once, and forks each process.

A forked process is as good as a new one where only imports came before the fork: no TensorFlow
operation, no device, no gRPC channel. OpenBLAS's and jemalloc's threads bear a fork.
``multiprocessing`` won't do: it has one fork server for the whole process, with the environment
and the output of the first user, and what it forks outlives its user.
"""

import contextlib
import ctypes
import importlib
import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import IO, NamedTuple, NoReturn

from typing_extensions import Self

from darkroom.serving import imports

_SET_PARENT_DEATH_SIGNAL = 1  # Linux's prctl
_LIBC = ctypes.CDLL(None)  # found before a fork: not safe after it where there are threads
# Modules are looked for on the environment's path alone, whatever is in the current folder.
_SERVER = (
    "import sys; sys.path[:] = filter(None, sys.path); "
    f"from {__name__} import serve; sys.exit(serve(int(sys.argv[1]), sys.argv[2:]))"
)


def end_with_parent() -> None:
    """Has Linux kill this process when its parent ends, however that comes; for ``preexec_fn``."""
    _LIBC.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def start_worker() -> None:
    """What a pool's process begins with: it ends with its parent, and leaves Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


class Forked:
    """A forked process, with what its users need of ``subprocess.Popen``."""

    def __init__(self, pid: int, messages: IO[bytes]):
        self.pid = pid
        self.returncode: int | None = None
        self._messages = messages

    def wait(self) -> int:
        """Waits until it has ended; returns its exit code, or minus the signal that killed it."""
        if self.returncode is None:
            with self._messages:
                # Without a message the server was killed, and this process with it.
                self.returncode = int(self._messages.readline() or -signal.SIGKILL)
        return self.returncode

    def kill(self) -> None:
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


class ForkServer:
    """A handle on a fork server, which ends with its user, as does all that it has forked."""

    def __init__(
        self, environment: Mapping[str, str], requests: socket.socket, end: Callable[[], object]
    ):
        self.environment = environment  # in which it imported
        self._requests, self._end = requests, end

    @classmethod
    def importing(cls, modules: Sequence[str], environment: Mapping[str, str], output: int) -> Self:
        """Starts one that imports ``modules`` in this order, without waiting for them.

        ``output``: descriptor for what imports print. Raises an OSError on any system but Linux.
        """
        ours, requests = _sockets()
        with requests:
            process = subprocess.Popen(
                [sys.executable, "-c", _SERVER, str(requests.fileno()), *modules],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[requests.fileno()],
                start_new_session=True,  # Ctrl-C is for its user
                preexec_fn=end_with_parent,
            )

        def end() -> None:
            process.kill()
            process.wait()

        return cls(environment, ours, end)

    @classmethod
    def here(cls) -> Self:
        """Forks one from this process, which must have done nothing but imports, as said above.

        Raises an OSError on any system but Linux.
        """
        environment = dict(os.environ)
        ours, requests = _sockets()
        server = _fork()
        if server == 0:
            _leave(lambda: _serve_here(requests))
        requests.close()

        def end() -> None:
            os.kill(server, signal.SIGKILL)
            os.waitpid(server, 0)

        return cls(environment, ours, end)

    def start(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: str,
        stdout: int,
        stderr: int | None = None,
        stdin: int | None = None,
    ) -> Forked:
        """Forks a process that runs ``main(arguments)`` of a module, in a session of its own.

        What imports read of the environment is the server's, not this ``environment``. Streams are
        descriptors; by default stderr goes to ``stdout``, and stdin is empty. Raises an OSError
        where the server has ended.
        """
        ours, theirs = os.pipe()
        messages = open(ours, "rb")  # noqa: SIM115  # the process's, until it has ended
        try:
            with (
                open(theirs, "wb"),
                tempfile.TemporaryFile("w+") as file,
                open(os.devnull) as nothing,
            ):
                json.dump([module, list(arguments), dict(environment), folder], file)
                file.seek(0)
                stdin = nothing.fileno() if stdin is None else stdin
                stderr = stdout if stderr is None else stderr
                descriptors = [file.fileno(), theirs, stdin, stdout, stderr]
                socket.send_fds(self._requests, [b" "], descriptors)
            if pid := messages.readline():
                return Forked(int(pid), messages)
            raise BrokenPipeError("The fork server has ended.")
        except OSError:
            messages.close()
            raise

    def close(self) -> None:
        self._requests.close()
        self._end()


# This process's own, for whoever needs other processes that have imported the same.
server: ForkServer | None = None


def forked(
    module: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    stdout: int,
    stdin: int | None = None,
) -> Forked | None:
    """Runs ``main`` of a module in a fork of ``server``; None where there is none any more.

    Streams are descriptors; errors go where this process's go.
    """
    if server is not None:
        with contextlib.suppress(OSError):  # it was killed
            return server.start(
                module, arguments, environment=environment, folder=os.getcwd(),
                stdin=stdin, stdout=stdout, stderr=sys.stderr.fileno(),
            )  # fmt: skip
    return None


class _Request(NamedTuple):
    module: str
    arguments: list[str]
    environment: dict[str, str]
    folder: str
    messages: int
    streams: list[int]  # stdin, stdout, stderr


def serve(number: int, modules: Sequence[str]) -> int:
    """Imports ``modules``, then forks for requests from a socket until the user is gone.

    ``number`` is the socket's descriptor. Returns the exit code of this process, or of a fork.
    """
    with imports.without_collections():  # which would touch, and thereby copy, what all share
        for module in modules:
            importlib.import_module(module)
    return _serve(socket.socket(fileno=number))


def _serve_here(requests: socket.socket) -> int:
    end_with_parent()
    os.setsid()  # Ctrl-C is for its user
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    # Else whoever waits for the end of the user's pipe, or for its lock, waits for this too.
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        if descriptor > 2 and descriptor != requests.fileno():
            with contextlib.suppress(OSError):  # the list's own
                os.close(descriptor)
    return _serve(requests)


def _serve(requests: socket.socket) -> int:
    logging.getLogger().handlers.clear()  # set by imports; each process sets up its own
    server = os.getpid()
    request = _fork_each(requests)
    if request is None:
        return 0
    end_with_parent()
    if os.getppid() != server:  # it was killed before this
        return 1
    os.setsid()
    for standard, stream in enumerate(request.streams):
        os.dup2(stream, standard)
        os.close(stream)
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environment)
    tempfile.tempdir = None  # to be found anew, by this environment
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()  # Python's own random numbers know of forks
    sys.argv = [request.module, *request.arguments]
    code: int | None = importlib.import_module(request.module).main(request.arguments)
    return code or 0  # Beam's main returns None


def _fork_each(requests: socket.socket) -> _Request | None:
    """Forks for each request. Returns the request in each fork, and None here at the end."""
    running: dict[int, tuple[int, int]] = {}  # process and messages, by the process's descriptor
    while True:
        ready = select.select([requests.fileno(), *running], [], [])[0]
        for descriptor in running.keys() & ready:
            pid, messages = running.pop(descriptor)
            _tell(messages, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            os.close(messages)
            os.close(descriptor)
        if requests.fileno() not in ready:
            continue
        _, descriptors, _, _ = socket.recv_fds(requests, 1, 5)
        if not descriptors:
            return None
        content, messages, *streams = descriptors
        with open(content) as file:
            module, arguments, environment, folder = json.load(file)
        request = _Request(module, arguments, environment, folder, messages, streams)
        pid = _fork()
        if pid == 0:
            requests.close()
            for descriptor in [messages, *running, *(other for _, other in running.values())]:
                os.close(descriptor)
            return request
        running[os.pidfd_open(pid)] = pid, messages
        _tell(messages, pid)
        for stream in streams:
            os.close(stream)


def _sockets() -> tuple[socket.socket, socket.socket]:
    if not hasattr(os, "pidfd_open"):
        raise OSError("A fork server needs Linux.")
    return socket.socketpair()


def _fork() -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the threads named above
        return os.fork()


def _leave(run: Callable[[], int]) -> NoReturn:
    """Ends this process with the exit code that ``run`` gives, without what its parent has open."""
    code = 1
    try:
        code = run()
        sys.stdout.flush()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _tell(messages: int, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody wants to know it
        os.write(messages, b"%d\n" % number)
