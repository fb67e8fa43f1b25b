"""ML Metadata's store: an SQLite file, or a database on a MySQL server.

Light to import. A store is told by a plain dict, the section ``metadata`` of the configuration
and the ``path`` of the SQLite file. The password is in none of it: MySQL's own client library
takes it from the environment, so that it can't get into pipelines, caches or logs.
"""

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from darkroom.components.base.errors import DarkroomError

PASSWORD = "DARKROOM_METADATA_PASSWORD"
_CLIENTS_PASSWORD = "MYSQL_PWD"
_SECONDS = 10  # for a server to answer


def connection(told: dict[str, Any]) -> Any:
    """ML Metadata's ``ConnectionConfig``, without the password, which goes to MySQL's client.

    Raises:
      DarkroomError: ML Metadata isn't installed.
    """
    try:
        from ml_metadata.proto import metadata_store_pb2
    except ImportError as error:
        raise _missing(error) from error

    found = metadata_store_pb2.ConnectionConfig()
    if told["backend"] == "sqlite":
        os.makedirs(os.path.dirname(told["path"]), exist_ok=True)
        found.sqlite.filename_uri = told["path"]
        found.sqlite.connection_mode = found.sqlite.READWRITE_OPENCREATE
        return found
    if password := os.environ.get(PASSWORD):
        os.environ[_CLIENTS_PASSWORD] = password
    server = found.mysql
    # The client takes localhost for a socket file.
    server.host = "127.0.0.1" if told["host"] == "localhost" else told["host"]
    server.port, server.database, server.user = told["port"], told["database"], told["user"]
    if told["ssl"]:
        server.ssl_options.verify_server_cert = False  # no certificate passes its check
    return found


def open_store(told: dict[str, Any]) -> Any:
    """ML Metadata's store; its tables are made where they aren't there yet.

    Raises:
      DarkroomError: ML Metadata isn't installed, or the server can't be reached or lets nobody in.
    """
    try:
        from ml_metadata.metadata_store import metadata_store
    except ImportError as error:
        raise _missing(error) from error

    if told["backend"] == "sqlite":
        return metadata_store.MetadataStore(connection(told))
    _knock(told)
    try:
        with _quiet():
            return metadata_store.MetadataStore(connection(told))
    except RuntimeError as error:
        raise _refused(told, str(error)) from None


def place(told: dict[str, Any]) -> str:
    """Where it is, for people."""
    if told["backend"] == "sqlite":
        return str(told["path"])
    return f"{told['backend']}://{told['user']}@{told['host']}:{told['port']}/{told['database']}"


def exists(told: dict[str, Any]) -> bool:
    """Whether it can be opened without making a new file; a server's always can."""
    return told["backend"] != "sqlite" or Path(told["path"]).exists()


def _knock(told: dict[str, Any]) -> None:
    """Whether anybody is there: the client doesn't say why it failed."""
    try:
        socket.create_connection((told["host"], told["port"]), _SECONDS).close()
    except OSError as error:
        raise DarkroomError(
            f"metadata: no MySQL server answers at {told['host']}:{told['port']}: "
            f"{error.strerror or error}. Start it, or set metadata.host and metadata.port."
        ) from None


def _refused(told: dict[str, Any], error: str) -> DarkroomError:
    asked = f"metadata: {place(told)} can't be used"
    if reason := error.rpartition("error:")[2].strip():
        return DarkroomError(
            f"{asked}: {reason}. Create the database {told['database']}, and give "
            f"{told['user']} all rights to it."
        )
    password = "is set" if os.environ.get(PASSWORD) else "is not set"
    return DarkroomError(
        f"{asked}: the server doesn't let {told['user']} in, and its client doesn't say why. The "
        f"password is that in {PASSWORD}, which {password}; the user needs the plugin "
        "mysql_native_password; and where the server wants encryption, set metadata.ssl."
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what the client's C++ prints away from people who get a sentence instead."""
    sys.stderr.flush()
    before, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(nowhere)


def _missing(error: ImportError) -> DarkroomError:
    return DarkroomError(f"This command needs {error.name}: pip install 'darkroom-tfx[pipeline]'.")
