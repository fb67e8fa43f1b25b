"""What StatisticsGen, SchemaGen and ExampleValidator left behind. Light to import."""

from typing import TYPE_CHECKING

from darkroom.components.base import remote
from darkroom.components.base.status import Outputs, Status, split_names
from darkroom.components.validation import artifacts

if TYPE_CHECKING:
    from ml_metadata.proto import metadata_store_pb2
    from tensorflow_metadata.proto.v0 import statistics_pb2

    from darkroom.components.validation.statistics import SplitStatistics


def statistics(artifact: "metadata_store_pb2.Artifact") -> "dict[str, SplitStatistics]":
    """The statistics of each split."""
    from darkroom.components.validation.statistics import SplitStatistics

    return {split: SplitStatistics.read(artifact.uri, split) for split in split_names(artifact)}


def distribution(feature: "statistics_pb2.FeatureNameStatistics") -> dict[str, object]:
    """As JSON: ``values`` with their counts, or of numbers mean, ends, deviation, histogram."""
    from darkroom.components.validation.statistics import value_counts

    if feature.HasField("string_stats"):
        return {"values": value_counts(feature)}
    numbers = feature.num_stats
    # Bins of one width; the others are quantiles.
    standard = [h for h in numbers.histograms if h.type == h.STANDARD]
    buckets = standard[0].buckets if standard else []
    return {
        "mean": numbers.mean,
        "min": numbers.min,
        "max": numbers.max,
        "std": numbers.std_dev,
        "histogram": [[b.low_value, b.high_value, b.sample_count] for b in buckets],
    }


def read_statistics(status: Status, outputs: Outputs) -> str:
    """Adds the outcome to ``status``; returns what matters most, in words."""
    splits = statistics(outputs["statistics"])
    status.images = {name: split.images for name, split in splits.items()}
    status.examples = {name: split.classes for name, split in splits.items()}
    if targets := splits["train"].targets:
        ranges = (f"{name} {one.min:.4g} to {one.max:.4g}" for name, one in targets.items())
        return f"{', '.join(ranges)} in train"
    of_train = status.examples["train"]
    ends = f" of {min(of_train.values()):,} to {max(of_train.values()):,}" if of_train else ""
    return f"{len(of_train)} classes{ends} in train"


def read_schema(status: Status, outputs: Outputs) -> str:
    """Adds the outcome to ``status``; returns what matters most, in words."""
    schema = outputs["schema"]
    status.schema = str(remote.file(schema.uri, "schema.pbtxt"))
    return "inferred" if artifacts.is_inferred(schema) else "yours"


def read_anomalies(status: Status, outputs: Outputs) -> str:
    """Adds the outcome to ``status``; returns what matters most, in words."""
    status.anomalies = artifacts.anomalies(outputs["anomalies"])
    count = len(status.anomalies)
    return f"{count} anomal{'y' if count == 1 else 'ies'}" if count else "no anomalies"
