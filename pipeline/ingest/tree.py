"""A folder with all that is below it, by names alone."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from darkroom.components.base.errors import DarkroomError
from darkroom.pipeline.ingest.listing import is_image

Refused = list[tuple[str, str]]


class Folder(NamedTuple):
    """A folder without its hidden files; all sorted by name."""

    path: str  # absolute
    name: str
    folders: list["Folder"]
    images: list[str]  # names
    others: list[str]  # names of files that are no images
    total: int  # images, those of folders below included

    def walk(self) -> Iterator["Folder"]:
        """Itself, then all folders below."""
        yield self
        for folder in self.folders:
            yield from folder.walk()

    def all_images(self) -> Iterator[str]:
        """Paths of the images, those of folders below included."""
        return (os.path.join(f.path, name) for f in self.walk() for name in f.images)


def read(root: Path, refused: Refused) -> Folder:
    """Reads a folder; links are followed, never in circles; hidden files are left out.

    What can't be read below it is ``refused``; raises a DarkroomError where itself can't be.
    """
    path = str(root)
    failed: Refused = []
    folder = _read(path, os.path.basename(path), [], failed)
    for name, reason in failed:
        if name == path:
            raise DarkroomError(f"{root}: can't be read: {reason}.")
        refused.append((os.path.relpath(name, root), reason))
    return folder


def holds_images(folder: Path) -> bool:
    """Whether any file below a folder is named as an image is."""
    return read(folder, []).total > 0


def _read(path: str, name: str, above: list[tuple[int, int]], failed: Refused) -> Folder:
    folder = Folder(path, name, [], [], [], 0)
    try:
        status = os.stat(path)
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            return folder
        with os.scandir(path) as scanned:
            entries = sorted((e for e in scanned if e.name[0] != "."), key=lambda e: e.name)
    except OSError as error:
        failed.append((path, f"{error.strerror}"))
        return folder
    total = 0
    for entry in entries:
        if _is_folder(entry):
            below = _read(entry.path, entry.name, [*above, identity], failed)
            folder.folders.append(below)
            total += below.total
        else:
            (folder.images if is_image(entry.name) else folder.others).append(entry.name)
    return folder._replace(total=total + len(folder.images))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle of links
        return False
