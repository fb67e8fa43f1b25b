"""Archives of images: unpacked for as long as they are read."""

import contextlib
import lzma
import os
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from darkroom.components.base.errors import DarkroomError

# What a damaged archive, one with a password or a full disk makes the libraries raise.
_BROKEN = (
    *(OSError, EOFError, RuntimeError, zlib.error, lzma.LZMAError),
    *(zipfile.BadZipFile, tarfile.TarError),
)
SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


@contextlib.contextmanager
def opened(source: Path, beside: Path) -> Iterator[Path]:
    """The folder that a source is, or what is in it, unpacked for a while beside ``beside``.

    Files have the times that they have in the archive, so that the second time they are known.
    """
    if not source.name.lower().endswith(SUFFIXES) or not source.is_file():
        yield source
        return
    folder = beside.with_name(f".{beside.name}-unpacked")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{folder.name}-", dir=folder.parent) as unpacked:
        try:
            if source.name.lower().endswith(".zip"):
                _unzip(source, unpacked)
            else:
                with tarfile.open(source) as archive:
                    archive.extractall(unpacked, filter="data")
        except _BROKEN as error:
            raise DarkroomError(
                f"{source}: can't be unpacked in {folder.parent}: {error}."
            ) from error
        yield Path(unpacked)


def _unzip(source: Path, folder: str) -> None:
    with zipfile.ZipFile(source) as archive:
        for member in archive.infolist():
            path = archive.extract(member, folder)
            seconds = time.mktime((*member.date_time, 0, 0, -1))
            os.utime(path, (seconds, seconds))
