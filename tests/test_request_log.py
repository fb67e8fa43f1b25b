import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from darkroom.serving.server import request_log
from darkroom.serving.server.prometheus import Metrics
from darkroom.serving.server.request_log import RequestLog
from darkroom.serving.server.server_config import ModelConfig
from tests.conftest import REPOSITORY, python

PATIENCE = 60  # seconds until a hanging thread fails its test


def config(prefix: Path | str, rate: float = 1.0, name: str = "digits") -> ModelConfig:
    made = ModelConfig(name=name)
    made.logging_config.log_collector_config.filename_prefix = str(prefix)
    made.logging_config.sampling_config.sampling_rate = rate
    return made


def entry(value: float, name: str = "digits") -> PredictionLog:
    made = PredictionLog()
    made.log_metadata.model_spec.name = name
    made.predict_log.request.inputs["x"].float_val.append(value)
    return made


class _Waits:
    """An entry that is written as slowly as a slow disk writes it."""

    def __init__(self, log: PredictionLog):
        self._log = log
        self.begun = threading.Event()
        self.may_go = threading.Event()

    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
        self.begun.set()
        self.may_go.wait(PATIENCE)
        return self._log.SerializeToString()


def files(prefix: Path) -> list[Path]:
    """Oldest first."""
    found = prefix.parent.glob(f"{prefix.name}-2*.tfrecord")
    return sorted(found, key=lambda file: file.name.rsplit("-", 1)[1])


def values(*paths: Path) -> list[float]:
    records = tf.data.TFRecordDataset([str(path) for path in paths]).as_numpy_iterator()
    logs = map(PredictionLog.FromString, records)
    return [log.predict_log.request.inputs["x"].float_val[0] for log in logs]


def dropped(metrics: Metrics) -> dict[Any, int]:
    return {
        line.split('"')[1]: int(line.rsplit(" ", 1)[1])
        for line in metrics.log_dropped.lines()
        if not line.startswith("#")
    }


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def log(metrics: Metrics) -> Iterator[RequestLog]:
    made = RequestLog(metrics, 2**20, 10)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("rate", "least", "most"), [(0.0, 0, 0), (1.0, 10_000, 10_000), (0.5, 4700, 5300)]
)
def test_a_sample_is_taken(rate: float, least: int, most: int) -> None:
    sampled = config("/logs/digits", rate)
    assert least <= sum(RequestLog.takes(sampled) for _ in range(10_000)) <= most


def test_models_without_a_place_for_it_are_not_logged() -> None:
    assert not RequestLog.takes(None)
    assert not RequestLog.takes(ModelConfig(name="digits"))
    assert not RequestLog.takes(config(""))


def test_files_hold_what_was_said(metrics: Metrics, tmp_path: Path) -> None:
    log = RequestLog(metrics, 2**20, 10)
    given = entry(3)
    given.predict_log.response.outputs["y"].string_val.append(b"yes")
    log.put(config(tmp_path / "digits", 0.25), given)
    log.close()
    [file] = files(tmp_path / "digits")
    [record] = tf.data.TFRecordDataset(str(file)).as_numpy_iterator()
    assert PredictionLog.FromString(record) == text_format.Parse(
        """
        log_metadata { model_spec { name: "digits" } sampling_config { sampling_rate: 0.25 } }
        predict_log {
          request { inputs { key: "x" value { float_val: 3 } } }
          response { outputs { key: "y" value { string_val: "yes" } } }
        }
        """,
        PredictionLog(),
    )
    assert dropped(metrics) == {}


def test_closing_writes_all_that_waits(metrics: Metrics, tmp_path: Path) -> None:
    log = RequestLog(metrics, 2**30, 10)
    for number in range(900):
        log.put(config(tmp_path / "digits"), entry(number))
    log.close()
    [file] = files(tmp_path / "digits")
    assert values(file) == list(range(900))


@pytest.mark.parametrize("count", [1, 3])
def test_the_newest_files_are_kept(metrics: Metrics, tmp_path: Path, count: int) -> None:
    size = len(entry(1).SerializeToString())
    log = RequestLog(metrics, 2 * size + 40, count)  # two entries and their sampling_config
    for number in range(1, 21):
        log.put(config(tmp_path / "digits"), entry(number))
    log.close()
    found = files(tmp_path / "digits")
    assert [values(file) for file in found] == [
        [number, number + 1] for number in range(21 - 2 * count, 21, 2)
    ]


def test_an_entry_larger_than_a_file_is_written(metrics: Metrics, tmp_path: Path) -> None:
    log = RequestLog(metrics, 1, 10)
    for number in range(3):
        log.put(config(tmp_path / "digits"), entry(number))
    log.close()
    assert [values(file) for file in files(tmp_path / "digits")] == [[0], [1], [2]]


def test_files_of_a_run_before_are_kept_and_counted(metrics: Metrics, tmp_path: Path) -> None:
    prefix = tmp_path / "digits"
    for number in range(4):
        log = RequestLog(metrics, 2**20, 3)
        log.put(config(prefix), entry(number))
        log.close()
    assert values(*files(prefix)) == [1, 2, 3]


@pytest.mark.parametrize("names", [("digits", "digits-b"), ("[a]", "[a]-2")])
def test_models_of_one_folder_do_not_delete_each_others_files(
    metrics: Metrics, tmp_path: Path, names: tuple[str, str]
) -> None:
    other = tmp_path / f"{names[0]}-mine.tfrecord"
    other.touch()
    log = RequestLog(metrics, 1, 2)
    for name in reversed(names):
        for number in range(5):
            log.put(config(tmp_path / name, name=name), entry(number))
    log.close()
    assert other.exists()
    assert len(list(tmp_path.glob("*.tfrecord"))) == 2 + 2 + 1


def test_entries_are_on_the_disk_when_nothing_waits(
    metrics: Metrics, log: RequestLog, tmp_path: Path
) -> None:
    waits = _Waits(entry(1))
    log._queue.put((str(tmp_path / "a"), "digits", waits))  # and then the queue isn't empty
    waits.begun.wait(PATIENCE)
    log.put(config(tmp_path / "b"), entry(2))
    waits.may_go.set()
    end = time.monotonic() + PATIENCE
    while not all(sum(f.stat().st_size for f in files(tmp_path / name)) for name in ("a", "b")):
        assert time.monotonic() < end
    assert [values(*files(tmp_path / name)) for name in ("a", "b")] == [[1], [2]]


def test_where_the_disk_is_slow_entries_are_dropped_and_counted(
    metrics: Metrics, tmp_path: Path
) -> None:
    log = RequestLog(metrics, 2**20, 10)
    waits = _Waits(entry(0))
    log._queue.put((str(tmp_path / "digits"), "digits", waits))
    waits.begun.wait(PATIENCE)
    for number in range(1, request_log._WAITING + 6):
        log.put(config(tmp_path / "digits"), entry(number))
    assert dropped(metrics) == {"digits": 5}
    waits.may_go.set()
    log.close()
    assert values(*files(tmp_path / "digits")) == list(range(request_log._WAITING + 1))


LIMITED = """
import resource, sys
from pathlib import Path
from darkroom.serving.server import request_log
from darkroom.serving.server.prometheus import Metrics
from tests.test_request_log import config, dropped, entry

request_log._PAUSE = 0
metrics = Metrics()
log = request_log.RequestLog(metrics, 10**6, 2)
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

def write(first, count):
    for number in range(first, first + count):
        log.put(config(sys.argv[1]), entry(number))
    while not log._queue.empty():
        pass

write(0, 5)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
write(5, 500)
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
write(1000, 5)
log.close()
print("dropped", dropped(metrics))
"""


def test_what_was_written_stays_where_no_more_can_be(tmp_path: Path) -> None:
    prefix = tmp_path / "digits"
    for number in range(2):
        log = RequestLog(Metrics(), 2**20, 2)
        log.put(config(prefix), entry(-1 - number))
        log.close()
    before = files(prefix)
    result = python("-c", LIMITED, str(prefix), cwd=REPOSITORY)
    assert result.returncode == 0, result.stdout
    lost = int(result.stdout.partition("dropped {'digits': ")[2].partition("}")[0])
    kept = files(prefix)
    written = values(*kept)  # none of which is torn
    assert len(kept) == 2
    assert before[0] not in kept
    assert written[-5:] == [1000, 1001, 1002, 1003, 1004]
    assert 0 < lost <= 500


def test_a_place_that_can_not_be_written_costs_entries_only(
    metrics: Metrics, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    log = RequestLog(metrics, 2**20, 10)
    log.put(config(tmp_path / "file" / "digits"), entry(1))
    log.put(config(tmp_path / "made" / "digits"), entry(2))
    log.close()
    assert dropped(metrics) == {"digits": 1}
    assert values(*files(tmp_path / "made" / "digits")) == [2]
