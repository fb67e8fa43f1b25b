"""Where labelled image files are: a folder per class, or a CSV manifest."""

import csv
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from darkroom.components.base import features
from darkroom.components.base.errors import DarkroomError, closest
from darkroom.serving import signatures
from darkroom.serving.image_files import SUFFIXES

# Splits by what people call their folders, which are no classes.
_SPLIT_FOLDERS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("eval", "val", "valid", "validation", "dev"), "eval"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_COLUMNS = ("path", "label", "split")
SPLITS = ("train", "eval", "test")
Row = dict[str, str | None]


class Source(NamedTuple):
    """A file that should be an image."""

    path: str  # absolute
    name: str  # relative to the source's root, for people and for the index
    label: str  # of several, as in a|b: sorted
    split: str | None  # where the source says it
    columns: tuple[tuple[str, str], ...] = ()  # of a manifest, beside these


class Listing(NamedTuple):
    """All that a source has."""

    files: list[Source]
    refused: list[tuple[str, str]]  # name and reason
    ignored: Counter[str]  # files that are no images, by their suffix


def list_images(source: Path, multi_label: bool = False) -> Listing:
    """The images of a folder, or of a manifest with labels such as ``a|b``.

    Raises a DarkroomError where nothing is there, or a manifest lacks columns.
    """
    if not source.exists():
        raise DarkroomError(f"{source}: doesn't exist. Expected a folder, or a CSV manifest.")
    if source.is_dir() and multi_label:
        raise DarkroomError(
            f"{source}: a folder has one class for each image. For several labels give a CSV "
            "manifest with the columns path and label, where a label is such as a|b."
        )
    if not source.is_dir() and source.suffix.lower() != ".csv":
        expected = "a folder, or a manifest whose name ends with .csv"
        raise DarkroomError(f"{source}: expected {expected}.")
    return _folder(source) if source.is_dir() else _manifest(source, multi_label)


def _folder(root: Path) -> Listing:
    children = _subfolders(root)
    splits = {child: _SPLIT_FOLDERS.get(child.name.lower()) for child in children}
    classes: list[tuple[Path, str | None]] = [(folder, None) for folder in children]
    if children and all(splits.values()) and any(map(_subfolders, children)):
        classes = [(folder, splits[child]) for child in children for folder in _subfolders(child)]
    listing = Listing([], [], Counter())
    for folder, split in classes:
        for path in _walk(folder, listing.refused, root):
            suffix = os.path.splitext(path)[1].lower()
            if suffix in SUFFIXES:
                name = os.path.relpath(path, root)
                listing.files.append(Source(path, name, text(folder.name), split))
            else:
                listing.ignored[suffix or "no suffix"] += 1
    loose = sum(path.suffix.lower() in SUFFIXES for path in root.iterdir())
    if loose and not children:
        raise DarkroomError(
            f"{root}: {loose:,} images are in the folder itself, so that their classes are not "
            "known. Move them into a folder for each class, or write a CSV manifest with the "
            "columns path and label."
        )
    if not listing.files and not listing.refused:
        raise DarkroomError(
            f"{root}: no images found. Expected a folder for each class, with "
            f"{', '.join(sorted(SUFFIXES)[:4])}… files in it, or split folders such as TRAIN and "
            "TEST with a folder for each class."
        )
    return listing


def holds_images(folder: Path) -> bool:
    """Whether any file below a folder is named as an image is."""
    return any(os.path.splitext(path)[1].lower() in SUFFIXES for path in _walk(folder, [], folder))


def _subfolders(folder: Path) -> list[Path]:
    try:
        return sorted(p for p in folder.iterdir() if p.is_dir() and p.name[0] != ".")
    except OSError as error:
        raise DarkroomError(f"{folder}: can't be read: {error.strerror}.") from error


def _walk(folder: Path, refused: list[tuple[str, str]], root: Path) -> Iterator[str]:
    """All files below, links followed but never in circles; hidden files are left out."""

    def failed(error: OSError) -> None:
        refused.append((os.path.relpath(error.filename, root), f"{error.strerror}"))

    seen = {_identity(folder)}
    for parent, folders, files in os.walk(folder, followlinks=True, onerror=failed):
        visible = sorted((name for name in folders if name[0] != "."), reverse=True)
        inside = {_identity(os.path.join(parent, name)): name for name in visible}
        folders[:] = sorted(name for identity, name in inside.items() if identity not in seen)
        seen |= inside.keys()
        yield from (os.path.join(parent, name) for name in sorted(files) if name[0] != ".")


def _identity(path: str | Path) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _manifest(path: Path, multi_label: bool) -> Listing:
    root = path.parent.resolve()
    listing = Listing([], [], Counter())
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            for needed in (name for name in _COLUMNS[:2] if name not in columns):
                raise DarkroomError(
                    f"{path}: a manifest needs the columns path and label, and may have split; "
                    f"{needed} is missing, found {', '.join(columns) or 'nothing'}."
                    f"{closest(needed, list(columns))}"
                )
            for taken in (name for name in columns if name in features.OWN):
                raise DarkroomError(
                    f"{path}: the column {taken} has the name of a feature that darkroom writes "
                    "itself. Rename the column."
                )
            for row in reader:
                _add_row(listing, root, row, reader.line_num, multi_label)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DarkroomError(f"{path}: can't be read as CSV in UTF-8: {error}.") from error
    if not listing.files and not listing.refused:
        raise DarkroomError(f"{path}: the manifest lists no images.")
    return listing


def _add_row(listing: Listing, root: Path, row: Row, line: int, multi_label: bool) -> None:
    name, label, split = ((row.get(column) or "").strip() for column in _COLUMNS)
    if multi_label:
        label = signatures.LABEL_SEPARATOR.join(features.split_labels(label))
    where = f"line {line}, {name or 'no path'}"
    path = os.path.normpath(os.path.join(root, name))
    if not name or not (label or multi_label):
        listing.refused.append((where, "no path" if not name else "no label"))
    elif not Path(os.path.realpath(path)).is_relative_to(root):
        listing.refused.append((where, f"outside {root}, the manifest's folder"))
    elif split and split.lower() not in _SPLIT_FOLDERS:
        listing.refused.append((where, f"split {split!r}, expected {', '.join(SPLITS)} or nothing"))
    else:
        own = _SPLIT_FOLDERS[split.lower()] if split else None
        others = ((k, (v or "").strip()) for k, v in row.items() if k and k not in _COLUMNS)
        name = os.path.relpath(path, root)
        listing.files.append(Source(path, name, text(label), own, tuple(others)))


def text(name: str) -> str:
    """A name as text that every machine spells the same way, accents composed."""
    return unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "replace"))
