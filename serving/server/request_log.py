"""A sample of the requests and their answers, as files of PredictionLogs, to see data drift.

TensorFlow Serving's own build has only the place for this. Files are TFRecords, of which the oldest
goes. Another thread writes: a slow disk costs log entries, which are counted, and no request time.
"""

import itertools
import logging
import os
import queue
import random
import re
import threading
import time
from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from darkroom.serving.server.prometheus import Metrics
from darkroom.serving.server.server_config import ModelConfig

_WAITING = 1000  # entries that may wait to be written
_CLOSE = None
_numbers = itertools.count()  # of files, none of which is written twice

_log = logging.getLogger(__name__)


class RequestLog:
    """The log of all models of a server, with a thread that writes."""

    def __init__(self, metrics: Metrics, file_bytes: int, files: int):
        """A file is full after ``file_bytes`` bytes; the newest ``files`` of a model are kept."""
        self._metrics = metrics  # count what was dropped
        self._file_bytes, self._files = file_bytes, files
        self._queue: queue.Queue[tuple[str, PredictionLog] | None] = queue.Queue(_WAITING)
        self._rotations: dict[str, _Rotation] = {}
        self._thread = threading.Thread(target=self._write, name="request-log", daemon=True)
        self._thread.start()

    @staticmethod
    def takes(config: ModelConfig | None) -> bool:
        """Whether a request of this model is in the sample."""
        if config is None or not config.logging_config.log_collector_config.filename_prefix:
            return False
        rate: float = config.logging_config.sampling_config.sampling_rate
        return rate > 0 and random.random() < rate

    def put(self, config: ModelConfig, entry: PredictionLog) -> None:
        """Hands an entry to the writer, or drops it where that is behind."""
        entry.log_metadata.sampling_config.CopyFrom(config.logging_config.sampling_config)
        try:
            prefix = config.logging_config.log_collector_config.filename_prefix
            self._queue.put_nowait((prefix, entry))
        except queue.Full:
            self._metrics.log_dropped.add(config.name)

    def close(self) -> None:
        self._queue.put(_CLOSE)
        self._thread.join()

    def _write(self) -> None:
        while (item := self._queue.get()) is not _CLOSE:
            prefix, entry = item
            try:
                if prefix not in self._rotations:
                    self._rotations[prefix] = _Rotation(prefix, self._file_bytes, self._files)
                self._rotations[prefix].write(entry.SerializeToString())
                if self._queue.empty():
                    for rotation in self._rotations.values():
                        rotation.writer.flush()
            except (OSError, tf.errors.OpError) as error:
                self._rotations.pop(prefix, None)
                self._metrics.log_dropped.add(entry.log_metadata.model_spec.name)
                _log.error("The request log %s can't be written: %s", prefix, error)
        for rotation in self._rotations.values():
            rotation.writer.close()


class _Rotation:
    """Files PREFIX-TIME-NUMBER.tfrecord, of which the newest are kept."""

    def __init__(self, prefix: str, file_bytes: int, files: int):
        self._prefix, self._file_bytes, self._files = Path(prefix), file_bytes, files
        self._prefix.parent.mkdir(parents=True, exist_ok=True)
        # Without the files of a longer prefix that begins with this one.
        self._own = re.compile(re.escape(self._prefix.name) + r"-\d{8}-\d{6}-\d+-\d{6}\.tfrecord")
        self._next()

    def _next(self) -> None:
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        path = self._prefix.with_name(
            f"{self._prefix.name}-{stamp}-{os.getpid()}-{next(_numbers):06}.tfrecord"
        )
        self._written = 0
        self.writer = tf.io.TFRecordWriter(str(path))
        paths = [p for p in self._prefix.parent.iterdir() if self._own.fullmatch(p.name)]
        paths.sort(key=lambda path: (path.stat().st_mtime, path.name))
        for old in paths[: -self._files]:
            old.unlink(missing_ok=True)

    def write(self, record: bytes) -> None:
        if self._written and self._written + len(record) > self._file_bytes:
            self.writer.close()
            self._next()
        self.writer.write(record)
        self._written += len(record)
