"""Which images a folder of TFRecords has: the version of darkroom ingest, or their files."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from darkroom.components.base import remote

FILE: Final = "ingest.json"  # in the folder
PROPERTY: Final = "data_version"  # of the examples in ML Metadata
# Likewise: the folder itself, and ``identity``.
FOLDER_PROPERTY: Final = "data_folder"
IDENTITY_PROPERTY: Final = "data_identity"


def read(folder: str) -> str:
    """Its name; empty where others made the TFRecords."""
    uri = f"{folder}/{FILE}"
    if not remote.exists(uri):
        return ""
    try:
        written = json.loads(remote.read(uri))
    except ValueError:  # somebody else's file of that name
        return ""
    return str(written.get("version", "")) if isinstance(written, dict) else ""


def identity(folder: str, patterns: Iterable[str]) -> str:
    """What tells these images from others: their version, else a hash of file names and sizes.

    ``patterns``: of the files, below the folder.
    """
    if version := read(folder):
        return version
    sizes = sorted(size for pattern in patterns for size in _sizes(folder, pattern))
    return hashlib.blake2b(json.dumps(sizes).encode(), digest_size=8).hexdigest()


def _sizes(folder: str, pattern: str) -> list[tuple[str, int]]:
    if not remote.is_remote(folder):
        paths = Path(folder).glob(pattern)
        return [(str(p.relative_to(folder)), os.path.getsize(p)) for p in paths if p.is_file()]
    from apache_beam.io.filesystems import FileSystems

    [match] = FileSystems.match([f"{folder}/{pattern}"])
    return [(f.path.removeprefix(f"{folder}/"), f.size_in_bytes) for f in match.metadata_list]
