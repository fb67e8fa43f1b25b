"""What the StatisticsGen node counts."""

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2


def label_only(label_key: str) -> tfdv.StatsOptions:
    """Statistics of the label, without reading the images' bytes from the examples."""
    label = schema_pb2.Feature(name=label_key, type=schema_pb2.BYTES)
    return tfdv.StatsOptions(
        # Only what is in this schema is parsed at all.
        schema=schema_pb2.Schema(feature=[label]),
        experimental_filter_read_paths=True,
        # Every class is counted, not just the most frequent.
        num_top_values=1,
        num_rank_histogram_buckets=100_000,
    )
