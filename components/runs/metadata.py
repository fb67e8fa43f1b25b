"""ML Metadata's store: an SQLite file, or a database on a MySQL server. Light to import.

The password is in no ``Store``: MySQL's own client library takes it from the environment, so that
it can't get into pipelines, caches or logs.
"""

import atexit
import contextlib
import importlib
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict
from typing_extensions import Self

from darkroom.components.base.errors import DarkroomError

if TYPE_CHECKING:
    from ml_metadata.metadata_store import MetadataStore
    from ml_metadata.proto.metadata_store_pb2 import ConnectionConfig

PASSWORD = "DARKROOM_METADATA_PASSWORD"
_CLIENTS_PASSWORD = "MYSQL_PWD"
_SECONDS = 10  # for a server to answer


class Store(BaseModel):
    """Where the store is: the section ``metadata`` of the configuration, and a path."""

    model_config = ConfigDict(frozen=True)

    backend: Literal["sqlite", "mysql"]
    path: str = ""
    """sqlite: the file."""
    host: str = ""
    port: int = 0
    database: str = ""
    user: str = ""
    ssl: bool = False

    @property
    def place(self) -> str:
        if self.backend == "sqlite":
            return self.path
        return f"{self.backend}://{self.user}@{self.host}:{self.port}/{self.database}"

    def exists(self) -> bool:
        """Whether it can be opened without making a new file; a server's always can."""
        return self.backend != "sqlite" or os.path.exists(self.path)

    def connection(self) -> "ConnectionConfig":
        """ML Metadata's own description; raises DarkroomError where that isn't installed."""
        metadata_store_pb2 = _import("ml_metadata.proto.metadata_store_pb2")
        config = metadata_store_pb2.ConnectionConfig()
        if self.backend == "sqlite":
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            config.sqlite.filename_uri = self.path
            config.sqlite.connection_mode = config.sqlite.READWRITE_OPENCREATE
            return config
        if password := os.environ.get(PASSWORD):
            os.environ[_CLIENTS_PASSWORD] = password
        # The client takes localhost for a socket file.
        config.mysql.host = "127.0.0.1" if self.host == "localhost" else self.host
        config.mysql.port, config.mysql.user = self.port, self.user
        config.mysql.database = self.database
        if self.ssl:
            config.mysql.ssl_options.verify_server_cert = False  # no certificate passes its check
        return config

    def open(self) -> "MetadataStore":
        """The store, its tables made; raises DarkroomError, also where a server lets nobody in."""
        metadata_store = _import("ml_metadata.metadata_store.metadata_store")
        if self.backend == "sqlite":
            own = self if not self.exists() or os.access(self.path, os.W_OK) else self._copy()
            try:
                return metadata_store.MetadataStore(own.connection())
            except RuntimeError as error:
                raise _damaged(self.path, str(error)) from None
        _knock(self)
        try:
            with _quiet():
                return metadata_store.MetadataStore(self.connection())
        except RuntimeError as error:
            raise _refused(self, str(error)) from None

    def _copy(self) -> Self:
        """One for this process alone, of a file that can only be read."""
        folder = tempfile.mkdtemp()
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return self.model_copy(update={"path": shutil.copy(self.path, folder)})


def _damaged(path: str, error: str) -> DarkroomError:
    reason = error.removeprefix("Error when executing query: ").partition(" query:")[0]
    return DarkroomError(
        f"{path} can't be used: {reason}. Restore it; or move it away, and the next run makes all "
        "anew. What was pushed stays, and is the baseline."
    )


def _knock(store: Store) -> None:
    """Whether anybody is there: the client doesn't say why it failed."""
    try:
        socket.create_connection((store.host, store.port), _SECONDS).close()
    except OSError as error:
        raise DarkroomError(
            f"metadata: no MySQL server answers at {store.host}:{store.port}: "
            f"{error.strerror or error}. Start it, or set metadata.host and metadata.port."
        ) from None


def _refused(store: Store, error: str) -> DarkroomError:
    asked = f"metadata: {store.place} can't be used"
    if reason := error.rpartition("error:")[2].strip():
        return DarkroomError(
            f"{asked}: {reason}. Create the database {store.database}, and give "
            f"{store.user} all rights to it."
        )
    password = "is set" if os.environ.get(PASSWORD) else "is not set"
    return DarkroomError(
        f"{asked}: the server doesn't let {store.user} in, and its client doesn't say why. The "
        f"password is that in {PASSWORD}, which {password}; the user needs the plugin "
        "mysql_native_password; and where the server wants encryption, set metadata.ssl."
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what the client's C++ prints away from people who get a sentence instead."""
    sys.stderr.flush()
    before = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(before, 2)
            os.close(before)


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DarkroomError(
            f"This command needs {error.name}: pip install 'darkroom-tfx[pipeline]'."
        ) from error
