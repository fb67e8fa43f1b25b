"""A file system with the scheme ``test://``, for TFX's fileio and for Beam; importing it is enough.

Its files are below the folder in DARKROOM_TEST_BUCKETS. What opens a URI in any other way fails.
Like a store of objects it can't rename.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from apache_beam.io.filesystem import FileMetadata
from apache_beam.io.localfilesystem import LocalFileSystem
from tfx.dsl.io import fileio, filesystem_registry  # noqa: F401  # fileio registers the others
from tfx.dsl.io.plugins.tensorflow_gfile import TensorflowFilesystem

SCHEME = "test://"
FOLDER = "DARKROOM_TEST_BUCKETS"


def path(uri: str) -> str:
    """Where the file of a URI is; paths as they are."""
    root = os.environ[FOLDER]
    return uri.replace(SCHEME, f"{root}/", 1) if uri.startswith(SCHEME) else uri


def uri(path: str) -> str:
    return path.replace(f"{os.environ[FOLDER]}/", SCHEME, 1)


class TfxFilesystem(TensorflowFilesystem):
    SUPPORTED_SCHEMES = (SCHEME,)

    @staticmethod
    def walk(top: str, **_: Any) -> Iterator[tuple[str, list[str], list[str]]]:
        return ((uri(folder), below, names) for folder, below, names in os.walk(path(top)))

    @staticmethod
    def glob(pattern: str) -> list[str]:
        return [uri(found) for found in TensorflowFilesystem.glob(path(pattern))]

    @staticmethod
    def open(name: str, mode: str = "r") -> Any:
        place = Path(path(name))
        if "w" in mode:  # a store of objects has no folders
            place.parent.mkdir(parents=True, exist_ok=True)
        return TensorflowFilesystem.open(str(place), mode)

    @staticmethod
    def copy(src: str, dst: str, overwrite: bool = False) -> None:
        Path(path(dst)).parent.mkdir(parents=True, exist_ok=True)
        TensorflowFilesystem.copy(path(src), path(dst), overwrite)

    @staticmethod
    def rename(*_: Any, **__: Any) -> None:
        raise NotImplementedError("a store of objects can't rename")


def _in_folder(function: Callable[..., Any]) -> Any:
    return staticmethod(lambda uri, *given, **named: function(path(uri), *given, **named))


for _name in ("exists", "isdir", "listdir", "makedirs", "mkdir", "remove", "rmtree", "stat"):
    setattr(TfxFilesystem, _name, _in_folder(getattr(TensorflowFilesystem, _name)))
filesystem_registry.DEFAULT_FILESYSTEM_REGISTRY.register(TfxFilesystem, priority=0)


class BeamFileSystem(LocalFileSystem):
    @classmethod
    def scheme(cls) -> str:
        return SCHEME.removesuffix("://")

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        for found in super()._list(path(dir_or_prefix)):
            yield FileMetadata(uri(found.path), found.size_in_bytes)

    def split(self, name: str) -> tuple[str, str]:
        return os.path.split(name)

    def metadata(self, name: str) -> FileMetadata:
        found = super().metadata(path(name))
        return FileMetadata(name, found.size_in_bytes, found.last_updated_in_seconds)

    def create(self, name: str, *given: Any, **named: Any) -> Any:
        os.makedirs(os.path.dirname(path(name)), exist_ok=True)
        return super().create(path(name), *given, **named)

    def mkdirs(self, name: str) -> None:
        os.makedirs(path(name), exist_ok=True)

    def copy(self, sources: list[str], targets: list[str]) -> None:
        super().copy(list(map(path, sources)), list(map(path, targets)))

    def rename(self, sources: list[str], targets: list[str]) -> None:
        for target in targets:
            os.makedirs(os.path.dirname(path(target)), exist_ok=True)
        super().rename(list(map(path, sources)), list(map(path, targets)))

    def delete(self, names: list[str]) -> None:
        super().delete(list(map(path, names)))


def _of_path(name: str) -> Any:
    of_disk = getattr(LocalFileSystem, name)
    return lambda self, given, *more, **named: of_disk(self, path(given), *more, **named)


for _name in ("open", "exists", "size", "last_updated", "checksum"):
    setattr(BeamFileSystem, _name, _of_path(_name))
