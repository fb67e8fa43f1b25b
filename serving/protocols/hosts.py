"""The names by which a server is asked. Light to import."""

import ipaddress
import re

from darkroom.serving.errors import Code, ServingError


def is_loopback(host: str) -> bool:
    """Whether a host that is listened on is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Hosts:
    """The names by which a server on this machine alone is asked.

    Else any page in this machine's browser could ask it, under a name of its own that it lets
    point here (DNS rebinding).
    """

    def __init__(self, host: str, allowed: str):
        """``host`` is what is listened on, ``allowed`` further names, separated by commas."""
        self._all = not is_loopback(host)
        self._names = {"localhost", host, *filter(None, re.split(r"[,\s]+", allowed))}

    def check(self, header: str | None) -> None:
        """Raises ServingError where a request's Host header is another's."""
        if self._all or header is None:
            return
        name = header.rpartition(":")[0] if re.search(r":\d*$", header) else header
        if name.lower() in self._names:
            return
        try:
            ipaddress.ip_address(name.strip("[]"))  # which nobody can let point elsewhere
        except ValueError:
            raise ServingError(
                Code.PERMISSION_DENIED,
                f"This server is asked as localhost, not as {name[:100]!r}: name that in "
                "--allowed_hosts if a proxy asks so.",
            ) from None
