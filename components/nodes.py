"""The nodes of the graph, each described once. Light to import.

The graph, the display, the status, the report and the compiler for Kubeflow go by this table: a new
node is a module in the package of its kind of work, a row here, and its place in
``pipeline.pipeline``.
"""

from collections.abc import Callable
from typing import NamedTuple

from darkroom.components.base import settings
from darkroom.components.base.settings import Settings
from darkroom.components.base.status import Outputs, Status
from darkroom.components.evaluation import outcome as evaluation
from darkroom.components.ingestion import outcome as ingestion
from darkroom.components.pushing import outcome as pushing
from darkroom.components.runs import outcome as runs
from darkroom.components.training import outcome as training
from darkroom.components.tuning import outcome as tuning
from darkroom.components.validation import outcome as validation


class Node(NamedTuple):
    """What there is to know of a node without importing what it runs."""

    id: str
    settings: type[Settings] | None = None  # what it gets of the configuration
    modules: tuple[str, ...] = ()  # below darkroom, whose code decides what it makes
    # Sections of the configuration that name code of the user's that it runs.
    user_code: tuple[str, ...] = ()
    read: Callable[[Status, Outputs], str] | None = None  # adds what it made, says it in words
    # Below darkroom, whose code tells whether it goes on with what an interrupted run began.
    resume_modules: tuple[str, ...] = ()
    # Whether its inputs and settings decide what it makes; else it looks at what others made.
    determined: bool = True
    notes_run: bool = False  # on what it makes, which run made it
    earlier_id: str = ""  # in runs of earlier versions


NODES = (
    Node(
        "ImportExampleGen", settings.IngestionSettings,
        ("components.ingestion.example_gen",), read=ingestion.read,
    ),
    Node("StatisticsGen", read=validation.read_statistics),
    Node(
        "SchemaGen", settings.SchemaGenSettings,
        ("components.validation.schema_gen",), read=validation.read_schema,
    ),
    Node(
        "LastStatistics", settings.FolderSettings, ("components.runs.last_statistics",),
        read=runs.read_last_statistics, determined=False,
    ),
    Node(
        "ExampleValidator", settings.Settings,
        ("components.validation.example_validator",), read=validation.read_anomalies,
    ),
    Node(
        "Transform", settings.TransformSettings,
        ("components.transform.preprocessing",), ("preprocessing",),
    ),
    Node(
        "LearningRateScan", settings.ScanSettings,
        ("components.training.lr_scan",), ("model", "training"), training.read_scan,
    ),
    Node(
        "Rehearsal", settings.RehearsalSettings,
        ("components.evaluation.rehearsal",), ("evaluation",),
    ),
    Node(
        "Tuner", settings.TunerSettings,
        ("components.tuning.tuner",), ("model", "training"), tuning.read,
        resume_modules=("components.tuning.trial_process",),
    ),
    Node(
        "Trainer", settings.TrainerSettings,
        ("components.training.trainer",), ("model", "training"), training.read_training,
        resume_modules=("components.training.trainer",),
    ),
    Node(
        "Baseline", settings.FolderSettings, ("components.runs.baseline",),
        read=runs.read_baseline, determined=False, earlier_id="Resolver",
    ),
    Node(
        "CrossValidation", settings.CrossValidationSettings,
        ("components.evaluation.cross_validation",), ("model", "training"),
        evaluation.read_cross_validation,
        resume_modules=("components.evaluation.cross_validation",),
    ),
    Node(
        "Evaluator", settings.EvaluatorSettings,
        ("components.evaluation.evaluator",), ("evaluation",), evaluation.read,
    ),
    Node(
        "ServingValidator", settings.ServingValidatorSettings,
        ("components.pushing.serving_validator", "serving.model_server"),
        read=pushing.read_validation,
    ),
    Node(
        "Pusher", settings.PusherSettings, ("components.pushing.pusher",),
        read=pushing.read_pushed, determined=False, notes_run=True,
    ),
    Node(
        "Report", settings.ReportSettings, ("components.report.component",),
        read=runs.read_report, determined=False, notes_run=True,
    ),
)  # fmt: skip
BY_ID = {node.id: node for node in NODES}
_READERS = {node_id: node.read for node in NODES for node_id in (node.id, node.earlier_id)}


def read_outputs(status: Status, node_id: str, outputs: Outputs) -> str:
    """Adds what a node made to ``status``; returns the one number that matters, in words."""
    read = _READERS.get(node_id)
    if read is None:
        return ""
    try:
        return read(status, outputs)
    except (OSError, LookupError, ValueError):
        # A result that can't be read any more doesn't make a finished node a failed one.
        return "done, but its results can't be read"
