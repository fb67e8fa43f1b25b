"""What earlier runs made, found in folders: for platforms whose nodes can't ask ML Metadata.

On Kubeflow Pipelines a container gets artifacts and parameters, and no connection to the store, and
TFX's Resolver, which needs one, runs nowhere but on Vertex. What stands in its place always makes
an artifact, as every output exists there, so it says on it whether it found any.
"""

import json
import os

from tfx import types
from tfx.utils import io_utils

from darkroom.components.base import results

_NOTE = "found.json"


def note_source(artifact: types.Artifact, source: str | None) -> None:
    """Whether something was found; also in a file, as a folder without any can't be handed on."""
    artifact.set_int_custom_property(results.FOUND_PROPERTY, int(source is not None))
    io_utils.write_string_file(os.path.join(artifact.uri, _NOTE), json.dumps({"from": source}))
