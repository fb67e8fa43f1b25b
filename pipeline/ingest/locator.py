"""Finds the files that a table names, whatever way it spells them."""

import os
import re
import unicodedata
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from darkroom.pipeline.ingest import tree
from darkroom.pipeline.ingest.listing import is_image, plural, some, split_of


class NotUsable(ValueError):
    """A file may not be used, or isn't known to be the one that is meant; says why."""


class Found(NamedTuple):
    """A file that a table names."""

    path: str  # absolute
    searched: bool  # by its name alone, as it is not where the table says
    exists: bool


class Locator:
    """Finds files below ``root`` that are named relative to ``base``, or to ``root``.

    Accents may be composed or not, backslashes divide folders, the suffix may be missing. What is
    not where its path says is searched for below ``root``, and taken where one file ends so.
    """

    def __init__(self, root: str, base: str, within: tree.Folder | None = None, split: str = ""):
        self.root = root
        self._base = base
        self._tree = within
        self._is_trusted = within is not None  # the links of a folder that was given as a source
        self._split = split or "train"  # preferred where a name is in several splits
        self._folders: dict[str, dict[str, os.DirEntry[str]]] = {}
        self._stems: dict[str, dict[str, list[str]]] = {}
        self._inside: dict[str, bool] = {}
        self._ends: dict[str, list[str]] | None = None

    def find(self, name: str) -> Found:
        """The file of a name; raises NotUsable where that is outside, or one of several."""
        if "://" in name:
            raise NotUsable("an address, expected a file")
        spellings = dict.fromkeys((name, name.replace("\\", "/")))
        starts = dict.fromkeys((self._base, self.root))
        paths = [os.path.normpath(os.path.join(s, n)) for n in spellings for s in starts]
        inside = [self._spelled(path) for path in paths if self._is_inside(os.path.dirname(path))]
        for path in inside:
            if entry := self._at(*os.path.split(path)):
                if entry.is_symlink() and not self._is_inside(entry.path):
                    raise NotUsable(f"outside {self.root}, by a link")
                return Found(entry.path, False, True)
        if searched := self._search(_composed(list(spellings)[-1])):
            return Found(searched, True, True)
        if not inside:
            raise NotUsable(f"outside {self.root}; --root names the folder of the images")
        return Found(inside[0], False, False)

    def _at(self, folder: str, name: str) -> os.DirEntry[str] | None:
        entries, name = self._entries(folder), _composed(name)
        if name in entries or is_image(name):
            return entries.get(name)
        if folder not in self._stems:
            self._stems[folder] = defaultdict(list)
            for image in filter(is_image, entries):
                self._stems[folder][os.path.splitext(image)[0]].append(image)
        several = self._stems[folder].get(name, [])
        if len(several) > 1:
            raise NotUsable(f"not one file but {plural(len(several), 'file')}: {some(several, 2)}")
        return entries[several[0]] if several else None

    def _entries(self, folder: str) -> dict[str, os.DirEntry[str]]:
        """What is in a folder, by composed name; of a folder that is spelled otherwise, too."""
        if folder not in self._folders:
            try:
                with os.scandir(folder) as scanned:
                    self._folders[folder] = {_composed(entry.name): entry for entry in scanned}
            except OSError:
                above, name = os.path.split(folder)
                self._folders[folder] = {}
                if folder != self.root and self._is_inside(above):
                    entry = self._entries(above).get(_composed(name))
                    if entry and entry.path != folder:
                        self._folders[folder] = self._entries(entry.path)
        return self._folders[folder]

    def _search(self, name: str) -> str | None:
        if self._ends is None:
            self._tree = self._tree or tree.read(Path(self.root), [])
            self._ends = defaultdict(list)
            for path in self._tree.all_images():
                end = _composed(os.path.basename(path))
                self._ends[end].append(path)
                self._ends[os.path.splitext(end)[0]].append(path)
        for wanted in _endings(name):
            candidates = [
                path
                for path in self._ends.get(os.path.basename(wanted), [])
                if _composed(path).endswith((wanted, wanted + os.path.splitext(path)[1]))
                and self._is_inside(path)
            ]
            if candidates:
                return self._preferred(candidates)
        return None

    def _preferred(self, paths: list[str]) -> str:
        if len(paths) == 1:
            return paths[0]
        names = {path: os.path.relpath(path, self.root) for path in paths}
        of_split = [p for p in paths if self._split in map(split_of, Path(names[p]).parts)]
        if len(of_split) != 1:
            short = some(sorted(names.values()), 2)
            raise NotUsable(f"not one file but {plural(len(paths), 'file')}: {short}")
        return of_split[0]

    def _is_inside(self, path: str) -> bool:
        """Whether a path is below the root, links of a table's own folder followed."""
        if path not in self._inside:
            real = path if self._is_trusted else os.path.realpath(path)
            self._inside[path] = Path(real).is_relative_to(self.root)
        return self._inside[path]

    def _spelled(self, path: str) -> str:
        """The path as one below the root, which it may be by a link alone."""
        if Path(path).is_relative_to(self.root):
            return path
        folder, name = os.path.split(path)
        return os.path.join(os.path.realpath(folder), name)


def _endings(name: str) -> list[str]:
    """How the path of the file ends; of one of another machine any end that has a folder."""
    wanted = os.path.normpath("/" + name.lstrip("/"))
    if not (name.startswith("/") or re.match("[A-Za-z]:/", name)):
        return [wanted]
    parts = wanted.split("/")[1:]
    return ["/" + "/".join(parts[at:]) for at in range(len(parts) - 1)]


def _composed(name: str) -> str:
    return name if name.isascii() else unicodedata.normalize("NFC", name)
