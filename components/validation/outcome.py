"""What StatisticsGen, SchemaGen and ExampleValidator left behind. Light to import."""

import json
from typing import Any

from darkroom.components.base import remote, results
from darkroom.components.base.status import Outputs, Status, split_names, text


def statistics(artifact: Any) -> dict[str, Any]:
    """The statistics of each split, as ``counts.load`` gives them."""
    from darkroom.components.validation import counts

    return {split: counts.load(artifact.uri, split) for split in split_names(artifact)}


def anomalies(artifact: Any) -> list[str]:
    """What is odd about the data, a sentence each."""
    found: list[str] = json.loads(text(artifact, results.ANOMALIES_PROPERTY))
    return found


def read_statistics(status: Status, outputs: Outputs) -> str:
    """Adds it to ``status``; returns what matters most, in words."""
    from darkroom.components.validation import counts

    loaded = statistics(outputs["statistics"])
    status.images = {split: counts.images(listed) for split, listed in loaded.items()}
    status.examples = {split: counts.of_classes(listed) for split, listed in loaded.items()}
    of_train = status.examples["train"]
    ends = f" of {min(of_train.values()):,} to {max(of_train.values()):,}" if of_train else ""
    return f"{len(of_train)} classes{ends} in train"


def read_schema(status: Status, outputs: Outputs) -> str:
    """Adds it to ``status``; returns what matters most, in words."""
    schema = outputs["schema"]
    status.schema = str(remote.file(schema.uri, "schema.pbtxt"))
    return "inferred" if schema.custom_properties[results.INFERRED_PROPERTY].int_value else "yours"


def read_anomalies(status: Status, outputs: Outputs) -> str:
    """Adds it to ``status``; returns what matters most, in words."""
    status.anomalies = anomalies(outputs["anomalies"])
    count = len(status.anomalies)
    return f"{count} anomal{'y' if count == 1 else 'ies'}" if count else "no anomalies"
