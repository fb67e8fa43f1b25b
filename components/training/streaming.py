"""Examples that are read and decoded as they are needed, for sets too large to be cached.

ImportExampleGen doesn't compress its files, so each record is read where it stands: the order is
drawn from all of them, as of cached examples, however few or sorted the files are.
"""

import io
import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from typing_extensions import Self

from darkroom.components.base import examples, progress, remote, sections, tfrecord
from darkroom.components.base.errors import DarkroomError
from darkroom.components.training.rows import free_bytes
from darkroom.components.training.transform_graph import TransformGraph

_CHUNK = 256  # examples that are read together where no batch asks for them
_FREE_SHARE = 0.5  # of the disk, which a cache may take: others need it too


class Records:
    """The serialised examples of a split, as they stand in its files."""

    shape: tuple[int, ...] = ()
    dtype = np.dtype(object)
    held_bytes = 0  # nothing is kept in memory

    def __init__(self, files: Sequence[str], ends: np.ndarray):
        """``ends``, int64 [count + 1], are as in one file of all: 0, then each record's end."""
        self._files, self._ends = list(files), ends
        # The files' own begins, and the end of the last.
        self._bounds = np.cumsum([0, *(_size(file) for file in self._files)])
        if self._bounds[-1] != ends[-1]:
            raise DarkroomError(
                f"The examples in {os.path.dirname(self._files[0])} have {self._bounds[-1]:,} "
                f"bytes, and had {ends[-1]:,} when they were counted. Remove "
                "the run's artifacts of ImportExampleGen, and run it again."
            )

    @classmethod
    def of_files(cls, files: Sequence[str]) -> Self:
        """Finds where the records of uncompressed files stand; raises as ``tfrecord.ends``."""
        parts, begin = [np.zeros(1, np.int64)], 0
        for file in files:
            parts.append(begin + np.array(tfrecord.ends(Path(file)), np.int64))
            begin += os.path.getsize(file)
        return cls(files, np.concatenate(parts))

    @classmethod
    def saved(cls, path: str, facts: dict[str, np.ndarray]) -> Self:
        """Reads what ``save`` wrote; raises a DarkroomError where the files aren't as they were."""
        with open(path, "rb") as file:
            return cls(facts["files"].tolist(), np.load(file))

    def save(self, path: str) -> None:
        """Writes where the records stand."""
        with open(path, "wb") as file:
            np.save(file, self._ends)

    @property
    def facts(self) -> dict[str, object]:
        """What ``saved`` needs beside the file."""
        return {"files": self._files}

    def __len__(self) -> int:
        return len(self._ends) - 1

    @property
    def row_bytes(self) -> int:
        """Of a record, in the mean."""
        return int(self._ends[-1]) // max(1, len(self)) + 1

    def take(self, indices: np.ndarray) -> np.ndarray:
        """The records at ``indices``, int [count], as bytes [count]."""
        records = np.empty(len(indices), object)
        begins, ends = self._ends[indices], self._ends[indices + 1]
        files = np.searchsorted(self._bounds, begins, side="right") - 1
        for number in np.unique(files):
            path, bound = self._files[number], self._bounds[number]
            places = np.flatnonzero(files == number)
            spans = (begins[places] - bound).tolist(), (ends[places] - bound).tolist()
            with open(path, "rb", buffering=0) as file:
                for place, begin, end in zip(places, *spans, strict=True):
                    framed = os.pread(file.fileno(), end - begin, begin)
                    records[place] = _unframed(framed, path, begin)
        return records

    def targets(self, graph: TransformGraph, node: str) -> np.ndarray:
        """The labels of all, as ``preprocessing.target`` has them; tells ``node``'s progress."""
        target, count = graph.target, len(self)

        def of_chunk(start: tf.Tensor) -> tf.Tensor:
            rows = tf.range(start, tf.minimum(start + _CHUNK, count))
            return target(tf.ensure_shape(tf.numpy_function(self.take, [rows], tf.string), [None]))

        starts = tf.data.Dataset.range(0, count, _CHUNK)
        untouched = tf.autograph.experimental.do_not_convert(of_chunk)
        targets = []
        for each in starts.map(untouched, num_parallel_calls=tf.data.AUTOTUNE).as_numpy_iterator():
            targets.append(each)
            done = min(len(targets) * _CHUNK, count)
            progress.report(node, f"labels, {done:,} of {count:,} examples", done / count)
        return np.concatenate(targets) if targets else np.empty(0, np.int64)


def chosen(
    training: sections.Training, splits: Sequence[list[str]], graph: TransformGraph, node: str
) -> list[Records] | None:
    """The records of each split where they are to be streamed; None: they are to be cached.

    ``splits`` are patterns of files. Raises a DarkroomError where ``training.examples`` asks for
    what can't be.
    """
    if training.examples == "cached":
        return None
    files = [examples.files(patterns) for patterns in splits]
    if odd := [file for of_split in files for file in of_split if not _has_places(file)]:
        if training.examples == "auto":
            return None
        raise DarkroomError(
            f"training.examples is streamed, and {odd[0]} can't be read from the middle: expected "
            "files on this machine, not compressed. Set it to cached."
        )
    records = [Records.of_files(of_split) for of_split in files]
    if training.examples == "streamed":
        progress.warn(node, "training.examples is streamed: every pass decodes all images anew")
        return records
    count, free = sum(map(len, records)), free_bytes()
    room = training.cache_bytes + free * _FREE_SHARE
    if (size := count * math.prod(graph.shape)) * 2 <= room:  # bytes of float16, at most
        return None
    if (size := size * _value_bytes(records[0], graph)) <= room:
        return None
    progress.warn(
        node,
        f"{count:,} examples take {size / 2**30:,.1f} GiB preprocessed, more than "
        f"training.cache_budget plus half of the {free / 2**30:,.1f} GiB that are free for "
        "temporary files: they are streamed, every pass decodes all images anew",
    )
    return records


def _value_bytes(records: Records, graph: TransformGraph) -> int:
    """Bytes in which a value would be cached, as some examples from all over the split tell."""
    if not graph.coding.ends:
        return 2
    rows = np.linspace(0, len(records) - 1, min(_CHUNK, len(records)), dtype=np.int64)
    images = graph.decode(tf.constant(records.take(rows), tf.string)).numpy()
    return 2 if graph.coding.encode(images) is None else 1


def _unframed(framed: bytes, path: str, begin: int) -> bytes:
    """The data of a record that stands at byte ``begin`` of a file."""
    [(data, intact)] = tfrecord.records(io.BytesIO(framed), path)
    if not intact:
        raise DarkroomError(
            f"{path}: the record at byte {begin:,} is damaged: its checksum doesn't match. Remove "
            "that artifact of ImportExampleGen, and run it again."
        )
    return data


def _has_places(file: str) -> bool:
    """Whether a record can be read at its place."""
    return not file.endswith(".gz") and not remote.is_remote(file)


def _size(file: str) -> int:
    try:
        return os.path.getsize(file)
    except OSError as error:
        raise DarkroomError(
            f"Examples are streamed, and {file} can't be read on this machine: {error.strerror}. "
            "Keep the artifacts in a folder that all machines see under the same name, or set "
            "training.examples to cached."
        ) from None
