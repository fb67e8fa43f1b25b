"""``darkroom ingest``: image files become TFRecords of tf.Examples, split once and for all.

Two passes by worker processes: every new file is decoded and its pixels hashed; then the images,
whose splits depend on all hashes, are written in shuffled order. Nothing appears in the target
before all of it is written.
"""

import csv
import fcntl
import json
import multiprocessing
import os
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from darkroom.components.base import features, tfrecord
from darkroom.components.base.errors import DarkroomError
from darkroom.components.ingestion.image_formats import ImageError
from darkroom.pipeline.ingest import pictures, sources, splits

INDEX_FILE = "index.csv"
SETTINGS_FILE = "ingest.json"
_INCOMING = ".incoming"
# Files that a worker looks at before it reports.
_CHUNK = 64
# A shard is what one Beam worker reads at a time, and what is written again after a failure.
_SHARD_BYTES = 64 * 2**20

Progress = Callable[[str, int, int], None]  # what is being done, how many are done, of how many


class Options(NamedTuple):
    """How images are divided; None: as before, or the usual."""

    method: str | None = None  # stratified or random
    eval_share: float | None = None
    test_share: float | None = None
    seed: int | None = None
    multi_label: bool | None = None  # a label is any number of labels, as in a|b


class Entry(NamedTuple):
    """An image that is in the target: a row of the index."""

    path: str
    label: str
    split: str
    content: str  # hash of the pixels
    size: int  # of the file, bytes
    modified: int  # of the file, nanoseconds


@dataclass
class Summary:
    """What an ingest did, and what is in the target now."""

    multi_label: bool
    images: dict[str, int] = field(default_factory=dict)  # of each split, all
    labels: dict[str, Counter[str]] = field(default_factory=dict)  # split → label → images
    added: int = 0
    known: int = 0  # files that were ingested before
    duplicates: int = 0  # files whose picture is there already
    refused: list[tuple[str, str]] = field(default_factory=list)  # name and reason
    notes: list[str] = field(default_factory=list)  # sentences
    ignored: Counter[str] = field(default_factory=Counter)  # no images, by suffix


def ingest(source: Path, target: Path, options: Options, progress: Progress) -> Summary:
    """Adds the images of a source to the TFRecords of a target.

    Args:
      source: a folder with a folder per class, the same below split folders, or a CSV manifest.
      target: folder with a folder per split; made, or added to.
      options: must not contradict those of the first time.
      progress: is told how far it is.

    Raises:
      DarkroomError: nothing to ingest, or contradicting options.
    """
    source, target = source.absolute(), target.absolute()
    if target.is_relative_to(source):
        raise DarkroomError(
            f"{target} is inside {source}, where its folders would be taken for classes. "
            "Choose a target elsewhere."
        )
    multi_label = options.multi_label or _stored(target).get("multi_label", False)
    options = options._replace(multi_label=multi_label)
    found = sources.find(source, multi_label)
    target.mkdir(parents=True, exist_ok=True)
    with open(target / ".lock", "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DarkroomError(f"Another ingest into {target} is going on.") from None
        _finish(target)
        return _ingest(found, target, options, progress)


def _ingest(found: sources.Found, target: Path, options: Options, progress: Progress) -> Summary:
    index = _read_index(target)
    multi_label = bool(options.multi_label)
    summary = Summary(multi_label, refused=list(found.refused), ignored=found.ignored)
    by_path = {entry.path: entry for entry in index}
    new = [file for file in found.files if not _is_known(file, by_path.get(file.name))]
    summary.known = len(found.files) - len(new)
    with _workers() as workers:
        looked = _look_at_all(workers, new, progress)
        unique = _unique(new, looked, index, summary)
        settings = _settings(target, options, len(unique) + len(index))
        added = _assigned(unique, index, settings)
        if added:
            _write(workers, added, index, settings, target, progress)
    if not added and not index:
        first = "; ".join(f"{name}: {reason}" for name, reason in summary.refused[:10])
        raise DarkroomError(f"None of {len(found.files):,} images can be used. {first}.")
    summary.added = len(added)
    summary.images = dict.fromkeys(sources.SPLITS, 0)
    summary.labels = {split: Counter() for split in sources.SPLITS}
    for entry in [*index, *(entry for _, entry in added)]:
        summary.images[entry.split] += 1
        summary.labels[entry.split].update(_labels(entry.label, multi_label))
    for label, count in sum(summary.labels.values(), Counter()).items():
        if count < len(sources.SPLITS) and not all(c[label] for c in summary.labels.values()):
            summary.notes.append(
                f"{label!r} has {count} image{'s' * (count > 1)}, too few to be in every split. "
                "Add more of them."
            )
    return summary


def _is_known(file: sources.Source, entry: Entry | None) -> bool:
    if entry is None:
        return False
    try:
        status = os.stat(file.path)
    except OSError:
        return False
    unchanged = (status.st_size, status.st_mtime_ns) == (entry.size, entry.modified)
    return unchanged and file.label == entry.label


class _Look(NamedTuple):
    """What a worker saw in a file: either a content, or a reason."""

    content: str
    size: int
    modified: int
    reason: str = ""


def _look_at_all(
    workers: ProcessPoolExecutor, files: list[sources.Source], progress: Progress
) -> list[_Look]:
    looked: list[_Look] = []
    chunks = [[f.path for f in files[at : at + _CHUNK]] for at in range(0, len(files), _CHUNK)]
    for part in workers.map(_look_at, chunks):
        looked += part
        progress("looking at images", len(looked), len(files))
    return looked


def _look_at(paths: list[str]) -> list[_Look]:
    return [_look_at_one(path) for path in paths]


def _look_at_one(path: str) -> _Look:
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            picture = pictures.Picture(file.read())
    except OSError as error:
        return _Look("", 0, 0, error.strerror or "can't be read")
    except ImageError as error:
        return _Look("", 0, 0, str(error))
    return _Look(picture.content(), status.st_size, status.st_mtime_ns)


def _unique(
    files: list[sources.Source], looked: list[_Look], index: list[Entry], summary: Summary
) -> dict[str, tuple[sources.Source, _Look]]:
    """The new pictures by content; of the same one in several splits that held out the most."""
    labels = {entry.content: (entry.label, entry.path) for entry in index}
    unique: dict[str, tuple[sources.Source, _Look]] = {}
    there = set(labels)
    pairs = list(zip(files, looked, strict=True))
    pairs.sort(key=lambda pair: -sources.SPLITS.index(pair[0].split or "train"))
    for file, look in pairs:
        if look.reason:
            summary.refused.append((file.name, look.reason))
            continue
        label, path = labels.setdefault(look.content, (file.label, file.name))
        if look.content in there:
            summary.duplicates += 1
        else:
            there.add(look.content)
            unique[look.content] = (file, look)
        if label != file.label:
            summary.notes.append(
                f"{file.name} shows the same as {path}, which is {label!r}: left out."
            )
    return unique


def _settings(target: Path, options: Options, images: int) -> dict[str, Any]:
    """How this target is divided: decided the first time, the same ever after."""
    given = {key: value for key, value in options._asdict().items() if value is not None}
    if settings := _stored(target):
        for key, value in given.items():
            if settings[key] != value:
                raise DarkroomError(
                    f"{target} was divided with {key} {settings[key]}, and images keep their "
                    f"split: {value} needs another target."
                )
        return {**settings, "runs": settings["runs"] + 1}
    share = splits.default_share(images)
    usual = {"method": "stratified", "eval_share": share, "test_share": share, "seed": 0}
    settings = {**usual, **given, "runs": 1}
    if settings["eval_share"] + settings["test_share"] >= 1:
        raise DarkroomError("The shares of eval and test leave nothing to train on.")
    return settings


def _stored(target: Path) -> dict[str, Any]:
    """The settings of the first time; empty where this is it."""
    path = target / SETTINGS_FILE
    if not path.exists():
        return {}
    return {"multi_label": False, **json.loads(path.read_text(encoding="utf-8"))}


def _labels(label: str, multi_label: bool) -> list[str]:
    return features.split_labels(label) if multi_label else [label]


def _assigned(
    unique: dict[str, tuple[sources.Source, _Look]], index: list[Entry], settings: dict[str, Any]
) -> list[tuple[sources.Source, Entry]]:
    """Every new picture with its index entry."""
    # Splits that the source has stand; where it has none for eval, that is taken from train.
    given = {file.split for file, _ in unique.values() if file.split}
    shares = splits.Shares(
        eval=0 if "eval" in given else settings["eval_share"],
        test=0 if given else settings["test_share"],
    )
    free = [
        (content, file.label)
        for content, (file, _) in unique.items()
        if file.split is None or (file.split == "train" and "eval" not in given)
    ]
    labels = [label for _, label in free] + [entry.label for entry in index]
    strata = (
        splits.strata(labels) if settings["multi_label"] else {label: label for label in labels}
    )
    divided = splits.assign(
        [(content, strata[label]) for content, label in free],
        [(strata[entry.label], entry.split) for entry in index],
        shares,
        settings["seed"],
        settings["method"] == "stratified",
    )
    return [
        (
            file,
            Entry(
                file.name,
                file.label,
                divided.get(content, file.split or "train"),
                content,
                look.size,
                look.modified,
            ),
        )
        for content, (file, look) in unique.items()
    ]


def _write(
    workers: ProcessPoolExecutor,
    added: list[tuple[sources.Source, Entry]],
    index: list[Entry],
    settings: dict[str, Any],
    target: Path,
    progress: Progress,
) -> None:
    """Writes everything aside, then puts it in place."""
    incoming = target / _INCOMING
    shards: list[tuple[Path, list[tuple[sources.Source, Entry]]]] = []
    for split in sources.SPLITS:
        (incoming / split).mkdir(parents=True)
        mixed = [pair for pair in added if pair[1].split == split]
        mixed.sort(key=lambda pair: splits.draw(pair[1].content, settings["seed"]))
        parts = list(_parts(mixed))
        for number, part in enumerate(parts):
            name = f"{settings['runs']:03}-{number:05}-of-{len(parts):05}.tfrecord"
            shards.append((incoming / split / name, part))
    done = 0
    for written in workers.map(_write_shard, *zip(*shards, strict=True)):
        done += written
        progress("writing TFRecords", done, len(added))
    with open(incoming / INDEX_FILE, "w", encoding="utf-8", newline="", **_ANY_NAME) as file:
        writer = csv.writer(file)
        writer.writerow(Entry._fields)
        writer.writerows([*index, *(entry for _, entry in added)])
    # The settings come last: with them there, all is.
    staged = incoming / f"{SETTINGS_FILE}.part"
    staged.write_text(json.dumps(settings, indent=2), encoding="utf-8")
    os.replace(staged, incoming / SETTINGS_FILE)
    _finish(target)


def _finish(target: Path) -> None:
    """Puts what is written in place, or removes what a killed run left half-written."""
    incoming = target / _INCOMING
    if (incoming / SETTINGS_FILE).exists():
        for split in sources.SPLITS:
            (target / split).mkdir(exist_ok=True)
            for shard in (incoming / split).glob("*.tfrecord"):
                os.replace(shard, target / split / shard.name)
        for name in (INDEX_FILE, SETTINGS_FILE):
            if (incoming / name).exists():
                os.replace(incoming / name, target / name)
    shutil.rmtree(incoming, ignore_errors=True)


def _parts(
    mixed: Iterable[tuple[sources.Source, Entry]],
) -> Iterator[list[tuple[sources.Source, Entry]]]:
    part: list[tuple[sources.Source, Entry]] = []
    size = 0
    for pair in mixed:
        part.append(pair)
        size += pair[1].size
        if size >= _SHARD_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def _write_shard(path: Path, part: list[tuple[sources.Source, Entry]]) -> int:
    tfrecord.write(path, (_example(*pair) for pair in part))
    return len(part)


def _example(source: sources.Source, entry: Entry) -> bytes:
    encoded = Path(source.path).read_bytes()
    return tfrecord.encode_example(
        {
            **{name: value.encode() for name, value in source.columns},
            features.IMAGE_KEY: pictures.Picture(encoded).for_the_graph(),
            features.LABEL_KEY: entry.label.encode(),
            features.FILENAME_KEY: os.fsencode(entry.path),
        }
    )


# File names need not be UTF-8.
_ANY_NAME: dict[str, Any] = {"errors": "surrogateescape"}


def _read_index(target: Path) -> list[Entry]:
    try:
        with open(target / INDEX_FILE, encoding="utf-8", newline="", **_ANY_NAME) as file:
            rows = csv.reader(file)
            next(rows)
            return [Entry(p, lb, sp, c, int(size), int(at)) for p, lb, sp, c, size, at in rows]
    except FileNotFoundError:
        return []
    except (ValueError, StopIteration) as error:
        raise DarkroomError(
            f"{target / INDEX_FILE} is damaged. Restore it, or ingest into another target."
        ) from error


def _workers() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        os.cpu_count(), multiprocessing.get_context("spawn"), initializer=_start_worker
    )


def _start_worker() -> None:
    """Ends with the parent, not by Ctrl-C: the parent tells."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
