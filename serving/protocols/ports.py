"""The ports that a server listens on. Light to import."""

import contextlib
import errno
import functools
import socket

from darkroom.serving.errors import Code, ServingError
from darkroom.serving.flags import Flags

# The flag of a port, and what is spoken there.
GRPC, REST = ("port", "gRPC"), ("rest_api_port", "HTTP")
_MANY = 100_000  # connections


def take(host: str, port: int, flag: str, protocol: str) -> list[socket.socket]:
    """Binds a port on all addresses of a host; a ServingError says why not, and names the flag."""
    taken: list[socket.socket] = []
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, number, _, address in dict.fromkeys(infos):
            listener = socket.socket(family, kind, number)
            taken.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(address)
    except OSError as error:
        _close(taken)
        of_host = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
        remedy = "Choose another --host." if of_host else f"Choose another --{flag}."
        message = f"{protocol} can't listen on {host}:{port}: {error.strerror}. {remedy}"
        raise ServingError(Code.UNAVAILABLE, message) from error
    return taken


@functools.cache
def most_connections() -> int:
    """How many connections each protocol may have open: 3/8 of the files that a process may.

    It takes as many as it is allowed to. A quarter is left for all else, such as new versions.
    """
    try:
        import resource
    except ImportError:  # Windows, which has no such limit
        return _MANY
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        limit = most
    return _MANY if limit == resource.RLIM_INFINITY else max(8, min(_MANY, limit * 3 // 8))


def require(flags: Flags) -> None:
    """Raises a ServingError, as ``take`` does, where a server's ports can't be had."""
    for port, (flag, protocol) in ((flags.port, GRPC), (flags.rest_api_port, REST)):
        if port:  # 0 is none
            _close(take(flags.host, port, flag, protocol))


def _close(taken: list[socket.socket]) -> None:
    for listener in taken:
        listener.close()
