"""What nodes note on TFX's artifacts, read from ML Metadata's. Light to import."""

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ml_metadata.proto import metadata_store_pb2
    from tfx import types

# Custom properties.
_ANOMALIES, _INFERRED = "sentences", "inferred"


def write_anomalies(artifact: "types.Artifact", sentences: list[str]) -> None:
    """Notes on ExampleValidator's anomalies what is odd about the data, a sentence each."""
    artifact.set_string_custom_property(_ANOMALIES, json.dumps(sentences))


def anomalies(artifact: "metadata_store_pb2.Artifact") -> list[str]:
    """The sentences of ExampleValidator's anomalies."""
    sentences: list[str] = json.loads(artifact.custom_properties[_ANOMALIES].string_value)
    return sentences


def write_inferred(schema: "types.Artifact", inferred: bool) -> None:
    """Notes on SchemaGen's schema whether it was inferred, or is the user's own."""
    schema.set_int_custom_property(_INFERRED, int(inferred))


def is_inferred(schema: "metadata_store_pb2.Artifact") -> bool:
    """Whether SchemaGen's schema was inferred."""
    return bool(schema.custom_properties[_INFERRED].int_value)
