"""Which version of the images a folder of TFRecords has, where darkroom ingest made it."""

import json
from typing import Final

from darkroom.components.base import remote

FILE: Final = "ingest.json"  # in the folder
PROPERTY: Final = "data_version"  # of the examples in ML Metadata


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
