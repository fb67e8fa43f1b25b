"""What a run left behind, by node; an ``artifact`` is ML Metadata's. Light to import."""

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, TypedDict

from pydantic_core import to_jsonable_python

if TYPE_CHECKING:
    from ml_metadata.proto.metadata_store_pb2 import Artifact

Outputs = dict[str, "Artifact"]  # a node's output artifacts, by key


class BestTrial(TypedDict):
    """What a search came to."""

    values: dict[str, bool | int | float | str]  # of the hyperparameters, by key
    score: float | None
    trials: int  # all of them


@dataclass
class Node:
    """One node of a run."""

    id: str
    state: str  # complete, cached, failed, running, interrupted
    seconds: float
    result: str = ""  # the one number that matters, in words


@dataclass
class Status:
    """A run, and what is pushed."""

    pipeline: str
    home: str
    run: str
    nodes: list[Node] = field(default_factory=list)
    images: dict[str, int] = field(default_factory=dict)  # of each split
    examples: dict[str, dict[str, int]] = field(default_factory=dict)  # split → class → images
    inspection: dict[str, object] | None = None  # an InspectionReport: what was kept and set aside
    quarantine: str | None = None  # the folder of what was set aside
    anomalies: list[str] = field(default_factory=list)  # of the data, in words
    schema: str | None = None  # the file
    best_trial: BestTrial | None = None
    trials: list[dict[str, object]] = field(default_factory=list)  # TrialRows, best first
    search_picture: str | None = None  # of the trials, and of what mattered
    lr_scan: dict[str, object] | None = None  # LearningRates, and the picture of them
    diagnosis: list[str] = field(default_factory=list)  # of the training, in words
    augmentation: str | None = None  # a picture of augmented training images
    metrics: dict[str, int | float | None] = field(default_factory=dict)
    cross_validation: str | None = None  # the accuracy, in words
    blessed: bool | None = None  # None: not evaluated
    reasons: list[str] = field(default_factory=list)  # why not blessed
    serving_reasons: list[str] = field(default_factory=list)  # why not blessed for serving
    remarks: list[str] = field(default_factory=list)  # what else the gate has to say
    pushed_version: str | None = None  # by this run
    pushed_as: str = ""  # in words, how that is served now
    versions: list[str] = field(default_factory=list)  # all that are there, newest first
    stable: str | None = None  # the version that is served
    canary: str | None = None  # the one that is served beside it
    unknown: str | None = None  # why it can't be said which are
    push_path: str = ""
    report: str | None = None  # the page; of a failed run, as far as that got
    log: str | None = None

    def as_dict(self) -> dict[str, object]:
        plain: dict[str, object] = to_jsonable_python(asdict(self))
        return plain


def split_names(artifact: "Artifact") -> list[str]:
    """The splits of examples, statistics or anomalies."""
    names: list[str] = json.loads(artifact.properties["split_names"].string_value)
    return names


def text(artifact: "Artifact", name: str) -> str:
    """A custom property."""
    return str(artifact.custom_properties[name].string_value)
