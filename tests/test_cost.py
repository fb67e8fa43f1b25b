from pathlib import Path

import pytest

from darkroom.components.evaluation import cost
from darkroom.serving.rollout import served_version
from tests.conftest import Project


def test_the_size_is_of_all_files(tmp_path: Path) -> None:
    (tmp_path / "variables").mkdir()
    (tmp_path / "a").write_bytes(bytes(2**20))
    (tmp_path / "variables" / "b").write_bytes(bytes(2**19))
    assert cost.size_mib(str(tmp_path)) == 1.5


def test_requests_are_timed(small: Project, digit_images: list[bytes]) -> None:
    folder = served_version(small.folder / "runs" / "small" / "pushed" / "small")
    found = cost.latency(str(folder), digit_images[:2])
    assert 0 < found.p50_ms <= found.p99_ms
    assert found.requests == 100


def test_an_image_that_can_not_be_decoded_is_no_request(small: Project) -> None:
    folder = served_version(small.folder / "runs" / "small" / "pushed" / "small")
    with pytest.raises(Exception, match=r"(?i)decode"):
        cost.latency(str(folder), [b"no image"])


def test_no_more_requests_are_timed_than_there_is_time_for() -> None:
    asked: list[bytes] = []
    times = cost.time_requests(asked.append, [b"a", b"b"], requests=100, seconds=0)
    assert times.requests == 1  # after those that open connections
    assert asked == [b"a", b"b", b"a", b"b"]
