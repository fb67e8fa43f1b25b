"""What earlier runs made, found in folders: for platforms whose nodes can't ask ML Metadata.

On Kubeflow Pipelines a container gets artifacts and parameters, and no connection to the store, and
TFX's Resolver, which needs one, runs nowhere but on Vertex. What stands in its place always makes
an artifact, as every output exists there, so it says on it whether it found any.
"""

import json
import os
from typing import Any

from tfx import types
from tfx.dsl.io import fileio

from darkroom.components.base import remote, results

_NOTE = "found.json"


def note_source(artifact: types.Artifact, source: str | None) -> None:
    """Whether something was found; also in a file, as a folder without any can't be handed on."""
    artifact.set_int_custom_property(results.FOUND_PROPERTY, int(source is not None))
    write_note(os.path.join(artifact.uri, _NOTE), {"from": source})


def read_note(path: str) -> dict[str, Any]:
    """What a note says; empty where there is none."""
    try:
        read: dict[str, Any] = json.loads(remote.read(path))
    except FileNotFoundError:
        return {}
    return read


def write_note(path: str, value: dict[str, Any]) -> None:
    """Writes a note, also in a bucket."""
    fileio.makedirs(os.path.dirname(path))
    with fileio.open(path, "w") as file:
        file.write(json.dumps(value))
