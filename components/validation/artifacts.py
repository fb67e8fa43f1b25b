"""What SchemaGen and ExampleValidator note on the artifacts that they make. Light to import.

It is written on TFX's artifact, and read from ML Metadata's.
"""

import json
from typing import TYPE_CHECKING, NamedTuple

from typing_extensions import Self

if TYPE_CHECKING:
    from ml_metadata.proto import metadata_store_pb2
    from tfx import types

# Custom properties.
_ANOMALIES, _INFERRED = "sentences", "inferred"


class Anomalies(NamedTuple):
    """Of ExampleValidator: what is odd about the data, a sentence each."""

    sentences: list[str]

    def write(self, artifact: "types.Artifact") -> None:
        """Notes them on the anomalies."""
        artifact.set_string_custom_property(_ANOMALIES, json.dumps(self.sentences))

    @classmethod
    def read(cls, artifact: "metadata_store_pb2.Artifact") -> Self:
        """Those of the anomalies."""
        return cls(json.loads(artifact.custom_properties[_ANOMALIES].string_value))


class SchemaOrigin(NamedTuple):
    """Of SchemaGen: where a schema comes from."""

    inferred: bool  # else it is the user's own

    def write(self, artifact: "types.Artifact") -> None:
        """Notes it on the schema."""
        artifact.set_int_custom_property(_INFERRED, int(self.inferred))

    @classmethod
    def read(cls, artifact: "metadata_store_pb2.Artifact") -> Self:
        """That of the schema."""
        return cls(bool(artifact.custom_properties[_INFERRED].int_value))
