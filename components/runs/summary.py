"""What each node of a run left behind: in words, and as plain data.

Light to import: ``darkroom status`` answers without TensorFlow. An ``artifact`` is ML Metadata's.
"""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from darkroom.components.base import remote, results
from darkroom.components.pushing import versions as pushed_models
from darkroom.components.tuning import trial_table
from darkroom.serving.pushed_files import RolloutError


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

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def split_names(artifact: Any) -> list[str]:
    """The splits of examples, statistics or anomalies."""
    names: list[str] = json.loads(artifact.properties["split_names"].string_value)
    return names


def inspection(examples: Any) -> dict[str, Any]:
    """What ImportExampleGen counted and set aside."""
    found: dict[str, Any] = _read_json(remote.file(examples.uri, results.INSPECTION_FILE))
    return found


def statistics(artifact: Any) -> dict[str, Any]:
    """The statistics of each split, as ``counts.load`` gives them."""
    from darkroom.components.validation import counts

    return {split: counts.load(artifact.uri, split) for split in split_names(artifact)}


def anomalies(artifact: Any) -> list[str]:
    """What is odd about the data, a sentence each."""
    found: list[str] = json.loads(_text(artifact, results.ANOMALIES_PROPERTY))
    return found


def best_hyperparameters(artifact: Any) -> dict[str, Any]:
    """The best trial's values by key."""
    best = _read_json(remote.file(artifact.uri, "best_hyperparameters.txt"))
    return trial_table.hyperparameters(best["values"])


def search(tuner_results: Any) -> tuple[list[dict[str, Any]], Path | None]:
    """The trials, best first and failed ones last, and a picture of them."""
    rows = _read_json(remote.file(tuner_results.uri, results.TUNER_RESULTS))
    without = [{key: row[key] for key in row if key != "history"} for row in rows]
    try:
        picture = remote.file(tuner_results.uri, results.SEARCH_PICTURE)
    except FileNotFoundError:
        return without, None
    return without, picture if picture.exists() else None


def training(model_run: Any) -> tuple[dict[str, Any], Path]:
    """What Trainer wrote down of its epochs, and the picture of augmented images."""
    found = _read_json(remote.file(model_run.uri, results.HISTORY_FILE))
    return found, remote.file(model_run.uri, results.CONTACT_SHEET)


def verdict(blessing: Any) -> dict[str, Any]:
    """``blessed``, ``reasons`` why not, ``remarks`` and ``metrics`` of the gate."""
    found = json.loads(_text(blessing, results.VERDICT_PROPERTY))
    blessed = blessing.custom_properties["blessed"].int_value == 1
    return {"remarks": [], **found, "blessed": blessed}


def trial(infra_blessing: Any) -> dict[str, Any]:
    """What ServingValidator found: ``reasons`` against serving it, and any measurements."""
    found: dict[str, Any] = json.loads(_text(infra_blessing, results.VERDICT_PROPERTY))
    return found


def evaluation(artifact: Any) -> dict[str, Any] | None:
    """All that Evaluator measured; None where it was an older one, that wrote no file."""
    try:
        found: dict[str, Any] = _read_json(remote.file(artifact.uri, results.EVALUATION_FILE))
    except FileNotFoundError:
        return None
    return found


def pushed(pushed_model: Any) -> str | None:
    """Folder or URI of the version that Pusher made; None where it pushed nothing."""
    if pushed_model.custom_properties["pushed"].int_value != 1:
        return None
    return _text(pushed_model, "pushed_destination")


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
    status.inspection = inspection(outputs["examples"])
    splits = status.inspection["splits"]
    words = ", ".join(f"{split} {found['images']:,}" for split, found in splits.items()) + " images"
    bad = sum(sum(found["quarantined"].values()) for found in splits.values())
    if bad:
        status.quarantine = f"{outputs['examples'].uri}/{results.QUARANTINE_FOLDER}"
        words += f", {bad:,} in quarantine"
    return words


def _read_schema_gen(status: Status, outputs: dict[str, Any]) -> str:
    schema = outputs["schema"]
    status.schema = str(remote.file(schema.uri, "schema.pbtxt"))
    return "inferred" if schema.custom_properties[results.INFERRED_PROPERTY].int_value else "yours"


def _read_last_statistics(status: Status, outputs: dict[str, Any]) -> str:
    return "of an earlier run" if _found(outputs, "statistics") else "none"


def _read_example_validator(status: Status, outputs: dict[str, Any]) -> str:
    status.anomalies = anomalies(outputs["anomalies"])
    count = len(status.anomalies)
    return f"{count} anomal{'y' if count == 1 else 'ies'}" if count else "no anomalies"


def _read_statistics(status: Status, outputs: dict[str, Any]) -> str:
    from darkroom.components.validation import counts

    loaded = statistics(outputs["statistics"])
    status.images = {split: counts.images(listed) for split, listed in loaded.items()}
    status.examples = {split: counts.of_classes(listed) for split, listed in loaded.items()}
    of_train = status.examples["train"]
    ends = f" of {min(of_train.values()):,} to {max(of_train.values()):,}" if of_train else ""
    return f"{len(of_train)} classes{ends} in train"


def _read_tuner(status: Status, outputs: dict[str, Any]) -> str:
    values = best_hyperparameters(outputs["best_hyperparameters"])
    rows, picture = search(outputs["tuner_results"])
    status.trials = rows
    if picture is not None:
        status.search_picture = str(picture)
    failed = sum(map(trial_table.failed, rows))
    if failed == len(rows):
        return f"no trial of {failed} finished"
    score = rows[0]["score"]
    status.best_trial = {"values": values, "score": score, "trials": len(rows)}
    return f"best trial {score:.4f} of {len(rows)}" + f", {failed} failed" * bool(failed)


def _read_lr_scan(status: Status, outputs: dict[str, Any]) -> str:
    run = outputs["model_run"].uri
    found = _read_json(remote.file(run, results.SCAN_FILE))
    status.lr_scan = {**found, "picture": str(remote.file(run, results.SCAN_PICTURE))}
    best = found["suggestion"]
    return "no rate learns" if best is None else f"best {best:.2g} of {len(found['points'])}"


def _read_trainer(status: Status, outputs: dict[str, Any]) -> str:
    found, sheet = training(outputs["model_run"])
    status.diagnosis = found["diagnosis"]
    status.augmentation = str(sheet)
    history, epoch = found["history"], found["exported_epoch"]
    metric = next(m for m in ("val_accuracy", "val_loss") if m in history)
    resumed = found["resumed_at"]
    words = f", the first {resumed} of them in an interrupted run" if resumed else ""
    if (searched := found.get("searched", 0)) and not resumed:
        words = f", the first {searched} of them in the search"
    return f"{metric} {history[metric][epoch]:.4f}, {len(history[metric])} epochs{words}"


def _read_resolver(status: Status, outputs: dict[str, Any]) -> str:
    return "has a baseline" if _found(outputs, "model") else "no baseline"


def _read_evaluator(status: Status, outputs: dict[str, Any]) -> str:
    found = verdict(outputs["blessing"])
    status.blessed = found["blessed"]
    status.metrics, status.reasons = found["metrics"], found["reasons"]
    status.remarks = found["remarks"]
    word = "blessed"
    if not status.blessed:
        more = len(status.reasons) - 1
        word = f"not blessed: {status.reasons[0]}" + f" (and {more} more)" * bool(more)
    accuracy = status.metrics.get(results.ACCURACY)  # none where there were no predictions
    return word if accuracy is None else f"accuracy {accuracy:.4f}, {word}"


def _read_serving_validator(status: Status, outputs: dict[str, Any]) -> str:
    found = trial(outputs["blessing"])
    status.serving_reasons = found["reasons"]
    if found["reasons"]:
        return f"not blessed: {found['reasons'][0]}"
    latency = found["latency"]
    times = ", ".join(f"{name} {latency[name]['p99_ms']:.1f}" for name in ("rest", "grpc"))
    return f"blessed, p99 in ms: {times}; {found['memory_mib']:.0f} MiB"


def _read_pusher(status: Status, outputs: dict[str, Any]) -> str:
    folder = pushed(outputs["pushed_model"])
    if folder is None:
        return "not pushed"
    base, version = os.path.split(folder)
    there = pushed_models.versions(base)
    if version not in there:
        return f"version {version}, removed since"
    status.pushed_version = version
    try:
        current = pushed_models.current(base)
    except RolloutError as error:
        status.pushed_as = str(error)
        return f"version {version}; {error}"
    if current is not None:
        status.pushed_as = current.describe(int(version))
    elif version != there[0]:
        status.pushed_as = f"not the newest; that is version {there[0]}"
    return f"version {version}" + f", {status.pushed_as}" * bool(status.pushed_as)


def _read_report(status: Status, outputs: dict[str, Any]) -> str:
    page = f"{outputs['report'].uri}/{results.REPORT_PAGE}"
    if not remote.exists(page):
        return f"{results.REPORT_PAGE}, removed since"
    status.report = page
    return results.REPORT_PAGE


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
    "Baseline": _read_resolver,
    "Evaluator": _read_evaluator,
    "ServingValidator": _read_serving_validator,
    "Pusher": _read_pusher,
    "Report": _read_report,
}


def _found(outputs: dict[str, Any], key: str) -> bool:
    """Whether a look-up found something; of a Resolver that did not there is no artifact."""
    if key not in outputs:
        return False
    properties = outputs[key].custom_properties
    return results.FOUND_PROPERTY not in properties or bool(
        properties[results.FOUND_PROPERTY].int_value
    )


def _text(artifact: Any, name: str) -> str:
    return str(artifact.custom_properties[name].string_value)


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
