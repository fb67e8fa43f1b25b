"""Numbers for Prometheus, by TensorFlow Serving's names; its own library would append _total."""

import bisect
import collections
import itertools
import threading
from collections.abc import Iterator

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# As TensorFlow Serving's: 10 µs, times 1.8 for each of 33, which is 20 minutes.
_BOUNDS = [10 * 1.8**power for power in range(33)]

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})

_Labels = tuple[str, ...]


class _Metric:
    def __init__(self, name: str, *labels: str):
        self.name, self._labels = name, labels
        self._lock = threading.Lock()

    def _text(self, values: _Labels, *more: tuple[str, str]) -> str:
        pairs = [*zip(self._labels, values, strict=True), *more]
        return "{" + ",".join(f'{key}="{value.translate(_ESCAPES)}"' for key, value in pairs) + "}"


class Counter(_Metric):
    """How often something happened."""

    def __init__(self, name: str, *labels: str):
        super().__init__(name, *labels)
        self._counts: collections.Counter[_Labels] = collections.Counter()

    def add(self, *values: str, count: int = 1) -> None:
        with self._lock:
            self._counts[values] += count

    def lines(self) -> Iterator[str]:
        yield f"# TYPE {self.name} counter"
        with self._lock:
            counts = sorted(self._counts.items())
        for values, count in counts:
            yield f"{self.name}{self._text(values)} {count}"


class Histogram(_Metric):
    """How long something took, in microseconds."""

    def __init__(self, name: str, *labels: str):
        super().__init__(name, *labels)
        self._counts = collections.defaultdict[_Labels, list[int]](lambda: [0] * (len(_BOUNDS) + 1))
        self._sums = collections.defaultdict[_Labels, float](float)

    def add(self, *values: str, seconds: float) -> None:
        microseconds = seconds * 1e6
        with self._lock:
            self._counts[values][bisect.bisect_left(_BOUNDS, microseconds)] += 1
            self._sums[values] += microseconds

    def lines(self) -> Iterator[str]:
        yield f"# TYPE {self.name} histogram"
        bounds = [*(f"{bound:g}" for bound in _BOUNDS), "+Inf"]
        with self._lock:
            rows = sorted((key, list(counts)) for key, counts in self._counts.items())
            sums = dict(self._sums)
        for values, counts in rows:
            for bound, total in zip(bounds, itertools.accumulate(counts), strict=True):
                yield f"{self.name}_bucket{self._text(values, ('le', bound))} {total}"
            yield f"{self.name}_sum{self._text(values)} {sums[values]}"
            yield f"{self.name}_count{self._text(values)} {sum(counts)}"


class Metrics:
    """All numbers of one server."""

    def __init__(self) -> None:
        self.requests = Counter(":tensorflow:serving:request_count", "model_name", "status")
        latency = ":tensorflow:serving:request_latency"
        self.latency = Histogram(latency, "model_name", "API", "entrypoint")
        self.warmup = Histogram(":tensorflow:serving:model_warmup_latency", "model_path", "status")
        self.examples = Counter(":tensorflow:serving:request_example_count_total", "model")
        self.log_dropped = Counter(":darkroom:serving:request_log_dropped", "model_name")

    def page(self) -> str:
        """What Prometheus reads."""
        return "\n".join(line for metric in vars(self).values() for line in metric.lines()) + "\n"
