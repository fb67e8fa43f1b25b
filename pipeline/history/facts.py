"""What a report's ``report.json`` says, as far as others than the report itself read it."""

from typing import TypedDict

Metric = TypedDict(
    "Metric",
    {
        "metric": str,
        "class": str | None,  # None: of the whole
        "slice": dict[str, str] | None,  # None: of all examples
        "value": float | None,
    },
)


class Evaluation(TypedDict):
    """What Evaluator measured."""

    metrics: list[Metric]


class Split(TypedDict):
    """A split of the examples."""

    images: int
    classes: dict[str, int]  # images of each


class Data(TypedDict):
    """What the data are."""

    splits: dict[str, Split] | None


class Failure(TypedDict):
    """Which node failed, and why."""

    node: str
    sentence: str


class Verdict(TypedDict):
    """What the gate says."""

    blessed: bool | None  # None: not evaluated
    reasons: list[str]
    remarks: list[str]
    pushed_version: str | None


class Node(TypedDict):
    """A node of the run."""

    node: str
    state: str
    seconds: float


class Commit(TypedDict):
    """The source that git knows."""

    commit: str
    branch: str
    changed: bool


class Environment(TypedDict):
    """With what a run was made."""

    versions: dict[str, str]
    git: Commit | None


class Facts(TypedDict):
    """All of a run; a section that it didn't get to is None."""

    pipeline: str
    run: str
    failure: Failure | None
    verdict: Verdict
    config: dict[str, object]
    data: Data | None
    evaluation: Evaluation | None
    lineage: list[Node]
    environment: Environment
