"""What a model server is told of the pushed versions, and the report's own words."""

import itertools
from typing import Annotated, Literal

from pydantic import Field, model_validator

from darkroom.components.base.sections.section import Section


class Batching(Section):
    max_batch_size: int = Field(64, ge=1)
    """Images that the model gets at once, at most."""
    batch_timeout_micros: int = Field(0, ge=0)
    """Microseconds that an image waits for others; 0: batches form only while the model is busy."""
    max_enqueued_batches: int = Field(100, ge=1)
    """Batches that wait, at most; who comes then is told that the server is not available."""
    num_batch_threads: int | None = Field(None, ge=1)
    """Batches at the same time; empty: as many as the server's machine has cores."""
    allowed_batch_sizes: list[Annotated[int, Field(ge=1)]] = []
    """Batches are filled up to one of these sizes; rising, the last is `max_batch_size`."""

    @model_validator(mode="after")
    def _sizes_end_at_the_largest(self) -> "Batching":
        sizes = self.allowed_batch_sizes
        if any(high <= low for low, high in itertools.pairwise(sizes)):
            raise ValueError(f"allowed_batch_sizes: expected sizes in rising order, found {sizes}")
        if sizes and sizes[-1] != self.max_batch_size:
            raise ValueError(
                f"allowed_batch_sizes: expected the last to be max_batch_size, "
                f"{self.max_batch_size}, found {sizes[-1]}"
            )
        return self


class Validation(Section):
    enabled: bool = True
    """Whether a model is tried on a real server before it is pushed."""
    images: int = Field(16, ge=1)
    """Images of the evaluated split that the server is asked about."""
    requests: int = Field(100, ge=1)
    """Requests of one image that are timed, over REST and over gRPC each."""
    load_seconds: float = Field(120.0, gt=0)
    """Seconds that the server may take to start and to load the model."""
    max_latency_p50_ms: float | None = Field(None, gt=0)
    """Milliseconds that half of the requests may take, at most."""
    max_latency_p99_ms: float | None = Field(None, gt=0)
    """Milliseconds that 99 of 100 requests may take, at most."""
    max_memory_mib: int | None = Field(None, gt=0)
    """Resident memory of the server after the requests, at most."""


class Serving(Section):
    keep_versions: int = Field(5, ge=1)
    """The newest versions that stay on disk; those served, and that before them, stay anyway."""
    rollout: Literal["immediate", "canary"] = "immediate"
    """immediate: a pushed version becomes stable; canary: it waits for `darkroom promote`."""
    canary_share: float = Field(0.0, ge=0, le=1)
    """Share of requests without a version that go to the canary; the others go to stable."""
    batching: Batching = Batching()
    """How a model server makes batches of requests, in TensorFlow Serving's words."""
    validation: Validation = Validation()
    """The trial of a model on a server, between Evaluator and Pusher."""


class Report(Section):
    intended_use: str = ""
    """What the model is for, and what not, in your words: a heading of the report."""
    limits: str = ""
    """What the model is known not to do well, in your words: a heading of the report."""
    mlflow: str | None = None
    """MLflow's tracking URI: each run is logged there, and a pushed version registered."""
