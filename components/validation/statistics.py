"""What StatisticsGen counts: labels, and what was seen in the images. Light to import."""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2
from typing_extensions import Self

from darkroom.components.base import features, remote

if TYPE_CHECKING:
    import tensorflow_data_validation as tfdv

TEXT = (features.LABEL_KEY, features.FORMAT_KEY)


def options(targets: Sequence[str] = ()) -> "tfdv.StatsOptions":
    """Statistics without reading the images' bytes; ``targets`` are names of numbers to learn."""
    import tensorflow_data_validation as tfdv

    numbers = tuple(f"{features.TARGET_PREFIX}{name}" for name in targets)
    integers, floats = features.INTEGERS, features.FLOATS + numbers
    kinds = {schema_pb2.BYTES: TEXT, schema_pb2.INT: integers, schema_pb2.FLOAT: floats}
    columns = [schema_pb2.Feature(name=key, type=kind) for kind in kinds for key in kinds[kind]]
    return tfdv.StatsOptions(
        # Only what is in this schema is parsed at all.
        schema=schema_pb2.Schema(feature=columns),
        experimental_filter_read_paths=True,
        # Every class is counted, not just the most frequent.
        num_top_values=1,
        num_rank_histogram_buckets=100_000,
    )


class SplitStatistics:
    """The statistics of a split, as ``options`` has them made."""

    def __init__(self, name: str, proto: statistics_pb2.DatasetFeatureStatisticsList):
        self.name, self.proto = name, proto

    @classmethod
    def read(cls, uri: str, name: str) -> Self:
        content = remote.file(uri, f"Split-{name}/FeatureStats.pb").read_bytes()
        return cls(name, statistics_pb2.DatasetFeatureStatisticsList.FromString(content))

    @property
    def images(self) -> int:
        return int(self.proto.datasets[0].num_examples)

    @cached_property
    def classes(self) -> dict[str, int]:
        label = self.features.get(features.LABEL_KEY)
        return {} if label is None else value_counts(label)

    @property
    def targets(self) -> dict[str, statistics_pb2.NumericStatistics]:
        """Of the numbers that are learnt, by name; empty where classes are."""
        names = features.target_names(self.features)
        return {name: self.features[f"{features.TARGET_PREFIX}{name}"].num_stats for name in names}

    @cached_property
    def features(self) -> dict[str, statistics_pb2.FeatureNameStatistics]:
        """The statistics of each feature by its key; empty for an empty split."""
        return {feature.path.step[0]: feature for feature in self.proto.datasets[0].features}


def value_counts(feature: statistics_pb2.FeatureNameStatistics) -> dict[str, int]:
    """How often each value of a text feature is there."""
    buckets = feature.string_stats.rank_histogram.buckets
    return {bucket.label: int(bucket.sample_count) for bucket in buckets}
