"""How a target gets from one version of its images to the next, whole, and keeps all of them.

What is new is written beside and put in place at the end; whoever comes after a killed ingest puts
it in place, or removes it. Versions share their files, as hard links.
"""

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path

from darkroom.components.base.errors import DarkroomError
from darkroom.components.ingestion import corrections
from darkroom.components.ingestion.corrections import CORRECTIONS_FILE
from darkroom.pipeline.ingest import index
from darkroom.pipeline.ingest.changes import Change
from darkroom.pipeline.ingest.index import Entry, Records, Settings
from darkroom.pipeline.ingest.listing import SPLITS
from darkroom.serving import files

VERSIONS_FOLDER = "versions"
CHANGES_FILE = "changes.json"
LOCK_FILE = ".lock"
_INCOMING, _COPY = ".incoming", ".version"
_REPLACED_FILE = "replaced.json"  # shards that go
# The settings come last: with them there, all is.
_FILES = (index.INDEX_FILE, index.LEFT_OUT_FILE, CHANGES_FILE, index.SETTINGS_FILE)
_PATIENCE = 60  # seconds until another process has put its files in place


def name(number: int, entries: Iterable[Entry]) -> str:
    """The name of a version: its number, and a hash of its images with labels and splits."""
    rows = sorted((entry.content, entry.label, entry.split) for entry in entries)
    digest = hashlib.blake2b(json.dumps(rows).encode(), digest_size=4).hexdigest()
    return f"{number:04}-{digest}"


def begin(target: Path) -> Path:
    """The folder in which what is to come is written."""
    incoming = target / _INCOMING
    for split in SPLITS:
        (incoming / split).mkdir(parents=True, exist_ok=True)
    return incoming


def commit(
    target: Path,
    settings: Settings,
    before: Records,
    after: Records,
    changed: Sequence[Change],
    source: Path,
    replaced: list[str],
) -> None:
    """Puts in place what is written: now, or when the next one comes.

    ``replaced`` are shards, as in ``train/NAME``, that go.
    """
    incoming = begin(target)
    index.write_entries(incoming / index.INDEX_FILE, after.entries)
    index.write_entries(incoming / index.LEFT_OUT_FILE, after.left_out)
    if after.corrections != before.corrections:
        corrections.write(incoming / CORRECTIONS_FILE, after.corrections.values())
    if changed:
        files.write_json(incoming / CHANGES_FILE, _log(settings.version, before, changed, source))
    files.write_json(incoming / _REPLACED_FILE, replaced)
    index.write_settings(incoming, settings)
    finish(target)


def finish(target: Path) -> None:
    """Puts what is written in place, or removes what a killed ingest left half-written."""
    incoming = target / _INCOMING
    if (incoming / index.SETTINGS_FILE).exists():
        for split in SPLITS:
            (target / split).mkdir(exist_ok=True)
            for shard in (incoming / split).glob("*.tfrecord"):
                os.replace(shard, target / split / shard.name)
        for shard_name in files.read_json(incoming / _REPLACED_FILE) or []:
            (target / shard_name).unlink(missing_ok=True)
        for file in (CORRECTIONS_FILE, *_FILES):
            if (incoming / file).exists():
                os.replace(incoming / file, target / file)
    shutil.rmtree(incoming, ignore_errors=True)
    _keep(target)


def complete(target: Path) -> None:
    """Finishes what a killed ingest had whole; waits where another is doing so.

    Raises a DarkroomError where that takes long.
    """
    if not (target / _INCOMING / index.SETTINGS_FILE).exists():
        return
    try:
        with files.locked(target / LOCK_FILE, patience=_PATIENCE):
            finish(target)
    except files.Locked as error:
        raise DarkroomError(
            f"An ingest into {target} is going on: process {error.holder}."
        ) from None


def _keep(target: Path) -> None:
    """Keeps what is there as a version, unless it is kept."""
    settings = index.read_settings(target)
    if settings is None:
        return
    if not settings.version:  # of an earlier darkroom
        entries = index.read_entries(target / index.INDEX_FILE)
        settings.version = name(settings.runs, entries)
        index.write_settings(target, settings)
    folder, copy = target / VERSIONS_FOLDER / settings.version, target / _COPY
    if folder.exists():
        return
    shutil.rmtree(copy, ignore_errors=True)
    for split in SPLITS:
        (copy / split).mkdir(parents=True)
        for shard in (target / split).glob("*.tfrecord"):
            _link(shard, copy / split / shard.name)
    for file in _FILES:
        if (target / file).exists():
            _link(target / file, copy / file)
    if (target / CORRECTIONS_FILE).exists():  # which people may edit in place
        shutil.copy2(target / CORRECTIONS_FILE, copy / CORRECTIONS_FILE)
    folder.parent.mkdir(exist_ok=True)
    os.rename(copy, folder)


def _link(file: Path, other: Path) -> None:
    try:
        os.link(file, other)
    except OSError:  # a disk without hard links
        shutil.copy2(file, other)


def _log(
    version: str, before: Records, changed: Sequence[Change], source: Path
) -> dict[str, object]:
    return {
        "version": version,
        "before": before.settings.version if before.settings else None,
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "source": str(source),
        "counts": Counter(change.kind for change in changed),
        "changes": [
            {
                "kind": change.kind,
                "before": change.before and _told(change.before),
                "after": change.after and _told(change.after),
            }
            for change in changed
        ],
    }


def _told(entry: Entry) -> dict[str, str]:
    return {key: getattr(entry, key) for key in ("path", "label", "split", "content")}
