"""What a report says of a run: the types of ``report.json``. Light to import.

Pictures are paths below the report's folder; None where there is none. Reports of earlier versions
may lack keys.
"""

from typing import TypedDict, final

from darkroom.components.base.settings import Value
from darkroom.components.runs.environment import Environment


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


@final
class Values(TypedDict):
    """How often a feature has each of its values."""

    values: dict[str, int]


@final
class Numbers(TypedDict):
    """How a feature's numbers are spread."""

    mean: float
    min: float
    max: float
    std: float
    histogram: list[list[float]]  # low, high, count


Distribution = Values | Numbers


class Feature(TypedDict):
    """A feature of the examples."""

    name: str
    splits: dict[str, Distribution]


class Data(TypedDict):
    """Of ImportExampleGen, StatisticsGen and ExampleValidator."""

    splits: dict[str, Split]
    inspection: dict[str, object]
    anomalies: list[str]
    features: list[Feature]
    examples: list[dict[str, str]]  # picture and label


class Preprocessing(TypedDict):
    """Of Transform."""

    settings: dict[str, object]
    pictures: list[dict[str, str]]  # label, the picture before and after


class Search(TypedDict):
    """Of Tuner."""

    objective: str
    rows: list[dict[str, object]]  # trials, best first, failed ones last
    best: dict[str, Value]
    picture: str | None


# Keras's metrics by name, a number per epoch; None where it was no number.
History = dict[str, list[float | None]]


class Training(TypedDict):
    """Of Trainer."""

    history: History
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


# Of the whole split, of a class or of a slice of it. None: it is not defined, or nothing is there
# to compare with.
Metric = TypedDict(
    "Metric",
    {
        "metric": str,
        "class": str | None,
        "slice": dict[str, str] | None,
        "value": float | None,
        "low": float | None,  # of the confidence interval
        "high": float | None,
        "baseline": float | None,
        "difference": float | None,
        "examples": int,
    },
)


class Threshold(Metric):
    """What a metric must reach."""

    difference_low: float | None
    difference_high: float | None
    bound: str
    limit: float
    passed: bool | None  # None: nothing to compare with
    sentence: str


class Bin(TypedDict):
    """Examples whose scores lie between two numbers."""

    low: float
    high: float
    examples: int
    score: float | None  # the mean
    correct: float | None  # the share


class Latency(TypedDict):
    """Of requests, in milliseconds."""

    p50_ms: float
    p99_ms: float


class Evaluation(TypedDict):
    """Of Evaluator: its ``evaluation.json``; images of ``mistakes`` and ``uncertain`` as well."""

    split: str
    examples: int
    multi_label: bool
    classes: list[str]
    confidence: float
    thresholds: list[Threshold]
    metrics: list[Metric]
    confusion: list[list[int]] | None  # by true and predicted class; None of several labels
    calibration: list[Bin]
    mistakes: list[dict[str, object]]
    uncertain: list[dict[str, object]]
    latency: Latency | None


class Serving(TypedDict, total=False):
    """Of ServingValidator; only ``reasons`` where its server didn't come up."""

    reasons: list[str]
    server: str
    ready_seconds: float
    memory_mib: float
    images: int
    largest_difference: float
    latency: dict[str, Latency]  # by protocol


class Node(TypedDict):
    """A node of the run."""

    node: str
    state: str
    seconds: float
    started: str
    result: str  # in words
    inputs: list[dict[str, object]]  # artifacts: key, type, id and uri
    outputs: list[dict[str, object]]


class Sections(TypedDict):
    """What the nodes found out; None where the run didn't get to it."""

    data: Data | None
    preprocessing: Preprocessing | None
    search: Search | None
    training: Training | None
    evaluation: Evaluation | None
    model: Model | None
    serving: Serving | None


class Facts(Sections):
    """All that a report says."""

    pipeline: str
    run: str
    created: str
    failure: Failure | None
    config: dict[str, object]
    intended_use: str
    limits: str
    verdict: Verdict
    lineage: list[Node]
    environment: Environment
