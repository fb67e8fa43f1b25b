"""The folder of a model's versions on a local disk: a new one appears whole or not at all.

Light to import: neither TensorFlow nor TFX.
"""

import hashlib
import logging
import os
import shutil
import time
from pathlib import Path
from typing import Any

from darkroom.serving import files, pushed_files, rollout
from darkroom.serving.pushed_files import VersionNote

# Model servers take integer folder names for versions and ignore any other name.
_INCOMING, _OUTGOING = "incoming-", "outgoing-"
_LOCK_FILE = "push.lock"
_CHUNK = 2**20  # bytes


def push(model_folder: Path, source: Path, note: VersionNote, serving: Any) -> int:
    """Makes a model a version, gives it its label, and removes old ones.

    Killed at any point, it leaves every version whole, and what the model server is told too. The
    next push finishes or clears away what it began.

    Args:
      model_folder: that of the versions, named as the model.
      source: the folder of the SavedModel.
      note: what is written down of the version, beside its number, time and fingerprint.
      serving: the section ``serving`` of the configuration.

    Returns:
      The version's number. Where the newest version is the same model, it is that one.

    Raises:
      OSError: a file can't be read or written.
      RolloutError: the model config file is damaged.
    """
    model_folder.mkdir(parents=True, exist_ok=True)
    beside = model_folder.parent
    with files.locked(beside / _LOCK_FILE):
        _clear(model_folder)
        current = rollout.read(model_folder)
        there = rollout.versions(model_folder)
        fingerprint = fingerprint_of(source)
        of_newest = VersionNote.of(there[0]) if there else None
        if of_newest is not None and of_newest.fingerprint == fingerprint:
            version = int(there[0].name)
        else:
            now = time.time()
            version = rollout.next_number([int(path.name) for path in there], current, now)
            note = note.numbered(version, now, fingerprint)
            _place(source, model_folder / str(version), note)
        # The model config file last: who sees it finds all the others.
        files.replace(beside / pushed_files.BATCHING_FILE, pushed_files.batching(serving.batching))
        files.replace(beside / pushed_files.MONITORING_FILE, pushed_files.MONITORING)
        rollout.admit(model_folder, version, serving.rollout == "canary")
        rollout.remove_old(model_folder, serving.keep_versions, _hide)
        _clear(model_folder)
    return version


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


def _place(source: Path, target: Path, note: VersionNote) -> None:
    """Copies a model beside its place, then renames it into place."""
    staging = target.with_name(_INCOMING + target.name)
    files.copy_folder(source, staging)
    written = staging / VersionNote.PATH
    written.parent.mkdir(exist_ok=True)
    files.replace(written, note.text())
    files.sync(staging)
    os.rename(staging, target)
    files.sync(target.parent)


def _hide(version: Path) -> None:
    """Takes a version out of a model server's sight, whole."""
    try:
        version.rename(version.with_name(_OUTGOING + version.name))
    except OSError as error:  # it costs space, and no more
        logging.warning("%s is old, and can't be removed: %s", version, error)


def _clear(model_folder: Path) -> None:
    """Removes what was taken out of sight, and what killed pushes left over."""
    for path in model_folder.iterdir():
        if path.name.startswith((_INCOMING, _OUTGOING)):
            shutil.rmtree(path, ignore_errors=True)
