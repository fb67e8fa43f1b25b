"""How a feature's values are distributed, as plain data. Light to import."""

from typing import Any

from tensorflow_metadata.proto.v0 import statistics_pb2

from darkroom.components.validation import counts

_STANDARD = statistics_pb2.Histogram.STANDARD  # bins of one width; the others are quantiles


def distribution(feature: Any) -> dict[str, Any]:
    """A feature's ``values`` with their counts, or of numbers mean, ends, deviation, histogram.

    Args:
      feature: TFDV's statistics of it.
    """
    if feature.HasField("string_stats"):
        return {"values": counts.values(feature)}
    numbers = feature.num_stats
    histogram = next((h for h in numbers.histograms if h.type == _STANDARD), None)
    buckets = histogram.buckets if histogram is not None else []
    return {
        "mean": numbers.mean,
        "min": numbers.min,
        "max": numbers.max,
        "std": numbers.std_dev,
        "histogram": [[b.low_value, b.high_value, b.sample_count] for b in buckets],
    }
