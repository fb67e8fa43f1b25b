"""A sample of the requests and their answers, as files of PredictionLogs, to see data drift.

TensorFlow Serving's own build has only the place for this. Files are TFRecords, of which the oldest
goes. Another thread writes: a slow disk costs log entries, which are counted, and no request time.
"""

import contextlib
import itertools
import logging
import os
import queue
import random
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from darkroom.serving.errors import Code, ServingError
from darkroom.serving.server.prometheus import Metrics
from darkroom.serving.server.server_config import ModelConfig

_WAITING = 1000  # entries that may wait to be written
_CLOSE = None
_PAUSE = 5.0  # seconds for which nothing is written where it failed, as on a full disk
_numbers = itertools.count()  # of files, none of which is written twice

_log = logging.getLogger(__name__)


class RequestLog:
    """The log of all models of a server, with a thread that writes."""

    def __init__(self, metrics: Metrics, file_bytes: int, files: int, folder: str = ""):
        """A file is full after ``file_bytes`` bytes; the newest ``files`` of a model are kept.

        A client's prefixes are to be below ``folder``; without one it may have none.
        """
        self._metrics = metrics  # count what was dropped
        self._file_bytes, self._files, self._folder = file_bytes, files, folder
        self._queue: queue.Queue[tuple[str, str, PredictionLog] | None] = queue.Queue(_WAITING)
        self._rotations: dict[str, _Rotation] = {}
        self._paused: dict[str, float] = {}  # prefixes until when nothing is written
        self._thread = threading.Thread(target=self._write, name="request-log", daemon=True)
        self._thread.start()

    @staticmethod
    def takes(config: ModelConfig | None) -> bool:
        """Whether a request of this model is in the sample."""
        if config is None or not config.logging_config.log_collector_config.filename_prefix:
            return False
        rate: float = config.logging_config.sampling_config.sampling_rate
        return rate > 0 and random.random() < rate

    def check(self, config: ModelConfig, current: ModelConfig | None) -> None:
        """Raises ServingError where a client's configuration would log elsewhere than it may.

        ``current`` is the model's configuration as it is.
        """
        prefix = config.logging_config.log_collector_config.filename_prefix
        kept = current and current.logging_config.log_collector_config.filename_prefix == prefix
        if not prefix or kept:
            return
        folder = os.path.realpath(self._folder)
        if not self._folder or not Path(os.path.realpath(prefix)).is_relative_to(folder):
            where = f"below {self._folder}" if self._folder else "below --request_log_folder"
            raise ServingError(
                Code.PERMISSION_DENIED,
                f"Model {config.name}: a client may have requests logged {where} only, received "
                f"the filename_prefix {prefix!r}.",
            )

    def put(self, config: ModelConfig, entry: PredictionLog) -> None:
        """Hands an entry to the writer, or drops it where that is behind."""
        entry.log_metadata.sampling_config.CopyFrom(config.logging_config.sampling_config)
        try:
            prefix = config.logging_config.log_collector_config.filename_prefix
            self._queue.put_nowait((prefix, config.name, entry))
        except queue.Full:
            self._metrics.log_dropped.add(config.name)

    def close(self) -> None:
        self._queue.put(_CLOSE)
        self._thread.join()

    def _write(self) -> None:
        while (item := self._queue.get()) is not _CLOSE:
            prefix, name, entry = item
            if self._paused.get(prefix, 0.0) > time.monotonic():
                self._metrics.log_dropped.add(name)
                continue
            with self._failing(prefix):
                if prefix not in self._rotations:
                    self._rotations[prefix] = _Rotation(prefix, self._file_bytes, self._files)
                self._rotations[prefix].write(name, entry.SerializeToString())
            if self._queue.empty():
                self._flush()
        self._flush()
        for rotation in self._rotations.values():
            rotation.close()

    def _flush(self) -> None:
        for prefix, rotation in list(self._rotations.items()):
            with self._failing(prefix):
                rotation.flush()

    @contextlib.contextmanager
    def _failing(self, prefix: str) -> Iterator[None]:
        """Counts what can't be written, and goes on after a pause; what was written stays."""
        try:
            yield
        except (OSError, tf.errors.OpError) as error:
            self._paused[prefix] = time.monotonic() + _PAUSE
            for name in self._rotations.pop(prefix).give_up():
                self._metrics.log_dropped.add(name)
            _log.error("The request log %s can't be written: %s", prefix, error)


class _Rotation:
    """Files PREFIX-TIME-NUMBER.tfrecord, of which the newest are kept."""

    def __init__(self, prefix: str, file_bytes: int, files: int):
        self._prefix, self._file_bytes, self._files = Path(prefix), file_bytes, files
        # Without the files of a longer prefix that begins with this one.
        self._own = re.compile(re.escape(self._prefix.name) + r"-\d{8}-\d{6}-\d+-\d{6}\.tfrecord")
        self._writer: tf.io.TFRecordWriter | None = None
        self._path = Path()
        self._written = self._safe = 0  # bytes: handed to the writer; on the disk as whole records
        self._unsafe: list[str] = []  # models of the entries that aren't on the disk yet
        self._handed = 0  # how many of them the writer has

    def write(self, name: str, record: bytes) -> None:
        """Writes an entry of a model."""
        self._unsafe.append(name)
        if self._writer is not None and self._written + len(record) > self._file_bytes:
            self.flush()
            self.close()
        if self._writer is None:
            self._begin()
        assert self._writer is not None
        self._writer.write(record)
        self._handed += 1
        self._written += len(record)

    def flush(self) -> None:
        """Has on the disk what was written; only then do older files go."""
        if self._writer is None or not self._handed:
            return
        self._writer.flush()
        is_first, self._safe = not self._safe, self._path.stat().st_size
        del self._unsafe[: self._handed]
        self._handed = 0
        if is_first:
            self._remove_old()

    def close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def give_up(self) -> list[str]:
        """Leaves whole records on the disk; returns the models of the entries that are lost."""
        with contextlib.suppress(OSError, tf.errors.OpError):
            self.close()
        with contextlib.suppress(OSError):
            os.truncate(self._path, self._safe)
            if not self._safe:
                self._path.unlink()
        return self._unsafe

    def _begin(self) -> None:
        self._prefix.parent.mkdir(parents=True, exist_ok=True)
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        self._path = self._prefix.with_name(
            f"{self._prefix.name}-{stamp}-{os.getpid()}-{next(_numbers):06}.tfrecord"
        )
        self._written = self._safe = 0
        self._writer = tf.io.TFRecordWriter(str(self._path))

    def _remove_old(self) -> None:
        paths = [p for p in self._prefix.parent.iterdir() if self._own.fullmatch(p.name)]
        paths.sort(key=lambda path: (path.stat().st_mtime, path.name))
        for old in paths[: -self._files]:
            old.unlink(missing_ok=True)
