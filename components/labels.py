"""What StatisticsGen found out about the labels of a split; light to import."""

from pathlib import Path
from typing import Any

from tensorflow_metadata.proto.v0 import statistics_pb2


def counts(statistics_uri: str, split: str) -> dict[str, int]:
    """Examples per class.

    Args:
      statistics_uri: of TFX's ExampleStatistics artifact, made with ``statistics.label_only``.
      split: name of the split.
    """
    return {
        bucket.label: int(bucket.sample_count)
        for label in _features(statistics_uri, split)
        for bucket in label.string_stats.rank_histogram.buckets
    }


def missing(statistics_uri: str, split: str) -> int:
    """Number of examples without a label."""
    labels = _features(statistics_uri, split)
    return sum(int(label.string_stats.common_stats.num_missing) for label in labels)


def _features(statistics_uri: str, split: str) -> list[Any]:
    """The label's statistics, as there are no others; nothing for an empty split."""
    listed = statistics_pb2.DatasetFeatureStatisticsList()
    path = Path(statistics_uri) / f"Split-{split}" / "FeatureStats.pb"
    listed.ParseFromString(path.read_bytes())
    return list(listed.datasets[0].features)
