import re
import threading
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.serving.server.prometheus import Counter, Histogram, Metrics

_NAME = "[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = r'[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*"'
_SAMPLE = re.compile(rf"({_NAME})\{{((?:{_LABEL}(?:,{_LABEL})*)?)\}} (\S+)")
_VALUE = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_UNESCAPED = {r"\\": "\\", r"\"": '"', r"\n": "\n"}


class Sample(NamedTuple):
    name: str
    labels: dict[str, str]
    value: float


def samples(page: str) -> list[Sample]:
    """Of a page in Prometheus' text format."""
    found = []
    for line in page.split("\n"):
        if line and not re.fullmatch(rf"# TYPE {_NAME} (counter|histogram)", line):
            match = _SAMPLE.fullmatch(line)
            assert match, line
            labels = {
                key: re.sub(r"\\.", lambda escape: _UNESCAPED[escape[0]], value)
                for key, value in _VALUE.findall(match[2])
            }
            found.append(Sample(match[1], labels, float(match[3])))
    return found


def of(metric: Counter | Histogram) -> list[Sample]:
    return samples("\n".join(metric.lines()))


def test_the_page_has_the_names_of_tensorflow_serving() -> None:
    metrics = Metrics()
    metrics.requests.add("digits", "OK")
    metrics.latency.add("digits", "predict", "REST", seconds=0.002)
    metrics.warmup.add("/m/1", "OK", seconds=0.1)
    metrics.examples.add("digits", count=5)
    metrics.log_dropped.add("digits")
    page = metrics.page()
    assert page.endswith("\n")
    assert "# TYPE :tensorflow:serving:request_count counter\n" in page
    assert "# TYPE :tensorflow:serving:request_latency histogram\n" in page
    assert ':tensorflow:serving:request_count{model_name="digits",status="OK"} 1\n' in page
    labels = 'model_name="digits",API="predict",entrypoint="REST"'
    assert f":tensorflow:serving:request_latency_sum{{{labels}}} 2000.0\n" in page
    assert f":tensorflow:serving:request_latency_count{{{labels}}} 1\n" in page
    assert ':tensorflow:serving:model_warmup_latency_count{model_path="/m/1",status="OK"} 1' in page
    assert ':tensorflow:serving:request_example_count_total{model="digits"} 5\n' in page
    assert ':darkroom:serving:request_log_dropped{model_name="digits"} 1\n' in page
    assert len({(s.name, *s.labels.items()) for s in samples(page)}) == len(samples(page))


def test_a_new_server_has_counted_nothing() -> None:
    assert samples(Metrics().page()) == []


def test_counts_add_up() -> None:
    counter = Counter("n", "a")
    counter.add("x")
    counter.add("y")
    counter.add("x", count=10**15)
    assert of(counter) == [Sample("n", {"a": "x"}, 10**15 + 1), Sample("n", {"a": "y"}, 1)]


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text('\\"\nn{},='))
def test_any_text_may_be_a_label(one: str, two: str) -> None:
    counter = Counter("n", "a", "b")
    counter.add(one, two)
    assert of(counter) == [Sample("n", {"a": one, "b": two}, 1)]


@given(st.lists(st.floats(0, 10_000), min_size=1))
def test_buckets_are_cumulative(times: list[float]) -> None:
    histogram = Histogram("t", "a")
    for seconds in times:
        histogram.add("x", seconds=seconds)
    *buckets, total, count = of(histogram)
    assert [s.name for s in (*buckets, total, count)] == ["t_bucket"] * 34 + ["t_sum", "t_count"]
    bounds = [float(bucket.labels["le"]) for bucket in buckets]
    assert bounds == sorted(bounds)
    assert bounds[-1] == float("inf")
    assert [b.value for b in buckets] == sorted(b.value for b in buckets)
    assert count.value == buckets[-1].value == len(times)
    assert total.value == pytest.approx(sum(times) * 1e6)
    for bucket, bound in zip(buckets, bounds, strict=True):
        # Labels have six digits.
        assert bucket.value >= sum(seconds * 1e6 <= bound * (1 - 1e-5) for seconds in times)
        assert bucket.value <= sum(seconds * 1e6 <= bound * (1 + 1e-5) for seconds in times)


def test_a_sum_of_years_grows_by_microseconds() -> None:
    histogram = Histogram("t")
    sums = []
    for seconds in (10**8, 1e-5):
        histogram.add(seconds=seconds)
        sums.append(next(s.value for s in of(histogram) if s.name == "t_sum"))
    assert sums[1] - sums[0] == pytest.approx(10, abs=0.1)


def test_threads_count_while_the_page_is_read() -> None:
    metrics = Metrics()

    def work(name: str) -> None:
        for number in range(500):
            metrics.requests.add(name, str(number % 50))
            metrics.latency.add(name, str(number % 50), "REST", seconds=number / 1000)

    threads = [threading.Thread(target=work, args=(f"m{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        found = samples(metrics.page())
        ends = [s.value for s in found if s.labels.get("le") == "+Inf"]
        assert ends == [s.value for s in found if s.name.endswith("latency_count")]
    found = samples(metrics.page())
    assert sum(s.value for s in found if s.name.endswith("request_count")) == 2000
    assert sum(s.value for s in found if s.name.endswith("latency_count")) == 2000
