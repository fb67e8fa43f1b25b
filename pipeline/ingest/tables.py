"""Tables that list images with their labels: CSV, JSON lines, Parquet; and what columns mean."""

import contextlib
import csv
import io
import json
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from darkroom.components.base import features
from darkroom.components.base.errors import DarkroomError, closest, not_installed
from darkroom.pipeline.ingest.listing import (
    SPLITS,
    Source,
    is_image,
    is_number,
    split_of,
    text,
    words,
)
from darkroom.pipeline.ingest.locator import Locator, NotUsable
from darkroom.serving import signatures

_TEXTS = (".csv", ".tsv", ".tab")
_JSON_LINES = (".jsonl", ".ndjson")
SUFFIXES = (*_TEXTS, *_JSON_LINES, ".parquet")
# Names of columns, without case and what is no letter, the likeliest first.
_PATHS = words(
    "path filepath imagepath imgpath filename file imagefile imagefilename imagename imgname "
    "image img images imageid imgid imageindex photo picture name id"
)
_LABELS = words(
    "label labelname class classname category categoryname target y labels classes species breed "
    "variety diagnosis dx findinglabels labelid classid categoryid targets predictionstring"
)
_BOXES = "predictionstring"  # Kaggle's: a class and four numbers of its box, any number of times
_SPLITS = ("split", "subset", "partition", "usage")
_IS_EVAL = "isvalid"  # fastai's
_ONE = ("1", "1.0", "true")
_ZERO = ("0", "0.0", "-1", "-1.0", "false", "")
_MANY = 20  # rows by which a column that only may be the label is judged

Cells = dict[str, str]
Line = tuple[int, Cells | str]  # its number, and its cells or why it has none


class Columns(NamedTuple):
    """What the columns of a table mean."""

    path: str
    label: str  # nothing where classes are columns of 0 and 1
    split: str = ""
    classes: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()  # instead of a label

    def own(self) -> set[str]:
        """All of them."""
        return {self.path, self.label, self.split, *self.classes, *self.numbers}


class Table:
    """A table of images; raises a DarkroomError where it is none."""

    def __init__(self, path: Path, numbers: Collection[str] = ()):
        """``numbers``: columns of what is measured of an image, where it is no label."""
        self.path, self._numbers = path, tuple(numbers)
        self.notes: list[str] = []
        kind = path.suffix.lower()
        self._form = "CSV in UTF-8" if kind in _TEXTS else kind[1:]
        self._lines: list[Line] | None = None
        with self._reading():
            if kind in _TEXTS:
                self._read_header(kind)
            else:
                lines = _json_lines if kind in _JSON_LINES else _parquet_lines
                self._lines = list(lines(path))
                cells = (cells for _, cells in self._lines if not isinstance(cells, str))
                self.names = list(dict.fromkeys(chain.from_iterable(cells)))
            self.columns = self._columns()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, csv.Error) as error:
            raise DarkroomError(f"{self.path}: can't be read as {self._form}: {error}.") from error

    def sources(
        self, locator: Locator, multi_label: bool, refused: list[tuple[str, str]]
    ) -> list[Source]:
        """The files that the rows name; rows that can't be used are ``refused`` with their line."""
        files: list[Source] = []
        searched: list[str] = []
        with self._reading():
            for line, cells in self._rows():
                name = "" if isinstance(cells, str) else cells.get(self.columns.path, "").strip()
                try:
                    file, was_searched = self._source(cells, name, locator, multi_label)
                except NotUsable as reason:
                    named = "" if isinstance(cells, str) else f", {name or 'no path'}"
                    refused.append((f"line {line}{named}", str(reason)))
                    continue
                files.append(file)
                if was_searched:
                    searched.append(f"{name} in {file.name}")
        if searched:
            self.notes.append(
                f"{self.path.name} names {len(searched):,} files that were found by their names "
                f"alone, as {searched[0]}."
            )
        return files

    def _source(
        self, cells: Cells | str, name: str, locator: Locator, multi_label: bool
    ) -> tuple[Source, bool]:
        if isinstance(cells, str):
            raise NotUsable(cells)
        if not name:
            raise NotUsable("no path")
        label, split = text(self._label(cells, multi_label)), self._split(cells)
        found = locator.find(name)
        own = self.columns.own()
        others = tuple((k, v.strip()) for k, v in cells.items() if k not in own)
        relative = os.path.relpath(found.path, locator.root)
        return Source(found.path, relative, label, split, others), found.searched

    def _label(self, cells: Cells, multi_label: bool) -> str:
        if self.columns.numbers:
            texts = ((name, cells.get(name, "").strip()) for name in self.columns.numbers)
            return signatures.LABEL_SEPARATOR.join(_number(*pair) for pair in texts)
        labels = [cells.get(self.columns.label, "").strip()]
        if _plain(self.columns.label) == _BOXES:
            labels = _of_boxes(labels[0])
        if self.columns.classes:
            labels = [
                name for name in self.columns.classes if cells.get(name, "").strip().lower() in _ONE
            ]
        if multi_label:
            joined = signatures.LABEL_SEPARATOR.join(labels)
            return signatures.LABEL_SEPARATOR.join(features.split_labels(joined))
        if len(labels) > 1:
            raise NotUsable(f"{len(labels)} classes; --multi-label takes several")
        if not labels or not labels[0]:
            raise NotUsable("no label")
        return labels[0]

    def _split(self, cells: Cells) -> str | None:
        word = cells.get(self.columns.split, "").strip()
        if _plain(self.columns.split) == _IS_EVAL:
            return "eval" if word.lower() in _ONE else "train"
        split = split_of(word) if word else None
        if word and not split:
            raise NotUsable(f"split {word!r}, expected {', '.join(SPLITS)} or nothing")
        return split

    def _columns(self) -> Columns:
        """What the columns mean by their names, or where those say nothing by their values."""
        by_name = {_plain(name): name for name in reversed(self.names)}
        path, label = _first(_PATHS, by_name), _first(_LABELS, by_name)
        split = _first((*_SPLITS, _IS_EVAL), by_name)
        if not path:
            _, first = next(self._rows(), (0, ""))
            cells = {} if isinstance(first, str) else first
            path = next((name for name, cell in cells.items() if is_image(cell.strip())), "")
        if self._numbers:
            for name in self._numbers:
                if name not in self.names:
                    raise DarkroomError(
                        f"{self.path}: --number {name}: there is no such column, found "
                        f"{', '.join(self.names) or 'nothing'}.{closest(name, self.names)}"
                    )
            if path:
                return self._checked(Columns(path, "", split, (), self._numbers))
            label = self._numbers[0]
        if path and not label:
            others = [name for name in self.names if name not in (path, split)]
            classes, label = self._by_values(others)
            if classes:
                return self._checked(Columns(path, "", split, classes))
            if label:
                self.notes.append(f"{self.path.name}: the column {label} is taken for the label.")
        for needed, found in (("path", path), ("label", label)):
            if not found:
                raise DarkroomError(
                    f"{self.path}: a manifest needs the columns path and label, and may have "
                    f"split; {needed} is missing, found {', '.join(self.names) or 'nothing'}."
                    f"{closest(needed, self.names)}"
                )
        rivals = [by_name[n] for n in _LABELS if n in by_name and by_name[n] not in (label, path)]
        if rivals:
            self.notes.append(f"{self.path.name}: labels are in {label}, not in {rivals[0]}.")
        return self._checked(Columns(path, label, split))

    def _checked(self, columns: Columns) -> Columns:
        for taken in (name for name in self.names if name in features.OWN):
            raise DarkroomError(
                f"{self.path}: the column {taken} has the name of a feature that darkroom writes "
                "itself. Rename the column."
            )
        return columns

    def _by_values(self, others: list[str]) -> tuple[tuple[str, ...], str]:
        """Columns of 0 and 1, one for each class; or the one column that may be the label."""
        values: dict[str, Counter[str]] = {name: Counter() for name in others}
        for _, cells in self._rows():
            if not isinstance(cells, str):
                for name in others:
                    values[name][cells.get(name, "").strip().lower()] += 1
        binary = [n for n in others if values[n] and values[n].keys() <= {*_ONE, *_ZERO}]
        if len(binary) > 1:
            return tuple(binary), ""
        counts = values[others[0]] if len(others) == 1 else Counter[str]()
        repeat = counts.total() < _MANY or len(counts) <= counts.total() / 2
        return (), others[0] if counts and repeat else ""

    def _read_header(self, kind: str) -> None:
        with self._open() as file:
            header = file.readline()
            self._skipped = 0
            self._between = "\t" if kind != ".csv" else ""
            if mark := re.match("sep=(.)", header):  # Excel's
                self._between, self._skipped, header = mark[1], 1, file.readline()
            self._between = self._between or max(",;\t", key=header.count)
            names = next(csv.reader([header], delimiter=self._between), [])
        self.names = [name.strip() for name in names]
        if len(names) == 2 and is_image(self.names[0]):
            self.names, self._skipped = ["path", "label"], self._skipped - 1
            self.notes.append(f"{self.path.name} has no header: a path and a label in each line.")
        twice = [name for name, count in Counter(self.names).items() if name and count > 1]
        if twice:
            raise DarkroomError(f"{self.path}: two columns are named {twice[0]}. Rename one.")

    def _open(self) -> io.TextIOWrapper:
        with open(self.path, "rb") as file:
            wide = file.read(2) in (b"\xff\xfe", b"\xfe\xff")  # Excel's Unicode text
        return open(self.path, encoding="utf-16" if wide else "utf-8-sig", newline="")

    def _rows(self) -> Iterator[Line]:
        if self._lines is not None:
            yield from self._lines
            return
        with self._open() as file:
            for _ in range(self._skipped + 1):
                file.readline()
            rows = csv.reader(file, delimiter=self._between)
            for row in rows:
                if not row:
                    continue
                line = rows.line_num + self._skipped + 1
                if any(cell.strip() for cell in row[len(self.names) :]):
                    counts = f"{len(row)} fields where the header has {len(self.names)}"
                    yield line, f"{counts}; a text with {self._between!r} in it needs quotes"
                else:
                    yield line, {k: v for k, v in zip(self.names, row, strict=False) if k}


def _number(name: str, cell: str) -> str:
    if not is_number(cell):
        raise NotUsable(f"{name} is {cell[:40]!r}, expected a finite number")
    return cell


def _json_lines(path: Path) -> Iterator[Line]:
    with open(path, encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    document = json.loads(line)
                except ValueError as error:
                    document = str(error)
                if isinstance(document, dict):
                    yield number, {key: _cell(value) for key, value in document.items()}
                else:
                    yield number, "no JSON object"


def _parquet_lines(path: Path) -> Iterator[Line]:
    try:
        from pyarrow import parquet, types
    except ImportError as error:
        raise not_installed(f"{path}: Parquet files need pyarrow", error, "pipeline") from error
    with parquet.ParquetFile(path) as file:
        for column in file.schema_arrow:
            if types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0:
                raise DarkroomError(
                    f"{path}: the column {column.name} holds the images themselves. Write them as "
                    "files, in a folder for each class."
                )
        number = 0
        for batch in file.iter_batches():
            for row in batch.to_pylist():
                number += 1
                yield number, {key: _cell(value) for key, value in row.items()}


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return signatures.LABEL_SEPARATOR.join(map(_cell, value))
    return json.dumps(value) if isinstance(value, dict) else str(value)


def _of_boxes(cell: str) -> list[str]:
    """The classes of boxes."""
    if not re.fullmatch(r"(\S+( [-\d.]+){4}( |$))*", cell):
        raise NotUsable(f"{cell[:40]!r} isn't a class and four numbers of each box")
    return sorted(set(cell.split()[::5]))


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).lower()


def _first(wanted: Iterable[str], by_name: dict[str, str]) -> str:
    return next((by_name[name] for name in wanted if name in by_name), "")
