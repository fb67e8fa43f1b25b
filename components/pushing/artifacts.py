"""What ServingValidator leaves behind. Light to import."""

import json
import os
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel
from typing_extensions import Self

from darkroom.serving import files

if TYPE_CHECKING:
    from ml_metadata.proto.metadata_store_pb2 import Artifact
    from tfx import types


class Latency(BaseModel, frozen=True):
    """How long requests of one image each took: percentiles in milliseconds."""

    p50_ms: float
    p99_ms: float


class Measured(BaseModel, frozen=True):
    """What was measured of a server with the model."""

    server: str  # its name
    ready_seconds: float  # from its start until the model could be asked
    memory_mib: float
    images: int  # that it was asked about
    largest_difference: float  # of a score to the model's own
    latency: dict[str, Latency]  # over ``rest`` and ``grpc``


class ServingValidation(BaseModel, frozen=True):
    """Whether a model can be served: ``serving.json``, and a property of the infra blessing."""

    FILE: ClassVar = "serving.json"
    PROPERTY: ClassVar = "verdict"

    reasons: list[str]  # why it can't be, in words
    measured: Measured | None = None  # None: no server served it

    def write(self, infra_blessing: "types.Artifact") -> None:
        path = os.path.join(infra_blessing.uri, self.FILE)
        files.write_json(path, self.as_json())
        infra_blessing.set_string_custom_property(self.PROPERTY, json.dumps(self.as_json()))

    @classmethod
    def read(cls, infra_blessing: "Artifact") -> Self:
        written = json.loads(infra_blessing.custom_properties[cls.PROPERTY].string_value)
        measured = Measured(**written) if "server" in written else None
        return cls(reasons=written["reasons"], measured=measured)

    def as_json(self) -> dict[str, Any]:
        measured = {} if self.measured is None else self.measured.model_dump()
        return {"reasons": self.reasons, **measured}
