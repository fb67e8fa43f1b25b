"""What a run did and what it made, read from ML Metadata and from the artifacts.

Light to import: ``darkroom status`` answers without TensorFlow.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from components import results, trials
from components.errors import DarkroomError
from pipeline.config import Config
from serving.predictor import versions

# Execution states of ML Metadata in the words of the command line.
_STATES = {1: "pending", 2: "running", 3: "complete", 4: "failed", 5: "cached", 6: "canceled"}


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
    inspection: dict[str, Any] | None = None  # what ImportExampleGen counted and set aside
    quarantine: str | None = None  # the folder of what was set aside
    anomalies: list[str] = field(default_factory=list)  # of the data, in words
    schema: str | None = None  # the file
    best_trial: dict[str, Any] | None = None  # hyperparameters by key, and score
    trials: list[dict[str, Any]] = field(default_factory=list)  # best first, failed ones last
    search_picture: str | None = None  # of the trials, and of what mattered
    lr_scan: dict[str, Any] | None = None  # each rate's metrics, the best rate, in words, picture
    diagnosis: list[str] = field(default_factory=list)  # of the training, in words
    augmentation: str | None = None  # a picture of augmented training images
    metrics: dict[str, float] = field(default_factory=dict)
    blessed: bool | None = None  # None: not evaluated
    reasons: list[str] = field(default_factory=list)  # why not blessed
    pushed_version: str | None = None  # by this run
    versions: list[str] = field(default_factory=list)  # all that are there, newest first
    push_path: str = ""
    log: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def latest(config: Config, alive: bool = False) -> Status:
    """The status of the newest run.

    Args:
      config: of the pipeline.
      alive: whether a run is going on now; else what is marked as running was interrupted.

    Raises:
      DarkroomError: nothing has run yet.
    """
    if not config.metadata_path.exists():
        raise DarkroomError(f"{config.name} has not run yet: {config.metadata_path} isn't there.")
    store = open_store(config)
    runs = store.get_contexts_by_type("pipeline_run")
    if not runs:
        raise DarkroomError(f"{config.name} has not run yet: no run is in {config.metadata_path}.")
    newest = max(runs, key=lambda run: run.create_time_since_epoch)
    status = Status(
        pipeline=config.name,
        home=str(config.home),
        run=newest.name,
        versions=[path.name for path in versions(config.push_path)],
        push_path=str(config.push_path),
        log=_newest_log(config),
    )
    executions = store.get_executions_by_context(newest.id)
    for execution in sorted(executions, key=lambda e: e.id):
        node_id, outputs = node_outputs(store, execution)
        state = state_of(execution)
        if state == "running" and not alive:
            state = "interrupted"
        ended = execution.last_update_time_since_epoch
        if state == "running":
            ended = int(time.time() * 1000)
        took = ended - execution.create_time_since_epoch
        done = state in ("complete", "cached")
        result = read_outputs(status, node_id, outputs) if done else ""
        status.nodes.append(Node(node_id, state, took / 1000, result))
    return status


def open_store(config: Config) -> Any:
    """ML Metadata's store of the pipeline."""
    try:
        from ml_metadata.metadata_store import metadata_store
        from ml_metadata.proto import metadata_store_pb2
    except ImportError as error:
        raise DarkroomError(
            f"This command needs {error.name}: pip install 'darkroom[pipeline]'."
        ) from error

    connection = metadata_store_pb2.ConnectionConfig()
    connection.sqlite.filename_uri = str(config.metadata_path)
    return metadata_store.MetadataStore(connection)


def state_of(execution: Any) -> str:
    """The state of a node's execution, in a word."""
    if execution.type.endswith(".Resolver") and execution.last_known_state == execution.CACHED:
        return "complete"  # ML Metadata marks every resolver so, though it runs anew each time
    return _STATES.get(execution.last_known_state, "unknown")


def node_outputs(store: Any, execution: Any) -> tuple[str, dict[str, Any]]:
    """The node's id and its output artifacts by key."""
    contexts = store.get_contexts_by_execution(execution.id)
    node_id = next((c.name.split(".", 1)[1] for c in contexts if c.type == "node"), "?")
    events = store.get_events_by_execution_ids([execution.id])
    events = [e for e in events if e.type in (e.OUTPUT, e.INTERNAL_OUTPUT)]  # a resolver's
    artifacts = {a.id: a for a in store.get_artifacts_by_id([e.artifact_id for e in events])}
    return node_id, {e.path.steps[0].key: artifacts[e.artifact_id] for e in events}


def read_outputs(status: Status, node_id: str, outputs: dict[str, Any]) -> str:
    """Adds what a node made to ``status``; returns the one number that matters, in words."""
    reader = _READERS.get(node_id)
    if reader is None:
        return ""
    try:
        return reader(status, outputs)
    except (OSError, LookupError, ValueError):
        # A result that can't be read any more doesn't make a finished node a failed one.
        return "done, but its results can't be read"


def _read_example_gen(status: Status, outputs: dict[str, Any]) -> str:
    folder = Path(outputs["examples"].uri)
    inspection = _read_json(folder / results.INSPECTION_FILE)
    status.inspection, splits = inspection, inspection["splits"]
    words = ", ".join(f"{split} {found['images']:,}" for split, found in splits.items()) + " images"
    bad = sum(sum(found["quarantined"].values()) for found in splits.values())
    if bad:
        status.quarantine = str(folder / results.QUARANTINE_FOLDER)
        words += f", {bad:,} in quarantine"
    return words


def _read_schema_gen(status: Status, outputs: dict[str, Any]) -> str:
    schema = outputs["schema"]
    status.schema = str(Path(schema.uri) / "schema.pbtxt")
    return "inferred" if schema.custom_properties[results.INFERRED_PROPERTY].int_value else "yours"


def _read_last_statistics(status: Status, outputs: dict[str, Any]) -> str:
    return "of an earlier run" if "statistics" in outputs else "none"


def _read_example_validator(status: Status, outputs: dict[str, Any]) -> str:
    properties = outputs["anomalies"].custom_properties
    status.anomalies = json.loads(properties[results.ANOMALIES_PROPERTY].string_value)
    count = len(status.anomalies)
    return f"{count} anomal{'y' if count == 1 else 'ies'}" if count else "no anomalies"


def _read_statistics(status: Status, outputs: dict[str, Any]) -> str:
    from components import counts

    statistics = outputs["statistics"]
    splits = json.loads(statistics.properties["split_names"].string_value)
    loaded = {split: counts.load(statistics.uri, split) for split in splits}
    status.images = {split: counts.images(listed) for split, listed in loaded.items()}
    status.examples = {split: counts.of_classes(listed) for split, listed in loaded.items()}
    of_train = status.examples["train"]
    ends = f" of {min(of_train.values()):,} to {max(of_train.values()):,}" if of_train else ""
    return f"{len(of_train)} classes{ends} in train"


def _read_tuner(status: Status, outputs: dict[str, Any]) -> str:
    best = _read_json(Path(outputs["best_hyperparameters"].uri) / "best_hyperparameters.txt")
    folder = Path(outputs["tuner_results"].uri)
    rows = _read_json(folder / results.TUNER_RESULTS)
    status.trials = [{k: v for k, v in row.items() if k != "history"} for row in rows]
    if (folder / results.SEARCH_PICTURE).exists():
        status.search_picture = str(folder / results.SEARCH_PICTURE)
    failed = sum(map(trials.failed, rows))
    if failed == len(rows):
        return f"no trial of {failed} finished"
    score = rows[0]["score"]
    values = trials.hyperparameters(best["values"])
    status.best_trial = {"values": values, "score": score, "trials": len(rows)}
    return f"best trial {score:.4f} of {len(rows)}" + f", {failed} failed" * bool(failed)


def _read_lr_scan(status: Status, outputs: dict[str, Any]) -> str:
    folder = Path(outputs["model_run"].uri)
    found = _read_json(folder / results.SCAN_FILE)
    status.lr_scan = {**found, "picture": str(folder / results.SCAN_PICTURE)}
    best = found["suggestion"]
    return "no rate learns" if best is None else f"best {best:.2g} of {len(found['points'])}"


def _read_trainer(status: Status, outputs: dict[str, Any]) -> str:
    folder = Path(outputs["model_run"].uri)
    found = _read_json(folder / results.HISTORY_FILE)
    status.diagnosis = found["diagnosis"]
    status.augmentation = str(folder / results.CONTACT_SHEET)
    history, epoch = found["history"], found["exported_epoch"]
    metric = next(m for m in ("val_accuracy", "val_loss") if m in history)
    resumed = found["resumed_at"]
    words = f", the first {resumed} of them in an interrupted run" if resumed else ""
    if (searched := found.get("searched", 0)) and not resumed:
        words = f", the first {searched} of them in the search"
    return f"{metric} {history[metric][epoch]:.4f}, {len(history[metric])} epochs{words}"


def _read_resolver(status: Status, outputs: dict[str, Any]) -> str:
    return "has a baseline" if "model" in outputs else "no baseline"


def _read_evaluator(status: Status, outputs: dict[str, Any]) -> str:
    properties = outputs["blessing"].custom_properties
    verdict = json.loads(properties[results.VERDICT_PROPERTY].string_value)
    status.blessed = properties["blessed"].int_value == 1
    status.metrics, status.reasons = verdict["metrics"], verdict["reasons"]
    word = "blessed" if status.blessed else "not blessed: " + "; ".join(status.reasons)
    return f"accuracy {status.metrics[results.ACCURACY]:.4f}, {word}"


def _read_pusher(status: Status, outputs: dict[str, Any]) -> str:
    properties = outputs["pushed_model"].custom_properties
    if properties["pushed"].int_value != 1:
        return "not pushed"
    version = properties["pushed_version"].string_value
    there = [path.name for path in versions(Path(status.push_path))]
    if version not in there:
        return f"version {version}, removed since"
    status.pushed_version = version
    newer = "" if version == there[0] else f"; {there[0]}, pushed from other settings, is newer"
    return f"version {version}{newer}"


# What each node leaves behind, by the node's id.
_READERS: dict[str, Callable[[Status, dict[str, Any]], str]] = {
    "ImportExampleGen": _read_example_gen,
    "StatisticsGen": _read_statistics,
    "SchemaGen": _read_schema_gen,
    "LastStatistics": _read_last_statistics,
    "ExampleValidator": _read_example_validator,
    "LearningRateScan": _read_lr_scan,
    "Tuner": _read_tuner,
    "Trainer": _read_trainer,
    "Resolver": _read_resolver,
    "Evaluator": _read_evaluator,
    "Pusher": _read_pusher,
}


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _newest_log(config: Config) -> str | None:
    logs = sorted((config.home / "logs").glob("*.log"), key=os.path.getmtime)
    return str(logs[-1]) if logs else None
