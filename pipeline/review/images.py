"""The images of a folder of TFRecords, each of them looked at by a pool of processes."""

import functools
import itertools
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from darkroom.components.base import features, processes, tfrecord
from darkroom.components.base.errors import DarkroomError
from darkroom.components.base.tfrecord import NO_FEATURE
from darkroom.pipeline.review import measures
from darkroom.pipeline.review.measures import Measures
from darkroom.serving import signatures

SPLITS = {"train": "train/*", "eval": "eval/*", "test": "test/*"}
_BATCH = 64  # images that a process is given at a time
_WAITING = 8  # batches for each process that are read before one of them is done
Progress = Callable[[str, int, int], None]  # what is being done, how many are done, of how many
_Result = TypeVar("_Result")


class Source(NamedTuple):
    """Where the examples are, and under which keys."""

    folder: Path
    patterns: dict[str, str] = SPLITS  # split → its files
    image_key: str = features.IMAGE_KEY
    label_key: str = features.LABEL_KEY


class Place(NamedTuple):
    """Where a record is."""

    file: Path
    number: int  # in the file, from 0


class Example(NamedTuple):
    """One image as it is in the records."""

    path: str  # the name of its file, as in the index; where it has none, that of its record
    split: str
    label: str  # several are joined by |
    place: Place
    encoded: bytes


class Damaged(NamedTuple):
    """An image that doesn't decode."""

    path: str
    split: str
    label: str
    reason: str


class Images(NamedTuple):
    """All images that decode, column by column, and the others."""

    source: Source
    paths: list[str]
    splits: list[str]
    labels: list[str]
    places: list[Place]
    measured: list[Measures]
    damaged: list[Damaged]

    def column(self, name: str) -> np.ndarray:
        """A measurement of all images, float64 [images]."""
        return np.array([getattr(each, name) for each in self.measured], float)

    def small(self) -> np.ndarray:
        """The rows of near_duplicates, uint8 [images, values]."""
        joined = b"".join(each.small for each in self.measured)
        return np.frombuffer(joined, np.uint8).reshape(len(self.measured), -1)

    def resized(
        self, rows: Sequence[int], side: int, mode: str, progress: Progress
    ) -> Iterator[np.ndarray]:
        """The images of ascending rows, uint8 [images, side, side, channels] in each block.

        ``mode`` is L or RGB.
        """
        wanted = {self.places[row] for row in rows}
        files = (each.encoded for each in read(self.source) if each.place in wanted)
        work = functools.partial(measures.resized, side=side, mode=mode)
        done = 0
        for block in _mapped(work, files):
            done += len(block)
            progress("computing features", done, len(rows))
            yield block

    def encoded(self, row: int) -> bytes:
        """The image file of a row."""
        return encoded(self.places[row], self.source.image_key)


def look(source: Source, progress: Progress) -> Images:
    """Looks at every image; raises a DarkroomError where there are none."""
    images = Images(source, [], [], [], [], [], [])
    examples, kept = itertools.tee(read(source))  # the second lags by what the pool holds
    results = _mapped(measures.measure, (example.encoded for example in examples))
    for number, result in enumerate(itertools.chain.from_iterable(results)):
        path, split, label, place, _ = next(kept)
        if isinstance(result, str):
            images.damaged.append(Damaged(path, split, label, result))
            continue
        images.paths.append(path)
        images.splits.append(split)
        images.labels.append(label)
        images.places.append(place)
        images.measured.append(result)
        progress("looking at images", number + 1, number + 1)
    if not images.paths:
        places = ", ".join(source.patterns.values())
        raise DarkroomError(
            f"{source.folder} has no images in {places}: expected a folder that darkroom ingest "
            "has made."
        )
    return images


def _mapped(work: Callable[[list[bytes]], _Result], files: Iterable[bytes]) -> Iterator[_Result]:
    """What processes make of batches, in order; only so many are read as they can do soon."""
    context, count = multiprocessing.get_context("spawn"), os.cpu_count() or 1
    with ProcessPoolExecutor(count, context, initializer=processes.start_worker) as workers:
        waiting: deque[Future[_Result]] = deque()
        files = iter(files)
        while batch := list(itertools.islice(files, _BATCH)):
            waiting.append(workers.submit(work, batch))
            if len(waiting) >= count * _WAITING:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def read(source: Source) -> Iterator[Example]:
    """All examples, in the order of splits and files."""
    for split, pattern in source.patterns.items():
        for file in sorted(source.folder.glob(pattern)):
            for number, record in enumerate(tfrecord.read(file)):
                yield _example(source, split, Place(file, number), record)


def _example(source: Source, split: str, place: Place, record: bytes) -> Example:
    try:
        values = tfrecord.decode_example(record)
    except ValueError:
        values = {}
    name = values.get(features.FILENAME_KEY, NO_FEATURE)
    image = values.get(source.image_key, NO_FEATURE)
    texts = values.get(source.label_key, NO_FEATURE).values
    label = signatures.LABEL_SEPARATOR.join(
        text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text) for text in texts
    )
    own = os.fsdecode(name.values[0]) if name.kind == "bytes" and len(name.values) else ""
    path = own or f"{place.file.relative_to(source.folder)}#{place.number}"
    file = image.values[0] if image.kind == "bytes" and len(image.values) else b""
    return Example(path, split, label, place, file)


def encoded(place: Place, image_key: str) -> bytes:
    """The image file of a record."""
    if place.file.suffix == ".gz":
        record = next(itertools.islice(tfrecord.read(place.file), place.number, None))
    else:
        with open(place.file, "rb") as file:
            file.seek(_begins(place.file)[place.number])
            record, _ = next(tfrecord.records(file, str(place.file)))
    image: bytes = tfrecord.decode_example(record)[image_key].values[0]
    return image


@functools.lru_cache(maxsize=1024)
def _begins(file: Path) -> list[int]:
    return [0, *tfrecord.ends(file)]
