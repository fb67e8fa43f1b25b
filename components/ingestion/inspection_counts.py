"""What the inspection of the examples counted: of one file, of all, and in words."""

import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

import apache_beam as beam
import numpy as np

# Of each kind so many are named; all that can't be used are in quarantine.
_NAMED = 10


class Tally:
    """Counts of one or more files; adds up."""

    def __init__(self) -> None:
        self._rows: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self._arrays: dict[str, list[np.ndarray]] = defaultdict(list)
        self._quarantined: dict[str, Counter[str]] = defaultdict(Counter)
        self._in_two_splits: Counter[str] = Counter()
        self._named: dict[str, list[str]] = defaultdict(list)
        self._lost = 0

    def keep(self, split: str, content: int, label: bytes) -> None:
        """Counts an image with the hash of its pixels."""
        self._rows[split].append((content, zlib.crc32(label)))

    def set_aside(self, split: str, reason: str, name: str) -> None:
        """Counts an image that can't be used."""
        self._quarantined[split][reason] += 1
        self._name("quarantined", f"{name}: {reason}")

    def found_twice(self, split: str, name: str) -> None:
        """Counts an image of ``split`` that is also in a split further down."""
        self._in_two_splits[split] += 1
        self._name("in_two_splits", name)

    def broken(self, sentence: str, lost: int) -> None:
        """Notes a file that can't be read to its end, and about how many records are lost."""
        self._name("broken_files", sentence)
        self._lost += lost

    @property
    def images(self) -> int:
        """How many are kept so far."""
        return sum(len(rows) for rows in self._rows.values())

    def packed(self) -> "Tally":
        """The same in less memory: 16 bytes per image."""
        for split, rows in self._rows.items():
            self._arrays[split].append(np.array(rows, np.int64).reshape(-1, 2))
        self._rows.clear()
        return self

    def contents(self) -> np.ndarray:
        """The hashes of all images' pixels, int64."""
        arrays = [array[:, 0] for of_split in self._arrays.values() for array in of_split]
        return np.concatenate([np.empty(0, np.int64), *arrays])

    def add(self, other: "Tally") -> "Tally":
        """Adds what another has counted."""
        for split, arrays in other._arrays.items():
            self._arrays[split].extend(arrays)
        for split, reasons in other._quarantined.items():
            self._quarantined[split].update(reasons)
        self._in_two_splits.update(other._in_two_splits)
        for kind, names in other._named.items():
            for name in names:
                self._name(kind, name)
        self._lost += other._lost
        return self

    def report(self, splits: Iterable[str]) -> dict[str, Any]:
        """All in plain data, for JSON."""
        return {
            "splits": {split: self._of_split(split) for split in splits},
            "lost": self._lost,
            **{f"first_{kind}": names for kind, names in sorted(self._named.items())},
        }

    def _of_split(self, split: str) -> dict[str, Any]:
        rows = np.concatenate([np.empty((0, 2), np.int64), *self._arrays[split]])
        contents, pairs = np.unique(rows[:, 0]), np.unique(rows, axis=0)
        return {
            "images": len(rows),
            "duplicates": len(rows) - len(contents),
            "with_two_labels": len(pairs) - len(contents),
            "in_two_splits": self._in_two_splits[split],
            "quarantined": dict(self._quarantined[split].most_common()),
        }

    def _name(self, kind: str, name: str) -> None:
        if len(self._named[kind]) < _NAMED:
            self._named[kind].append(name)


class Sum(beam.CombineFn):  # type: ignore[misc]  # Beam's base has no types
    """Adds tallies up."""

    def create_accumulator(self) -> Tally:
        return Tally()

    def add_input(self, total: Tally, tally: Tally) -> Tally:
        return total.add(tally)

    def merge_accumulators(self, totals: Iterable[Tally]) -> Tally:
        total = Tally()
        for part in totals:
            total.add(part)
        return total

    def extract_output(self, total: Tally) -> Tally:
        return total
