"""What StatisticsGen found out about a split; light to import."""

from typing import Any

from tensorflow_metadata.proto.v0 import statistics_pb2

from darkroom.components.base import features, remote


def load(statistics_uri: str, split: str) -> Any:
    """The statistics of a split, a ``DatasetFeatureStatisticsList``.

    Args:
      statistics_uri: of TFX's ExampleStatistics artifact, made with ``statistics.options``.
      split: name of the split.
    """
    listed = statistics_pb2.DatasetFeatureStatisticsList()
    path = remote.file(statistics_uri, f"Split-{split}/FeatureStats.pb")
    listed.ParseFromString(path.read_bytes())
    return listed


def by_feature(listed: Any) -> dict[str, Any]:
    """The statistics of each feature by its key; nothing for an empty split."""
    return {feature.path.step[0]: feature for feature in listed.datasets[0].features}


def images(listed: Any) -> int:
    """Images in the split."""
    return int(listed.datasets[0].num_examples)


def of_classes(listed: Any) -> dict[str, int]:
    """Images per class."""
    label = by_feature(listed).get(features.LABEL_KEY)
    return {} if label is None else values(label)


def values(feature: Any) -> dict[str, int]:
    """How often each value of a text feature is there, from the feature's statistics."""
    buckets = feature.string_stats.rank_histogram.buckets
    return {bucket.label: int(bucket.sample_count) for bucket in buckets}
