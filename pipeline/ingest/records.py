"""``darkroom ingest``: image files become TFRecords of tf.Examples, split once and for all.

Workers decode every new file and hash its pixels; then, as the splits depend on all hashes, they
write the images in shuffled order. Nothing appears in the target before all of it is written.
"""

import contextlib
import errno
import functools
import multiprocessing
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from darkroom.components.base import features, processes
from darkroom.components.base.errors import DarkroomError
from darkroom.components.ingestion import corrections
from darkroom.components.ingestion.corrections import Correction
from darkroom.pipeline.ingest import (
    archives,
    changes,
    groups,
    index,
    shards,
    splits,
    versions,
)
from darkroom.pipeline.ingest.changes import Added, Change, Decisions, Looked, Plan
from darkroom.pipeline.ingest.index import Entry, Records, Settings
from darkroom.pipeline.ingest.listing import SPLITS, Listing, Source, plural, some
from darkroom.pipeline.ingest.shards import Progress
from darkroom.pipeline.ingest.sources import list_images
from darkroom.pipeline.ingest.splits import Grouped
from darkroom.serving import files
from darkroom.serving.codecs import pictures
from darkroom.serving.codecs.pictures import ImageError

_CHUNK = 64  # files that a worker is given at a time
_GROUPED = ("group", "group_pattern")  # settings that say which images belong together
_SMALLER = ".smaller"  # folder of what was made smaller, until it is in TFRecords

Options = Mapping[str, object]
Confirm = Callable[[list[Change]], bool]  # whether these may be made


class _Smaller(NamedTuple):
    """What images become that have more pixels."""

    max_side: int
    folder: Path  # for their files, until they are in TFRecords


@dataclass
class Summary:
    """What an ingest did, and what is in the target now."""

    multi_label: bool
    images: dict[str, int] = field(default_factory=dict)  # of each split, all
    labels: dict[str, Counter[str]] = field(default_factory=dict)  # split → label → images
    changes: list[Change] = field(default_factory=list)
    numbers: list[str] = field(default_factory=list)  # that images have instead of labels
    version: str = ""
    earlier: int = 0  # files that were ingested before
    duplicates: int = 0  # files whose picture is there already
    refused: list[tuple[str, str]] = field(default_factory=list)  # name and reason
    notes: list[str] = field(default_factory=list)  # sentences
    ignored: Counter[str] = field(default_factory=Counter)  # no images, by suffix

    @property
    def added(self) -> int:
        return sum(change.kind == "added" for change in self.changes)


def ingest(
    source: Path,
    target: Path,
    options: Options,
    progress: Progress,
    *,
    root: Path | None = None,
    sync: bool = False,
    corrected: Path | None = None,
    confirm: Confirm = lambda changes: True,
) -> Summary:
    """Adds the images of a source to the TFRecords of a target, a folder with one per split.

    ``options`` are keys of ``Settings``; None: as before, or the usual. ``root`` is where the paths
    of a table may be, by default the table's folder. ``sync`` makes the target
    what the source is, if ``confirm`` agrees to what that changes of what is there; ``corrected``
    is a file of corrections to be taken in first. Raises a DarkroomError where there is nothing to
    ingest, options contradict those of the first time, or nobody agrees.
    """
    source, target = source.absolute(), target.absolute()
    if target.is_relative_to(source):
        raise DarkroomError(
            f"{target} is inside {source}, where its folders would be taken for classes. "
            "Choose a target elsewhere."
        )
    if target.parent.name == versions.VERSIONS_FOLDER and index.read_settings(target.parent.parent):
        raise DarkroomError(
            f"{target} is a version of {target.parent.parent}, and stays as it is. Ingest into "
            f"{target.parent.parent}."
        )
    before = index.read_settings(target)
    multi_label = bool(options["multi_label"] or (before and before.multi_label))
    own = corrections.read(corrected) if corrected else {}
    with archives.opened(source, target) as opened:
        numbers = _numbers(options, before, multi_label)
        listing = list_images(opened, multi_label, root, lambda: _classes(target), numbers)
        groups.name(source, listing, *(_grouped_by(key, options, before) for key in _GROUPED))
        target.mkdir(parents=True, exist_ok=True)
        try:
            with files.locked(target / versions.LOCK_FILE, patience=0):
                versions.finish(target)
                ingestion = _Ingestion(source, target, listing, progress)
                return ingestion.run({**options, "multi_label": multi_label}, own, sync, confirm)
        except files.Locked:
            raise DarkroomError(f"Another ingest into {target} is going on.") from None


def _numbers(options: Options, before: Settings | None, multi_label: bool) -> list[str]:
    """The columns of numbers to learn; none of classes."""
    said = options.get("numbers")
    numbers = said if isinstance(said, list) else (before and before.numbers) or []
    if numbers and multi_label:
        raise DarkroomError("--number and --multi-label exclude each other.")
    return numbers


def _classes(target: Path) -> set[str]:
    return {entry.label for entry in index.read_entries(target / index.INDEX_FILE)}


class _Ingestion:
    """One ingest, while the target is locked."""

    def __init__(self, source: Path, target: Path, listing: Listing, progress: Progress):
        self._source, self._target, self._listing = source, target, listing
        self._progress, self._before = progress, index.read(target)

    def run(
        self, options: Options, own: Mapping[str, Correction], sync: bool, confirm: Confirm
    ) -> Summary:
        """Looks, plans, asks, writes; corrections of its ``own`` come to those that are there."""
        before = self._before.settings
        max_side = before.max_side if before else options.get("max_side")
        with (
            _emptied(self._target / _SMALLER) as folder,
            ProcessPoolExecutor(
                os.cpu_count(),
                multiprocessing.get_context("spawn"),
                initializer=processes.start_worker,
            ) as workers,
        ):
            smaller = _Smaller(max_side, folder) if isinstance(max_side, int) else None
            looked_at = self._look(workers, smaller)
            refused = [(file.name, e) for file, e in looked_at if isinstance(e, str)]
            refused = [*self._listing.refused, *refused]
            decisions = self._decisions(looked_at, own, bool(options["multi_label"]))
            is_alone = self._is_alone(looked_at)
            hidden = {name for name, reason in refused if reason != os.strerror(errno.ENOENT)}
            plan = Plan(looked_at, self._before, decisions, hidden, sync=sync, is_alone=is_alone)
            settings = _settings(self._target, self._before.settings, options, plan)
            added = plan.join(_divided(plan, settings))
            entries = plan.entries(added)
            if not entries:
                first = "; ".join(f"{name}: {reason}" for name, reason in refused[:10])
                raise DarkroomError(
                    f"None of {len(self._listing.files):,} images can be used. {first}."
                )
            if self._before.settings is None and _is_grouped(settings):
                groups.check_shares(entries, _shares(plan, settings))
            changed = plan.changes(added)
            asks = sync and any(change.kind != "added" for change in changed)
            if asks and not confirm(changed):
                raise DarkroomError(f"Nothing was changed in {self._target}.")
            sources = self._sources(sync or is_alone, changed)
            settings = settings.model_copy(update={"sources": sources})
            if changed:
                settings = self._next(settings, entries)
            self._write(workers, plan, added, changed, settings, own)
        summary = Summary(settings.multi_label, changes=changed, version=settings.version)
        summary.numbers = settings.numbers or []
        summary.earlier, summary.duplicates = plan.earlier, plan.duplicates
        summary.refused, summary.ignored = refused, self._listing.ignored
        summary.notes = [*self._listing.notes, *plan.notes, *self._notes(plan, decisions, sync)]
        if several := groups.divided(entries):
            named = some([f"{name} ({' and '.join(of)})" for name, of in several.items()], 3)
            summary.notes.append(
                f"{plural(len(several), 'group')} in several splits, as they stand in the source: "
                f"{named}."
            )
        _count(summary, entries)
        return summary

    def _look(self, workers: ProcessPoolExecutor, smaller: _Smaller | None) -> list[Looked]:
        """What all files show: those that are as they were needn't be read."""
        known: dict[tuple[str, int, int], Entry] = {
            (entry.path, entry.size, entry.modified): entry
            for entry in chain(self._before.left_out, self._before.entries)
        }
        looked_at: list[Looked] = []
        new = []
        for file in self._listing.files:
            if (entry := _unchanged(file, known)) is None:
                new.append(file)
            else:
                looked_at.append((file, entry))
        look_at = functools.partial(_look_at, smaller=smaller)
        # Of few photographs each worker gets some.
        chunk = min(_CHUNK, 1 + len(new) // (4 * (os.cpu_count() or 1)))
        for done, pair in enumerate(workers.map(look_at, new, chunksize=chunk), 1):
            looked_at.append(pair)
            self._progress("looking at images", done, len(new))
        return looked_at

    def _decisions(
        self, looked_at: list[Looked], own: Mapping[str, Correction], multi_label: bool
    ) -> Decisions:
        seen = ((file.name, e.content) for file, e in looked_at if not isinstance(e, str))
        there = chain(self._before.left_out, self._before.entries)
        known = chain(seen, ((entry.path, entry.content) for entry in there))
        corrected = {**self._before.corrections, **own}
        return Decisions(corrected, known, multi_label, self._listing.numbers)

    def _is_alone(self, looked_at: list[Looked]) -> bool:
        """Whether nothing but this source is in the target."""
        settings = self._before.settings
        if settings is None or settings.sources:
            return settings is None or settings.sources == [self._name()]
        # An earlier darkroom doesn't say: if a file is there as it was.
        paths = {(entry.path, entry.size, entry.modified) for entry in self._before.entries}
        return any(
            not isinstance(e, str) and (e.path, e.size, e.modified) in paths for _, e in looked_at
        )

    def _sources(self, is_alone: bool, changed: list[Change]) -> list[str]:
        settings = self._before.settings
        if is_alone or settings is None:
            return [self._name()]
        before = settings.sources or [""]  # of an earlier darkroom: unknown
        is_new = bool(changed) and self._name() not in before
        return [*before, self._name()] if is_new else before

    def _next(self, settings: Settings, entries: list[Entry]) -> Settings:
        runs = settings.runs + (self._before.settings is not None)
        name = versions.name(runs, entries)
        return settings.model_copy(update={"runs": runs, "version": name})

    def _name(self) -> str:
        return str(self._source.resolve())

    def _write(
        self,
        workers: ProcessPoolExecutor,
        plan: Plan,
        added: list[Added],
        changed: list[Change],
        settings: Settings,
        own: Mapping[str, Correction],
    ) -> None:
        def corrected() -> dict[str, Correction]:
            there = corrections.read(self._target / corrections.CORRECTIONS_FILE)
            return changes.carried({**there, **own}, plan.renames, plan.stale)

        after = Records(settings, plan.entries(added), plan.left_out, corrected())
        if after == self._before:
            return
        incoming, replaced = versions.begin(self._target), []
        if added:
            shards.add(workers, added, incoming, settings, self._progress)
        if mended := plan.mended():
            replaced = shards.mend(
                workers, mended, self._before.entries, self._target, incoming, settings,
                self._progress,
            )  # fmt: skip
        # People may have decided more meanwhile.
        after = after._replace(corrections=corrected())
        versions.commit(
            self._target, settings, self._before, after, changed, self._source, replaced
        )

    def _notes(self, plan: Plan, decisions: Decisions, sync: bool) -> Iterator[str]:
        target = self._target.name
        columns = dict.fromkeys(name for file in self._listing.files for name, _ in file.columns)
        if sync and plan.earlier and columns:
            yield (
                f"{some(columns)}: of {plural(plan.earlier, 'image')} that {target} had already, "
                "what further columns say stays as it was when each came. Ingest into another "
                "target where that has changed."
            )
        if decisions.unknown:
            yield (
                f"{corrections.CORRECTIONS_FILE} names images that aren't there: "
                f"{changes.first(decisions.unknown)}."
            )
        if plan.stale:
            yield (
                "Corrections of pictures that others have replaced are taken out: "
                f"{changes.first(sorted(plan.stale))}."
            )
        if plan.pending:
            counted = Counter(plan.pending.values())
            words = ", ".join(
                f"{counted[kind]:,} {kind}" for kind in changes.KINDS if counted[kind]
            )
            named = changes.first(list(plan.pending))
            yield (
                f"{self._source.name} has changed since: {words} ({named}). "
                f"{target} keeps its images as they were; darkroom ingest --sync takes that over."
            )


def _count(summary: Summary, entries: list[Entry]) -> None:
    of_splits = Counter(entry.split for entry in entries)
    summary.images = {split: of_splits[split] for split in SPLITS}
    summary.labels = {split: Counter() for split in SPLITS}
    for entry in entries if not summary.numbers else ():
        several = features.split_labels(entry.label) if summary.multi_label else [entry.label]
        summary.labels[entry.split].update(several)
    for label, count in sum(summary.labels.values(), Counter()).items():
        if count < len(SPLITS) and not all(c[label] for c in summary.labels.values()):
            summary.notes.append(
                f"{label!r} has {count} image{'s' * (count > 1)}, too few to be in every split. "
                "Add more of them."
            )


def _unchanged(file: Source, known: Mapping[tuple[str, int, int], Entry]) -> Entry | None:
    """What is known of a file that is as it was, without opening it."""
    with contextlib.suppress(OSError):
        status = os.stat(file.path)
        return known.get((file.name, status.st_size, status.st_mtime_ns))
    return None


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
    entry = Entry(file.name, file.label, split, content, size, modified, file.group)
    if smaller and picture.is_smaller:
        path = smaller.folder / content
        path.write_bytes(picture.for_the_graph())
        file = file._replace(path=str(path))
    return file, entry


@contextlib.contextmanager
def _emptied(folder: Path) -> Iterator[Path]:
    """A folder without what a killed run left in it, and gone at the end."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _settings(target: Path, before: Settings | None, options: Options, plan: Plan) -> Settings:
    chosen = {key: value for key, value in options.items() if value is not None}
    if before is not None:
        for key, value in chosen.items():
            if (then := getattr(before, key)) != value:
                made = f"{key} {then}" if then is not None else f"no {key}"
                raise DarkroomError(
                    f"{target} was made with {made}, and its images stay as they are, and in their "
                    f"split: {value} needs another target."
                )
        return before
    share = splits.default_share(len(plan.new))
    settings = Settings.model_validate({"eval_share": share, "test_share": share, **chosen})
    if settings.eval_share + settings.test_share >= 1:
        raise DarkroomError("The shares of eval and test leave nothing to train on.")
    return settings


def _grouped_by(key: str, options: Options, before: Settings | None) -> str | None:
    value = options.get(key) or getattr(before, key, None)
    return value if isinstance(value, str) else None


def _is_grouped(settings: Settings) -> bool:
    return any(getattr(settings, key) is not None for key in _GROUPED)


def _shares(plan: Plan, settings: Settings) -> dict[str, float]:
    """Of eval and test, as far as they aren't divided already.

    Splits that the source has stand; where it has none for eval, that is taken from train.
    """
    of_source = {file.split for file, _ in plan.new if file.split}
    return {
        "test": 0 if of_source else settings.test_share,
        "eval": 0 if "eval" in of_source else settings.eval_share,
    }


def _divided(plan: Plan, settings: Settings) -> list[Added]:
    shares = _shares(plan, settings)
    standing = [after for _, after in plan.standing]
    free = [
        (file, entry)
        for file, entry in plan.new
        if file.split is None or (file.split == "train" and shares["eval"])
        if entry.content not in plan.fixed
    ]
    labels = [file.label for file, _ in free] + [entry.label for entry in standing]
    strata = {label: label for label in labels}
    if settings.numbers:
        strata = splits.quantiles(labels)
    elif settings.multi_label:
        strata = splits.strata(labels)
    drawn = shares, settings.seed, settings.method == "stratified"
    if _is_grouped(settings):
        of_free = (
            Grouped(strata[file.label], entry.group or entry.content, entry.content)
            for file, entry in free
        )
        of_standing = (
            Grouped(strata[entry.label], entry.group or entry.content, split=entry.split)
            for entry in standing
        )
        divided = splits.assign_groups(of_free, of_standing, *drawn)
    else:
        divided = splits.assign(
            [(entry.content, strata[file.label]) for file, entry in free],
            [(strata[entry.label], entry.split) for entry in standing],
            *drawn,
        )
    divided = plan.fixed | divided
    return [(file, e._replace(split=divided.get(e.content, e.split))) for file, e in plan.new]
