"""``darkroom ingest``: image files become TFRecords of tf.Examples, split once and for all.

Workers decode every new file and hash its pixels; then, as the splits depend on all hashes, they
write the images in shuffled order. Nothing appears in the target before all of it is written.
"""

import contextlib
import csv
import functools
import itertools
import multiprocessing
import os
import shutil
import signal
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel

from darkroom.components.base import features, processes, tfrecord
from darkroom.components.base.errors import DarkroomError
from darkroom.pipeline.ingest import splits
from darkroom.pipeline.ingest.sources import SPLITS, Listing, Source, list_images
from darkroom.serving import files
from darkroom.serving.codecs import pictures
from darkroom.serving.codecs.pictures import ImageError

INDEX_FILE = "index.csv"
SETTINGS_FILE = "ingest.json"
_INCOMING, _SMALLER = ".incoming", ".smaller"
_CHUNK = 64  # files that a worker is given at a time
_SHARD_BYTES = 64 * 2**20  # what one Beam worker reads at a time
_ANY_NAME = "surrogateescape"  # file names need not be UTF-8

Progress = Callable[[str, int, int], None]  # what is being done, how many are done, of how many
Options = Mapping[str, object]


class Settings(BaseModel):
    """How a target is divided, in ``ingest.json``: decided the first time, the same ever after."""

    method: str = "stratified"  # or random
    eval_share: float
    test_share: float
    seed: int = 0
    multi_label: bool = False  # a label is any number of labels, as in a|b
    max_side: int | None = None  # pixels of an image's longer side; None: however many it has
    runs: int = 1  # ingests that wrote something


class Entry(NamedTuple):
    """An image that is in the target: a row of the index."""

    path: str
    label: str
    split: str
    content: str  # hash of the pixels
    size: int  # of the file, bytes
    modified: int  # of the file, nanoseconds


class _Smaller(NamedTuple):
    """What images become that have more pixels."""

    max_side: int
    folder: Path  # for their files, until they are in TFRecords


Added = tuple[Source, Entry]  # an image and its row
Looked = tuple[Source, Entry | str]  # or the reason why it has none


@dataclass
class Summary:
    """What an ingest did, and what is in the target now."""

    multi_label: bool
    images: dict[str, int] = field(default_factory=dict)  # of each split, all
    labels: dict[str, Counter[str]] = field(default_factory=dict)  # split → label → images
    added: int = 0
    earlier: int = 0  # files that were ingested before
    duplicates: int = 0  # files whose picture is there already
    refused: list[tuple[str, str]] = field(default_factory=list)  # name and reason
    notes: list[str] = field(default_factory=list)  # sentences
    ignored: Counter[str] = field(default_factory=Counter)  # no images, by suffix


def ingest(source: Path, target: Path, options: Options, progress: Progress) -> Summary:
    """Adds the images of a source to the TFRecords of a target, a folder with one per split.

    ``options`` are keys of ``Settings``; None: as before, or the usual. Raises a DarkroomError
    where there is nothing to ingest, or options contradict those of the first time.
    """
    source, target = source.absolute(), target.absolute()
    if target.is_relative_to(source):
        raise DarkroomError(
            f"{target} is inside {source}, where its folders would be taken for classes. "
            "Choose a target elsewhere."
        )
    before = _read_settings(target)
    multi_label = bool(options["multi_label"] or (before and before.multi_label))
    listing = list_images(source, multi_label)
    target.mkdir(parents=True, exist_ok=True)
    try:
        with files.locked(target / ".lock", patience=0):
            _finish(target)
            return _ingest(listing, target, {**options, "multi_label": multi_label}, progress)
    except files.Locked:
        raise DarkroomError(f"Another ingest into {target} is going on.") from None


def _ingest(listing: Listing, target: Path, options: Options, progress: Progress) -> Summary:
    index = _read_index(target)
    is_multi = bool(options["multi_label"])
    summary = Summary(is_multi, refused=listing.refused, ignored=listing.ignored)
    by_path = {entry.path: entry for entry in index}
    new = [file for file in listing.files if not _is_unchanged(file, by_path.get(file.name))]
    summary.earlier = len(listing.files) - len(new)
    looked_at: list[Looked] = []
    before = _read_settings(target)
    max_side = before.max_side if before else options.get("max_side")
    with (
        _emptied(target / _SMALLER) as folder,
        ProcessPoolExecutor(
            os.cpu_count(), multiprocessing.get_context("spawn"), initializer=_start_worker
        ) as workers,
    ):
        smaller = _Smaller(max_side, folder) if isinstance(max_side, int) else None
        look_at = functools.partial(_look_at, smaller=smaller)
        # Of few photographs each worker gets some.
        chunk = min(_CHUNK, 1 + len(new) // (4 * (os.cpu_count() or 1)))
        for looked in workers.map(look_at, new, chunksize=chunk):
            looked_at.append(looked)
            progress("looking at images", len(looked_at), len(new))
        unique = _unique(looked_at, index, summary)
        settings = _settings(target, options, len(unique) + len(index))
        added = _divided(unique, index, settings)
        everything = [*index, *(entry for _, entry in added)]
        if added:
            _write(workers, added, everything, settings, target, progress)
    if not everything:
        first = "; ".join(f"{name}: {reason}" for name, reason in summary.refused[:10])
        raise DarkroomError(f"None of {len(listing.files):,} images can be used. {first}.")
    summary.added = len(added)
    _count(summary, everything)
    return summary


@contextlib.contextmanager
def _emptied(folder: Path) -> Iterator[Path]:
    """A folder without what a killed run left in it, and gone at the end."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _count(summary: Summary, entries: list[Entry]) -> None:
    of_splits = Counter(entry.split for entry in entries)
    summary.images = {split: of_splits[split] for split in SPLITS}
    summary.labels = {split: Counter() for split in SPLITS}
    for entry in entries:
        several = features.split_labels(entry.label) if summary.multi_label else [entry.label]
        summary.labels[entry.split].update(several)
    for label, count in sum(summary.labels.values(), Counter()).items():
        if count < len(SPLITS) and not all(c[label] for c in summary.labels.values()):
            summary.notes.append(
                f"{label!r} has {count} image{'s' * (count > 1)}, too few to be in every split. "
                "Add more of them."
            )


def _is_unchanged(file: Source, entry: Entry | None) -> bool:
    with contextlib.suppress(OSError):
        if entry is not None and file.label == entry.label:
            status = os.stat(file.path)
            return (status.st_size, status.st_mtime_ns) == (entry.size, entry.modified)
    return False


def _look_at(file: Source, smaller: _Smaller | None) -> Looked:
    """The image's row, and where its file is to be read: a smaller one is written here."""
    try:
        with open(file.path, "rb") as opened:
            status = os.fstat(opened.fileno())
            picture = pictures.Picture(opened.read(), smaller.max_side if smaller else None)
    except OSError as error:
        return file, error.strerror or "can't be read"
    except ImageError as error:
        return file, str(error)
    content = picture.content()
    split, size, modified = file.split or "train", status.st_size, status.st_mtime_ns
    entry = Entry(file.name, file.label, split, content, size, modified)
    if smaller and picture.is_smaller:
        path = smaller.folder / content
        path.write_bytes(picture.for_the_graph())
        file = file._replace(path=str(path))
    return file, entry


def _unique(looked_at: list[Looked], index: list[Entry], summary: Summary) -> list[Added]:
    """The new pictures; of the same one in several splits that held out the most."""
    labels = {entry.content: (entry.label, entry.path) for entry in index}
    contents = set(labels)
    unique: list[Added] = []
    for file, entry in sorted(looked_at, key=lambda pair: -SPLITS.index(pair[0].split or "train")):
        if isinstance(entry, str):
            summary.refused.append((file.name, entry))
            continue
        label, path = labels.setdefault(entry.content, (file.label, file.name))
        if entry.content in contents:
            summary.duplicates += 1
        else:
            contents.add(entry.content)
            unique.append((file, entry))
        if label != file.label:
            same = f"{file.name} shows the same as {path}, which is {label!r}"
            summary.notes.append(f"{same}: left out.")
    return unique


def _settings(target: Path, options: Options, images: int) -> Settings:
    chosen = {key: value for key, value in options.items() if value is not None}
    if before := _read_settings(target):
        for key, value in chosen.items():
            if getattr(before, key) != value:
                raise DarkroomError(
                    f"{target} was made with {key} {getattr(before, key)}, and its images stay as "
                    f"they are, and in their split: {value} needs another target."
                )
        return before.model_copy(update={"runs": before.runs + 1})
    share = splits.default_share(images)
    settings = Settings.model_validate({"eval_share": share, "test_share": share, **chosen})
    if settings.eval_share + settings.test_share >= 1:
        raise DarkroomError("The shares of eval and test leave nothing to train on.")
    return settings


def _read_settings(target: Path) -> Settings | None:
    written = files.read_json(target / SETTINGS_FILE)
    return Settings(**written) if written else None


def _divided(unique: list[Added], index: list[Entry], settings: Settings) -> list[Added]:
    # Splits that the source has stand; where it has none for eval, that is taken from train.
    of_source = {file.split for file, _ in unique if file.split}
    test_share = 0 if of_source else settings.test_share
    eval_share = 0 if "eval" in of_source else settings.eval_share
    free = [
        (entry.content, file.label)
        for file, entry in unique
        if file.split is None or (file.split == "train" and "eval" not in of_source)
    ]
    labels = [label for _, label in free] + [entry.label for entry in index]
    strata = splits.strata(labels) if settings.multi_label else {label: label for label in labels}
    divided = splits.assign(
        [(content, strata[label]) for content, label in free],
        [(strata[entry.label], entry.split) for entry in index],
        {"test": test_share, "eval": eval_share},
        settings.seed,
        settings.method == "stratified",
    )
    return [(file, e._replace(split=divided.get(e.content, e.split))) for file, e in unique]


def _write(
    workers: ProcessPoolExecutor,
    added: list[Added],
    index: list[Entry],
    settings: Settings,
    target: Path,
    progress: Progress,
) -> None:
    incoming = target / _INCOMING
    shards: dict[Path, list[Added]] = {}
    mixed = sorted(added, key=lambda pair: splits.draw(pair[1].content, settings.seed))
    for split in SPLITS:
        (incoming / split).mkdir(parents=True)
        parts: dict[int, list[Added]] = defaultdict(list)
        before = 0  # bytes
        for pair in (pair for pair in mixed if pair[1].split == split):
            parts[before // _SHARD_BYTES].append(pair)
            before += os.path.getsize(pair[0].path)
        for number, part in enumerate(parts.values()):
            name = f"{settings.runs:03}-{number:05}-of-{len(parts):05}.tfrecord"
            shards[incoming / split / name] = part
    for done in itertools.accumulate(workers.map(_write_shard, shards, shards.values())):
        progress("writing TFRecords", done, len(added))
    with open(incoming / INDEX_FILE, "w", newline="", encoding="utf-8", errors=_ANY_NAME) as file:
        writer = csv.writer(file)
        writer.writerow(Entry._fields)
        writer.writerows(index)
    # The settings come last: with them there, all is.
    with files.replacing(incoming / SETTINGS_FILE) as unfinished:
        unfinished.write_text(settings.model_dump_json(indent=2), encoding="utf-8")
    _finish(target)


def _finish(target: Path) -> None:
    """Puts what is written in place, or removes what a killed run left half-written."""
    incoming = target / _INCOMING
    if (incoming / SETTINGS_FILE).exists():
        for split in SPLITS:
            (target / split).mkdir(exist_ok=True)
            for shard in (incoming / split).glob("*.tfrecord"):
                os.replace(shard, target / split / shard.name)
        for name in (INDEX_FILE, SETTINGS_FILE):
            if (incoming / name).exists():
                os.replace(incoming / name, target / name)
    shutil.rmtree(incoming, ignore_errors=True)


def _write_shard(path: Path, part: list[Added]) -> int:
    tfrecord.write(path, (_example(*pair) for pair in part))
    return len(part)


def _example(source: Source, entry: Entry) -> bytes:
    return tfrecord.encode_example(
        {
            **{name: value.encode() for name, value in source.columns},
            features.IMAGE_KEY: pictures.for_the_graph(Path(source.path).read_bytes()),
            features.LABEL_KEY: entry.label.encode(),
            features.FILENAME_KEY: os.fsencode(entry.path),
        }
    )


def _read_index(target: Path) -> list[Entry]:
    path = target / INDEX_FILE
    try:
        with open(path, encoding="utf-8", newline="", errors=_ANY_NAME) as file:
            rows = csv.reader(file)
            next(rows)
            return [Entry(p, lb, sp, c, int(size), int(at)) for p, lb, sp, c, size, at in rows]
    except FileNotFoundError:
        return []
    except (ValueError, StopIteration) as error:
        remedy = "Restore it, or ingest into another target."
        raise DarkroomError(f"{path} is damaged. {remedy}") from error


def _start_worker() -> None:
    """Ends with the parent, not by Ctrl-C: the parent tells."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    processes.end_with_parent()
