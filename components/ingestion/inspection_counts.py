"""What the inspection counts: of one file, and of all together."""

import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

import numpy as np

from darkroom.components.ingestion import groups
from darkroom.components.ingestion.inspection_report import InspectionReport, SplitReport

_KNOWN_GROUPS = 1000  # names of groups that are kept, to name some
NAMED = 10  # faults named of each kind; all images that can't be used are in quarantine


class InspectionCounts:
    """Counts of the images of one or more files, by split; they add up."""

    def __init__(self) -> None:
        self._rows: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
        # int64 [images, 3]: the hashes of the pixels, of the label, and of the group; 0: none.
        self._arrays: dict[str, list[np.ndarray]] = defaultdict(list)
        self._quarantined: dict[str, Counter[str]] = defaultdict(Counter)
        self._in_two_splits: Counter[str] = Counter()
        # Labels of images that are not kept; who has none of its own is unknown.
        self._dropped: dict[str, Counter[bytes]] = defaultdict(Counter)
        self._first: dict[str, list[str]] = defaultdict(list)
        self._lost = 0
        self._groups: dict[int, str] = {}  # names of the first, by their hash

    def keep(self, split: str, content: int, label: bytes, group: str = "") -> None:
        number = zlib.crc32(group.encode()) if group else 0
        self._rows[split].append((content, zlib.crc32(label), number))
        if group and len(self._groups) < _KNOWN_GROUPS:
            self._groups[number] = group

    def quarantine(self, split: str, reason: str, name: str) -> None:
        self._quarantined[split][reason] += 1
        self._note("first_quarantined", f"{name}: {reason}")

    def drop(self, split: str, label: bytes) -> None:
        """Counts an image that is not kept by its label."""
        self._dropped[split][label] += 1

    def leak(self, split: str, name: str) -> None:
        """Counts an image of ``split`` that is also in a split further down."""
        self._in_two_splits[split] += 1
        self._note("first_in_two_splits", name)

    def broken_file(self, sentence: str, lost: int) -> None:
        """Notes a file that can't be read to its end, and about how many records are lost."""
        self._note("first_broken_files", sentence)
        self._lost += lost

    @property
    def images(self) -> int:
        return sum(len(rows) for rows in self._rows.values())

    def packed(self) -> "InspectionCounts":
        """These counts in less memory: 24 bytes per image."""
        for split, rows in self._rows.items():
            self._arrays[split].append(np.array(rows, np.int64).reshape(-1, 3))
        self._rows.clear()
        return self

    def contents(self) -> np.ndarray:
        """The hashes of all images' pixels, int64 [images]."""
        arrays = [array[:, 0] for of_split in self._arrays.values() for array in of_split]
        return np.concatenate([np.empty(0, np.int64), *arrays])

    def add(self, other: "InspectionCounts") -> None:
        for split, arrays in other._arrays.items():
            self._arrays[split].extend(arrays)
        for split, reasons in other._quarantined.items():
            self._quarantined[split].update(reasons)
        self._in_two_splits.update(other._in_two_splits)
        for split, labels in other._dropped.items():
            self._dropped[split].update(labels)
        for key, names in other._first.items():
            for name in names:
                self._note(key, name)
        self._lost += other._lost
        self._groups = {**other._groups, **self._groups}

    def report(self, splits: Iterable[str]) -> InspectionReport:
        reports = {split: self._of_split(split) for split in splits}
        first: dict[str, list[str]] = {**self._first}
        if shared := self._shared_groups(reports):
            first["first_shared_groups"] = shared
        return InspectionReport(splits=reports, lost=self._lost, **first)

    def _shared_groups(self, reports: Mapping[str, SplitReport]) -> list[str]:
        """Counts the images that are held out while others of their group are trained on."""
        rows = {split: self._rows_of(split)[:, 1:] for split in reports}
        every = np.concatenate([np.empty((0, 2), np.int64), *rows.values()])
        labels, of_all = every[every[:, 1] != 0].T
        if not groups.are_plausible(of_all, labels, len(np.unique(every[:, 0]))):
            return []
        names: list[str] = []
        trained = set(rows["train"][:, 1].tolist()) - {0} if "train" in rows else set()
        for split, report in reports.items():
            held_out = rows[split][:, 1].tolist()
            shared = [group for group in held_out if split != "train" and group in trained]
            if shared:
                report.in_trained_groups = len(shared)
                found = (self._groups[group] for group in shared if group in self._groups)
                names += list(dict.fromkeys(found))[:NAMED]
        return list(dict.fromkeys(names))[:NAMED]

    def _rows_of(self, split: str) -> np.ndarray:
        return np.concatenate([np.empty((0, 3), np.int64), *self._arrays[split]])

    def _of_split(self, split: str) -> SplitReport:
        rows = self._rows_of(split)[:, :2]
        contents, pairs = np.unique(rows[:, 0]), np.unique(rows, axis=0)
        kept, dropped = set(rows[:, 1].tolist()), self._dropped[split]
        return SplitReport(
            images=len(rows),
            duplicates=len(rows) - len(contents),
            with_two_labels=len(pairs) - len(contents),
            in_two_splits=self._in_two_splits[split],
            quarantined=dict(self._quarantined[split].most_common()),
            emptied={
                label.decode("utf-8", "replace"): count
                for label, count in sorted(dropped.items())
                if zlib.crc32(label) not in kept
            },
        )

    def _note(self, key: str, name: str) -> None:
        if len(self._first[key]) < NAMED:
            self._first[key].append(name)


def total(all_counts: Iterable[InspectionCounts]) -> InspectionCounts:
    """The sum of counts."""
    result = InspectionCounts()
    for counts in all_counts:
        result.add(counts)
    return result
