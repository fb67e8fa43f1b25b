"""The types of ``report.json``; reports of earlier versions may lack keys. Light to import.

Pictures are paths below the report's folder; None where there is none.
"""

from collections.abc import Mapping, Sequence
from typing import TypedDict

from darkroom.components.base.settings import Value
from darkroom.components.evaluation import artifacts
from darkroom.components.runs.environment import Environment
from darkroom.components.training.model_run import History


class Failure(TypedDict):
    """What ended a run."""

    node: str
    sentence: str


class Verdict(TypedDict):
    """What the gates decided; None: they were not asked."""

    blessed: bool | None
    servable: bool | None
    reasons: list[str]
    remarks: list[str]
    pushed_version: str | None


class Split(TypedDict):
    """How many examples there are."""

    images: int
    classes: dict[str, int]


class Distribution(TypedDict, total=False):
    """How often a feature has each of its ``values``, or how its numbers are spread."""

    values: dict[str, int]
    mean: float
    min: float
    max: float
    std: float
    histogram: list[list[float]]  # low, high, count


class Feature(TypedDict):
    """A feature of the examples."""

    name: str
    splits: dict[str, Distribution]


class Review(TypedDict):
    """What darkroom review found in the images of the run."""

    images: int
    faults: dict[str, int]  # images by what may be wrong, without those that people kept
    notes: list[str]
    command: str  # that opens its page


class Data(TypedDict):
    """What ImportExampleGen, StatisticsGen and ExampleValidator say of the data."""

    version: str | None  # of the images, where darkroom ingest made them
    splits: dict[str, Split]
    inspection: dict[str, object]
    review: Review | None  # where these images were reviewed
    anomalies: list[str]
    features: list[Feature]
    examples: list[dict[str, str]]  # picture and label


class Preprocessing(TypedDict):
    """What Transform does to images."""

    settings: dict[str, object]
    pictures: list[dict[str, str]]  # label, the picture before and after


class Search(TypedDict):
    """What Tuner's search came to."""

    objective: str
    rows: list[dict[str, object]]  # trials, best first, failed ones last
    best: dict[str, Value]
    picture: str | None


class Training(TypedDict):
    """How Trainer's training went."""

    history: History  # in JSON None where it was no number
    exported_epoch: int  # from 0
    diagnosis: list[str]
    augmentation: str | None  # a picture


class Model(TypedDict):
    """The exported model."""

    architecture: str | None
    parameters: int
    trainable: int | None  # older models don't say
    signatures: list[dict[str, object]]  # name, inputs and outputs, of these name, type and shape
    size_mib: float
    facts: dict[str, object]  # as the model itself has them


class Answer(artifacts.Answer, frozen=False):
    """One of Evaluator's answers, with a picture of the image, and of what spoke for it."""

    picture: str | None = None
    heat_map: str | None = None


class Evaluation(artifacts.Evaluation):
    """Evaluator's ``evaluation.json``, with pictures."""

    mistakes: Sequence[Answer] = []
    uncertain: Sequence[Answer] = []


class Serving(TypedDict, total=False):
    """What ServingValidator measured; only ``reasons`` where its server didn't come up."""

    reasons: list[str]
    server: str
    ready_seconds: float
    memory_mib: float
    images: int
    largest_difference: float
    latency: dict[str, dict[str, float]]  # by protocol: p50_ms and p99_ms


class Node(TypedDict):
    """A node of the run."""

    node: str
    state: str
    seconds: float
    started: str
    result: str  # in words
    inputs: list[dict[str, str | int]]  # artifacts: key, type, id and uri
    outputs: list[dict[str, str | int]]


class Facts(TypedDict):
    """All that a report says; a section is None where the run didn't get to it."""

    pipeline: str
    run: str
    created: str
    failure: Failure | None
    config: dict[str, object]
    intended_use: str
    limits: str
    verdict: Verdict
    data: Data | None
    preprocessing: Preprocessing | None
    search: Search | None
    training: Training | None
    evaluation: Evaluation | None
    model: Model | None
    serving: Serving | None
    lineage: list[Node]
    environment: Environment


def flat(tree: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """A tree's values by dotted key; lists are values."""
    values: dict[str, object] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            values |= flat(value, f"{prefix}{key}.")
        else:
            values[prefix + key] = value
    return values
