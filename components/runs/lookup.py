"""What earlier runs made, found in folders: for platforms whose nodes can't ask ML Metadata.

On Kubeflow Pipelines a container gets artifacts and parameters, and no connection to the store, and
TFX's Resolver, which needs one, runs nowhere but on Vertex. What stands in its place always makes
an artifact, as every output exists there, so it says on it whether it found any.
"""

import json
import os
from typing import TypeVar

from pydantic import BaseModel
from tfx import types
from tfx.dsl.io import fileio

from darkroom.components.base import remote, results

_NOTE = "found.json"
SOURCE_FILE = "source.json"
_Note = TypeVar("_Note", bound=BaseModel)


class Source(BaseModel):
    """Whose statistics a folder has."""

    uri: str
    split_names: str
    """As TFX's artifact has them, JSON."""


def note_source(artifact: types.Artifact, source: str | None) -> None:
    """Whether something was found; also in a file, as a folder without any can't be handed on."""
    artifact.set_int_custom_property(results.FOUND_PROPERTY, int(source is not None))
    write(os.path.join(artifact.uri, _NOTE), json.dumps({"from": source}))


def read(kind: type[_Note], path: str) -> _Note | None:
    """A note, of a file that may be in a bucket; None where there is none."""
    try:
        return kind.model_validate_json(remote.read(path))
    except FileNotFoundError:
        return None


def write(path: str, note: str) -> None:
    """Writes a note, also in a bucket."""
    fileio.makedirs(os.path.dirname(path))
    with fileio.open(path, "w") as file:
        file.write(note)
