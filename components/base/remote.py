"""Folders in buckets: their copies on this machine, and how they get there and back.

Light to import: TFX's ``fileio``, and TensorFlow with it, is only imported for what has a scheme,
such as ``gs://``. A finished artifact is copied once, as it never changes.
"""

import contextlib
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from darkroom.components.base.errors import DarkroomError, explain

# A variable of the environment, as worker processes have the same copies.
_FOLDER = "DARKROOM_STAGING"
# What teaches TensorFlow a scheme that it doesn't know by itself; and Beam, which reads the data.
_PLUGINS = {"s3": ("tensorflow_io", "boto3"), "hdfs": ("tensorflow_io", "hdfs")}
_PROBE = "is-writable"  # a file that is written and removed
_PACKAGES = {"tensorflow_io": "tensorflow-io"}


def is_remote(path: str) -> bool:
    """Whether a path has a scheme."""
    return "://" in path


def use(folder: Path) -> None:
    """Puts copies below this folder, in this process and in those that it starts."""
    os.environ[_FOLDER] = str(folder)


def place(uri: str) -> Path:
    """Where the copy is, if it was made."""
    if not is_remote(uri):
        return Path(uri)
    return _folder() / uri.rstrip("/").replace("://", "/", 1)


def origin(path: str) -> str:
    """The URI that a path is the copy of; any other text as it is."""
    folder = f"{_folder()}{os.sep}"
    if not path.startswith(folder):
        return path
    scheme, _, rest = os.path.normpath(path).removeprefix(folder).partition(os.sep)
    return f"{scheme}://{rest}"


def fetch(uri: str, anew: bool = False) -> Path:
    """The copy of a folder or file; ``anew``: a new one, as the original may have changed."""
    target = place(uri)
    if not is_remote(uri) or (target.exists() and not anew and not _mark(target).exists()):
        return target
    fileio = _fileio(uri)
    from tfx.utils import io_utils

    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{target.name}.", dir=target.parent) as partial:
        copy = os.path.join(partial, "copy")
        if fileio.isdir(uri):
            io_utils.copy_dir(uri, copy)
        elif fileio.exists(uri):
            fileio.copy(uri, copy)
        else:
            raise DarkroomError(f"{uri} isn't there any more, or can't be read.")
        _remove(target)
        with contextlib.suppress(OSError):  # another process was faster
            os.replace(copy, target)
        _mark(target).unlink(missing_ok=True)
    return target


def file(uri: str, name: str) -> Path:
    """The copy of one file of a folder, with the whole or alone; raises FileNotFoundError."""
    target = place(uri)
    if not is_remote(uri) or (target.exists() and not _mark(target).exists()):
        return target / name
    single = _folder() / "files" / uri.replace("://", "/", 1) / name
    if not single.exists():
        contents = read(f"{uri}/{name}")
        single.parent.mkdir(parents=True, exist_ok=True)
        single.write_bytes(contents)
    return single


def exists(uri: str) -> bool:
    """Whether a file or folder is there."""
    if not is_remote(uri):
        return os.path.exists(uri)
    return bool(_fileio(uri).exists(uri))


def names(uri: str) -> list[str]:
    """What is in a folder; nothing where it isn't there."""
    if not exists(uri):
        return []
    if not is_remote(uri):
        return os.listdir(uri)
    return [name.rstrip("/") for name in _fileio(uri).listdir(uri)]


def read(uri: str) -> bytes:
    """What a file holds, now; raises FileNotFoundError where there is none."""
    if not is_remote(uri):
        return Path(uri).read_bytes()
    if not exists(uri):
        raise FileNotFoundError(uri)
    with _fileio(uri).open(uri, "rb") as opened:
        return bytes(opened.read())


def put(uri: str) -> None:
    """Moves the copy of a file to where it belongs, whole."""
    if is_remote(uri):
        fileio = _fileio(uri)
        fileio.makedirs(os.path.dirname(uri))
        fileio.copy(str(place(uri)), uri, overwrite=True)  # stores show an object when it is whole
        place(uri).unlink()


def remove(uri: str) -> None:
    """Removes a folder, where it is there."""
    if not is_remote(uri):
        shutil.rmtree(uri, ignore_errors=True)
    elif exists(uri):
        _fileio(uri).rmtree(uri)


@contextlib.contextmanager
def written(uri: str) -> Iterator[Path]:
    """Gives an empty folder here, which is copied to the URI unless there is an exception."""
    target = place(uri)
    target.parent.mkdir(parents=True, exist_ok=True)
    _mark(target).touch()  # who is killed leaves no copy that could be taken for a whole one
    _remove(target)
    target.mkdir()
    yield target
    plug_in(uri)
    from tfx.utils import io_utils

    io_utils.copy_dir(str(target), uri)
    _mark(target).unlink()


def check(key: str, uri: str, writable: bool = False) -> None:
    """Raises a DarkroomError where a bucket can't be read, or not be written if it has to be.

    ``uri`` is a folder in it, ``key`` that of the configuration, which names it.
    """
    if not is_remote(uri):
        return
    scheme = uri.partition("://")[0]
    missing = [name for name in _PLUGINS.get(scheme, ()) if importlib.util.find_spec(name) is None]
    if missing:
        packages = " ".join(_PACKAGES.get(name, name) for name in missing)
        raise DarkroomError(
            f"{key}: {uri} needs {' and '.join(packages.split())}: pip install {packages}."
        )
    plug_in(uri)
    import tensorflow as tf
    from tfx.dsl.io import fileio, filesystem_registry
    from tfx.dsl.io.plugins.tensorflow_gfile import TensorflowFilesystem

    filesystem = filesystem_registry.DEFAULT_FILESYSTEM_REGISTRY.get_filesystem_for_path(uri)
    schemes = tf.io.gfile.get_registered_schemes()
    if filesystem is TensorflowFilesystem and scheme not in schemes:
        raise DarkroomError(
            f"{key}: nothing here knows {scheme}://, found {uri}. There are gs:// and, where "
            "tensorflow-io is installed, s3:// and hdfs://."
        )
    try:
        fileio.exists(uri)
        if writable:  # some stores have folders without being asked
            with fileio.open(f"{uri}/{_PROBE}", "w") as probe:
                probe.write("darkroom can write here.")
            fileio.remove(f"{uri}/{_PROBE}")
    except Exception as error:
        raise DarkroomError(
            f"{key}: {uri} can't be {'written' if writable else 'read'}: "
            f"{explain(error).rstrip('.')}. Does the bucket exist, and do the credentials of this "
            "machine allow it?"
        ) from error


def plug_in(uri: str) -> None:
    """Teaches TensorFlow, and TFX's ``fileio``, the scheme of a URI in this process."""
    for name in _PLUGINS.get(uri.partition("://")[0], ())[:1]:
        importlib.import_module(name)


def _fileio(uri: str) -> ModuleType:
    plug_in(uri)
    from tfx.dsl.io import fileio

    return fileio  # type: ignore[no-any-return]  # TFX has no types


def _folder() -> Path:
    default = os.path.join(tempfile.gettempdir(), "darkroom-staging")
    return Path(os.environ.get(_FOLDER) or default)


def _mark(target: Path) -> Path:
    return target.with_name(f"{target.name}.unfinished")


def _remove(target: Path) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)
