"""What Evaluator leaves behind, in earlier versions too: a file, a verdict. Light to import."""

import json
import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from typing_extensions import Self

from darkroom.components.base import remote
from darkroom.components.base.artifact_file import ArtifactFile
from darkroom.serving import files

if TYPE_CHECKING:
    from ml_metadata.proto.metadata_store_pb2 import Artifact


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


# None where it is not defined or was not computed, as JSON has no NaN.
Number = Annotated[float | None, BeforeValidator(_finite)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, populate_by_name=True, defer_build=True)


class _Subject(_Record):
    metric: str
    class_name: str | None = Field(None, alias="class")  # None: of all classes
    slice: dict[str, str] | None = None  # values by feature; None: of all examples


class _Values(_Record):
    value: Number = None
    low: Number = None  # ends of the confidence interval
    high: Number = None
    baseline: Number = None  # on what both models know
    difference: Number = None  # the candidate's less the baseline's
    difference_low: Number = None  # ends of its confidence interval
    difference_high: Number = None
    examples: int = 0


class MetricRow(_Values, _Subject):
    """A metric of the whole, of a class, or of a slice."""


class _Bound(_Subject):
    bound: str  # min, max, max_drop or max_rise
    limit: float


class Check(MetricRow, _Bound):
    """A threshold held against the whole, a class, or a slice."""

    passed: bool | None  # None: there is nothing to compare with, or too little
    sentence: str  # may be empty

    @property
    def distance(self) -> float:
        value = self.value
        if self.bound in ("max_drop", "max_rise"):
            value = None if self.difference is None else abs(self.difference)
        return math.inf if value is None else abs(value - self.limit)


class Bin(_Record):
    """Answers whose scores are between two tenths."""

    low: float
    high: float
    examples: int
    score: float  # mean
    correct: float  # share


class Answer(_Record):
    """What the model said of an image."""

    content_hash: int  # of its pixels
    filename: str = ""
    label: str = ""
    predicted: str = ""
    score: Number = None
    true_score: Number = None  # that of the label


class Latency(_Record):
    """The time of requests of one image each, in Evaluator's own process."""

    p50_ms: float
    p99_ms: float
    requests: int
    batch_size: int = 1


class Baseline(_Record):
    """The model to beat."""

    model: int | None = None  # in ML Metadata
    uri: str = ""
    version: str = ""  # as which it was pushed; of older evaluations empty
    other_classes: list[str] = []  # that only one of both models knows

    @property
    def name(self) -> str:
        return f"version {self.version}" if self.version else f"model {self.model}"


class CrossValidation(ArtifactFile):
    """What models answered of train images that they hadn't seen."""

    FILE: ClassVar = "cross_validation.json"

    folds: list[Number]  # the accuracy on each
    examples: int  # of the train split, each of which was held out once
    metrics: list[MetricRow]  # of all, and the recall of each class

    @property
    def accuracy(self) -> MetricRow:
        return next(row for row in self.metrics if row.metric == "accuracy")

    @property
    def words(self) -> str:
        """The accuracy and its interval."""
        row = self.accuracy
        return (
            f"{row.value or 0:.4f} ({row.low or 0:.4f} to {row.high or 0:.4f}) on "
            f"{self.examples:,} images in {len(self.folds)} folds"
        )


class Evaluation(_Record):
    """All that Evaluator measured."""

    FILE: ClassVar = "evaluation.json"

    split: str
    examples: int = 0
    multi_label: bool = False
    numbers: bool = False  # whether these are numbers' names instead
    classes: list[str] = []  # in the order of the label vocabulary
    blessed: bool = False
    reasons: list[str] = []  # why not blessed
    remarks: list[str] = []
    thresholds: list[Check] = []
    metrics: list[MetricRow] = []
    confidence: float = 0.95  # of the intervals
    confusion: list[list[int]] | None = None  # counts [true class, predicted class]
    calibration: list[Bin] = []
    residuals: dict[str, list[tuple[float, float]]] = {}  # of some images what is true, and said
    mistakes: Sequence[Answer] = []  # the surest first
    uncertain: Sequence[Answer] = []  # the least certain first
    latency: Latency | None = None
    size_mib: float | None = None
    baseline: Baseline | None = None
    cross_validation: CrossValidation | None = None

    @property
    def whole(self) -> dict[str, MetricRow]:
        rows = [row for row in self.metrics if not row.class_name and not row.slice]
        return {row.metric: row for row in rows}

    def write(self, folder: str) -> None:
        files.write_json(os.path.join(folder, self.FILE), self.model_dump(by_alias=True))

    @classmethod
    def read(cls, artifact: "Artifact") -> Self | None:
        """Reads it from Evaluator's artifact; None where an older Evaluator wrote no file."""
        try:
            text = remote.file(artifact.uri, cls.FILE).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        return cls.model_validate_json(text)

    def as_json(self) -> dict[str, Any]:
        """Plain data, without what the file that it was read from lacks."""
        return self.model_dump(by_alias=True, exclude_unset=True)


class Verdict(_Record):
    """What the blessing says of a model."""

    PROPERTY: ClassVar = "verdict"

    metrics: dict[str, int | Number] = {}  # of the whole, and ``example_count``
    reasons: list[str] = []  # why not blessed
    remarks: list[str] = []  # what else is to be known
    blessed: bool = Field(False, exclude=True)  # a property of its own, as TFX has it

    @classmethod
    def of(cls, evaluation: Evaluation) -> Self:
        metrics = {name: row.value for name, row in evaluation.whole.items()}
        return cls(
            metrics={**metrics, "example_count": evaluation.examples},
            reasons=evaluation.reasons,
            remarks=evaluation.remarks,
            blessed=evaluation.blessed,
        )

    @classmethod
    def read(cls, blessing: "Artifact") -> Self:
        """Reads it from the blessing; it has no sentences where a stock Evaluator blessed."""
        properties = blessing.custom_properties
        written = properties[cls.PROPERTY].string_value if cls.PROPERTY in properties else "{}"
        blessed = properties["blessed"].int_value == 1
        return cls(**{**json.loads(written), "blessed": blessed})

    def text(self) -> str:
        return json.dumps(self.model_dump())
