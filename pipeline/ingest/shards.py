"""The TFRecord files of a target: new ones, and those that are written anew with other images.

A file never changes once it is in the target: versions share it.
"""

import functools
import itertools
import os
import pickle
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import NamedTuple

from darkroom.components.base import features, tfrecord
from darkroom.pipeline.ingest import splits
from darkroom.pipeline.ingest.changes import Added
from darkroom.pipeline.ingest.index import Entry, Settings
from darkroom.pipeline.ingest.listing import SPLITS, Source
from darkroom.serving import signatures
from darkroom.serving.codecs import pictures

_SHARD_BYTES = 64 * 2**20  # what one Beam worker reads at a time
_MENDS_FILE = "mends.pickle"

Progress = Callable[[str, int, int], None]  # what is being done, how many are done, of how many


def add(
    workers: Executor, added: list[Added], folder: Path, settings: Settings, progress: Progress
) -> None:
    """Writes new images, shuffled, below ``folder``."""
    shards: dict[Path, list[Added]] = {}
    mixed = sorted(added, key=lambda pair: splits.draw(pair[1].content, settings.seed))
    for split in SPLITS:
        parts: dict[int, list[Added]] = defaultdict(list)
        before = 0  # bytes
        for pair in (pair for pair in mixed if pair[1].split == split):
            parts[before // _SHARD_BYTES].append(pair)
            before += os.path.getsize(pair[0].path)
        for number, part in enumerate(parts.values()):
            name = f"{settings.runs:03}-{number:05}-of-{len(parts):05}.tfrecord"
            shards[folder / split / name] = part
    numbers = itertools.repeat(settings.numbers or [])
    for done in itertools.accumulate(workers.map(_write_shard, shards, shards.values(), numbers)):
        progress("writing TFRecords", done, len(added))


class _Mends(NamedTuple):
    after: dict[str, Entry | None]  # by content, of images that change; None: it goes
    contents: dict[str, set[str]]  # by path, also of images that don't change
    numbers: list[str]  # as of ``Settings``


def mend(
    workers: Executor,
    changed: Mapping[str, Entry | None],
    index: Iterable[Entry],
    target: Path,
    folder: Path,
    settings: Settings,
    progress: Progress,
) -> list[str]:
    """Writes below ``folder`` anew what has images that change; the names that they replace.

    ``changed`` are images of the ``index`` by content: None for one that goes.
    """
    mends = _Mends(dict(changed), defaultdict(set), settings.numbers or [])
    affected = set()
    for entry in index:
        mends.contents[entry.path].add(entry.content)
        if entry.content in changed:
            affected.add(entry.split)
    (folder / _MENDS_FILE).write_bytes(pickle.dumps(mends))
    shards = [
        shard for split in sorted(affected) for shard in sorted((target / split).glob("*.tfrecord"))
    ]
    names = [f"{settings.runs:03}-mended-{number:05}.tfrecord" for number in range(len(shards))]
    replaced = []
    affections = workers.map(_mend_shard, shards, itertools.repeat(folder), names)
    for done, (shard, is_affected) in enumerate(zip(shards, affections, strict=True), 1):
        if is_affected:
            replaced.append(f"{shard.parent.name}/{shard.name}")
        progress("mending TFRecords", done, len(shards))
    (folder / _MENDS_FILE).unlink()
    return replaced


def _write_shard(path: Path, part: list[Added], numbers: Sequence[str] = ()) -> int:
    tfrecord.write(path, (_example(*pair, numbers) for pair in part))
    return len(part)


def _example(source: Source, entry: Entry, numbers: Sequence[str]) -> bytes:
    picture = pictures.for_the_graph(Path(source.path).read_bytes())
    return tfrecord.encode_example(
        {
            **{name: value.encode() for name, value in source.columns},
            features.IMAGE_KEY: picture,
            **_named(entry, numbers),
        }
    )


def _named(entry: Entry, numbers: Sequence[str]) -> dict[str, bytes | float]:
    learnt: dict[str, bytes | float] = {features.LABEL_KEY: entry.label.encode()}
    if numbers:
        values = map(float, entry.label.split(signatures.LABEL_SEPARATOR))
        learnt = dict(zip(numbers, values, strict=True))
    return {
        **learnt,
        features.FILENAME_KEY: os.fsencode(entry.path),
        features.FILE_HASH_KEY: entry.content.encode(),
        **({features.GROUP_KEY: entry.group.encode()} if entry.group else {}),
    }


def _mend_shard(path: Path, folder: Path, name: str) -> bool:
    mends = _mends(folder / _MENDS_FILE)
    records: dict[str, list[bytes]] = defaultdict(list)  # by split
    is_affected = False
    for record in _intact(path):
        values = {key: list(found.values) for key, found in tfrecord.decode_example(record).items()}
        content = _content(values, mends)
        if content not in mends.after:
            records[path.parent.name].append(record)
            continue
        is_affected = True
        if (entry := mends.after[content]) is not None:
            records[entry.split].append(
                tfrecord.encode_example({**values, **_named(entry, mends.numbers)})
            )
    if is_affected:
        for split, kept in records.items():
            tfrecord.write(folder / split / name, kept)
    return is_affected


def _intact(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        for record, is_intact in tfrecord.records(file, str(path)):
            if not is_intact:
                raise tfrecord.TFRecordError(
                    f"{path} is damaged: the checksum of a record doesn't match. Restore the file, "
                    "or ingest into another target."
                )
            yield record


@functools.cache
def _mends(path: Path) -> _Mends:
    """Read once in each worker."""
    mends: _Mends = pickle.loads(path.read_bytes())
    return mends


def _content(values: Mapping[str, list[bytes]], mends: _Mends) -> str:
    """The hash of the file's pixels, which records of earlier versions don't have."""
    if written := values.get(features.FILE_HASH_KEY):
        return written[0].decode()
    of_path = mends.contents.get(os.fsdecode(values[features.FILENAME_KEY][0]), set())
    if len(of_path) == 1:
        return next(iter(of_path))
    return pictures.Picture(values[features.IMAGE_KEY][0]).content()
