"""A MySQL server in a process of its own, for tests: Debian's MariaDB."""

import getpass
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

USER, PASSWORD = "darkroom", "not-in-any-file"
PATIENCE = 60  # seconds until a hanging server fails its tests


class Server(NamedTuple):
    port: int

    def section(self, database: str, **other: Any) -> dict[str, Any]:
        """The section ``metadata`` of a configuration."""
        told = {"backend": "mysql", "host": "localhost", "port": self.port, "user": USER}
        return {**told, "database": database, "ssl": False, **other}


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    """A server on loopback whose user may do all in databases named darkroom…"""
    if not shutil.which("mariadbd") or not shutil.which("mariadb-install-db"):
        pytest.fail("There is no MariaDB: make databases, or apt-get install mariadb-server.")
    data, log = folder / "data", folder / "log.txt"
    # As root it insists on being told so.
    common = ["--no-defaults", f"--datadir={data}", f"--user={getpass.getuser()}"]
    install = ["mariadb-install-db", *common, "--auth-root-authentication-method=normal"]
    subprocess.run([*install, "--skip-test-db"], check=True, capture_output=True)
    # One statement in a line.
    (folder / "init.sql").write_text(
        f"CREATE USER '{USER}'@'%' IDENTIFIED BY '{PASSWORD}';\n"
        f"GRANT ALL ON `darkroom%`.* TO '{USER}'@'%';\n"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = [
        f"--port={port}",
        "--bind-address=127.0.0.1",
        f"--tmpdir={folder}",
        # The path of a socket file may not be long.
        "--socket=socket",
        f"--init-file={folder / 'init.sql'}",
        "--innodb-flush-log-at-trx-commit=0",
    ]
    with open(log, "wb") as output:
        process = subprocess.Popen(["mariadbd", *common, *arguments], stdout=output, stderr=output)
    try:
        until = time.monotonic() + PATIENCE
        while b"ready for connections" not in log.read_bytes():
            if process.poll() is not None or time.monotonic() > until:
                pytest.fail(f"MariaDB doesn't start:\n{log.read_text()}")
            time.sleep(0.1)
        yield Server(port)
    finally:
        process.terminate()
        process.wait(PATIENCE)
