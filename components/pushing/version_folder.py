"""A model's versions, on disk or in a bucket: a new one appears whole or not. Light to import."""

import contextlib
import hashlib
import logging
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from darkroom.components.base import remote
from darkroom.serving import files, pushed_files, rollout
from darkroom.serving.pushed_files import Rollout, VersionNote

if TYPE_CHECKING:
    from darkroom.components.base.settings import PusherSettings

_INCOMING, _OUTGOING = "incoming-", "outgoing-"  # model servers only take numbers for versions
_LOCK_FILE = "push.lock"
_GRAPH = "saved_model.pb"  # without one no folder is taken for a model
_CHUNK = 2**20  # bytes


class VersionFolder:
    """A model's versions on a local disk: one comes to its place by renaming, under a lock."""

    def __init__(self, base: str):
        self.base, self._beside = base, os.path.dirname(base)
        self._path = Path(base)

    def versions(self) -> list[str]:
        """The whole versions, newest first."""
        return [path.name for path in rollout.versions(self._path)]

    def current(self) -> Rollout | None:
        """Which versions are served; None: no file says so; raises RolloutError if that is bad."""
        return rollout.read(self._path)

    def note(self, version: str) -> VersionNote | None:
        """What was written down of a version; None where nothing was."""
        return VersionNote.of(self._path / version)

    def stable_beside(self, fingerprint: str, uri: str) -> str | None:
        """The stable version; where that is the given model, the one that was stable before it.

        The model's ``fingerprint`` tells, or its artifact's ``uri`` of versions without one. None
        where there is no other version; raises RolloutError where the model config file is bad.
        """
        versions, current = self.versions(), self.current()
        order = versions
        if current is not None:
            stable = [str(number) for number in (current.stable, *reversed(current.before))]
            order = [version for version in stable if version in versions]
        return next((v for v in order if not self._is(v, fingerprint, uri)), None)

    def _is(self, version: str, fingerprint: str, uri: str) -> bool:
        note = self.note(version)
        if note is not None and note.fingerprint:
            return note.fingerprint == fingerprint
        return note is not None and note.model is not None and note.model["uri"] == uri

    def push(self, source: Path, note: VersionNote, settings: "PusherSettings") -> int:
        """Makes the SavedModel a version, gives it its label, removes old ones; returns its number.

        Where the newest version is the same model, it is that one. Killed at any point, it leaves
        whole versions and a whole model config file. Raises OSError, or RolloutError where that is
        damaged.
        """
        with self._prepared():
            current, versions = self.current(), self.versions()
            fingerprint = fingerprint_of(source)
            newest = self.note(versions[0]) if versions else None
            if newest is not None and newest.fingerprint == fingerprint:
                version = int(versions[0])
            else:
                now = time.time()
                # The numbers of what a killed push left in a bucket count, too.
                numbers = [int(name) for name in remote.names(self.base) if name.isdecimal()]
                version = rollout.next_number(numbers, current, now)
                self._place(source, version, note.numbered(version, now, fingerprint))
            # The model config file last: who sees it finds all the others.
            batching = pushed_files.batching(settings.batching)
            self._write_beside(pushed_files.BATCHING_FILE, batching)
            self._write_beside(pushed_files.MONITORING_FILE, pushed_files.MONITORING)
            self._serve(version, settings)
        return version

    @contextlib.contextmanager
    def _prepared(self) -> Iterator[None]:
        self._path.mkdir(parents=True, exist_ok=True)
        with files.locked(Path(self._beside, _LOCK_FILE)):
            self._clear()
            yield
            self._clear()

    def _place(self, source: Path, version: int, note: VersionNote) -> None:
        """Copies it beside its place, then renames it into place."""
        staging = self._path / f"{_INCOMING}{version}"
        files.copy_folder(source, staging)
        written = staging / VersionNote.PATH
        written.parent.mkdir(exist_ok=True)
        files.replace(written, note.text())
        files.sync(staging)
        os.rename(staging, self._path / str(version))
        files.sync(self._path)

    def _write_beside(self, name: str, text: str) -> None:
        files.replace(Path(self._beside, name), text)

    def _serve(self, version: int, settings: "PusherSettings") -> None:
        rollout.admit(self._path, version, settings.rollout == "canary")
        rollout.remove_old(self._path, settings.keep_versions, _hide)

    def _clear(self) -> None:
        for path in self._path.iterdir():
            if path.name.startswith((_INCOMING, _OUTGOING)):
                shutil.rmtree(path, ignore_errors=True)


class _BucketFolder(VersionFolder):
    """A model's versions in a bucket, where nothing can be renamed in one step, locked or synced.

    The model config file, replaced as a whole, names whole versions only; who takes the newest
    folder may try too early, and tries again. Two pushes at a time are not kept apart.
    """

    def versions(self) -> list[str]:
        # What a killed push left has no graph yet.
        names = [n for n in remote.names(self.base) if remote.exists(f"{self.base}/{n}/{_GRAPH}")]
        return sorted((name for name in names if name.isdigit()), key=int, reverse=True)

    def current(self) -> Rollout | None:
        text = self._config()  # whose versions are only looked up where there is one
        return Rollout.parse(text, self.base, map(int, self.versions())) if text else None

    def note(self, version: str) -> VersionNote | None:
        return VersionNote.parse(_read(f"{self.base}/{version}/{VersionNote.PATH}"))

    @contextlib.contextmanager
    def _prepared(self) -> Iterator[None]:
        yield

    def _place(self, source: Path, version: int, note: VersionNote) -> None:
        """Copies it file by file, the graph last."""
        from tfx.utils import io_utils

        target = f"{self.base}/{version}"
        io_utils.copy_dir(str(source), target, deny_regex_patterns=[r"saved_model\.pb$"])
        _write(f"{target}/{VersionNote.PATH}", note.text())
        io_utils.copy_file(str(source / _GRAPH), f"{target}/{_GRAPH}")

    def _write_beside(self, name: str, text: str) -> None:
        _write(f"{self._beside}/{name}", text)

    def _serve(self, version: int, settings: "PusherSettings") -> None:
        versions = [int(name) for name in self.versions()]
        canary = settings.rollout == "canary"
        admitted = rollout.admitted(self.current(), versions, version, canary)
        self._write_beside(pushed_files.CONFIG_FILE, admitted.render(self.base, self._config()))
        for old in rollout.removable(versions, settings.keep_versions, admitted):
            remote.remove(f"{self.base}/{old}")

    def _config(self) -> str:
        return _read(f"{self._beside}/{pushed_files.CONFIG_FILE}")


def at(base: str) -> VersionFolder:
    """The folder of a path or URI."""
    base = base.rstrip("/")
    return _BucketFolder(base) if remote.is_remote(base) else VersionFolder(base)


def fingerprint_of(folder: Path) -> str:
    """A hash of all files of a model but the note, by which the same model is recognised."""
    digest = hashlib.sha256()
    note = folder / VersionNote.PATH
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path != note):
        digest.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode())
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def _hide(version: Path) -> None:
    try:
        version.rename(version.with_name(_OUTGOING + version.name))
    except OSError as error:  # it costs space, and no more
        logging.warning("%s is old, and can't be removed: %s", version, error)


def _read(uri: str) -> str:
    try:
        return remote.read(uri).decode()
    except FileNotFoundError:
        return ""


def _write(uri: str, text: str) -> None:
    from tfx.dsl.io import fileio

    fileio.makedirs(os.path.dirname(uri))
    with fileio.open(uri, "w") as file:
        file.write(text)
