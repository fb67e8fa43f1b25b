"""What the StatisticsGen node looks at: labels, and what was seen in the images."""

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2

from darkroom.components.base import features

TEXT = (features.LABEL_KEY, features.FORMAT_KEY)
INTEGERS = (
    features.HEIGHT_KEY,
    features.WIDTH_KEY,
    features.CHANNELS_KEY,
    features.BIT_DEPTH_KEY,
    features.ENCODED_SIZE_KEY,
)
FLOATS = (features.ASPECT_RATIO_KEY, features.BRIGHTNESS_KEY, features.CONTRAST_KEY)


def options() -> tfdv.StatsOptions:
    """Statistics without reading the images' bytes from the examples."""
    columns = [
        schema_pb2.Feature(name=key, type=kind)
        for kind, keys in (
            (schema_pb2.BYTES, TEXT),
            (schema_pb2.INT, INTEGERS),
            (schema_pb2.FLOAT, FLOATS),
        )
        for key in keys
    ]
    return tfdv.StatsOptions(
        # Only what is in this schema is parsed at all.
        schema=schema_pb2.Schema(feature=columns),
        experimental_filter_read_paths=True,
        # Every class is counted, not just the most frequent.
        num_top_values=1,
        num_rank_histogram_buckets=100_000,
    )
