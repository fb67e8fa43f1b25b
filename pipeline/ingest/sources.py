"""Where labelled images are: a folder in one of many layouts, or a table that lists them."""

import importlib.util
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from pathlib import Path

from darkroom.components.base import features
from darkroom.components.base.errors import DarkroomError
from darkroom.pipeline.ingest import archives, folders, tables
from darkroom.pipeline.ingest.listing import Listing, Source, plural, some, split_of
from darkroom.pipeline.ingest.locator import Locator
from darkroom.serving import signatures
from darkroom.serving.image_files import HEIF_SUFFIXES

_INSTALL_HEIF = "pip install 'darkroom-tfx[heif]'"


def no_classes() -> Collection[str]:
    """The classes of before, where there is no before."""
    return ()


def list_images(
    source: Path,
    multi_label: bool = False,
    root: Path | None = None,
    known: Callable[[], Collection[str]] = no_classes,
    numbers: Collection[str] = (),
) -> Listing:
    """The images of a folder, or of a table; with ``multi_label``, of labels such as ``a|b``.

    A table's paths are relative to its folder, or to ``root``, and may not leave ``root`` (by
    default the table's folder). ``known`` gives the classes that there were before; ``numbers``
    are columns of a table that stand for the label, as numbers joined by |. Raises a DarkroomError
    where nothing is there, the labels aren't known or can't be right.
    """
    if not source.exists():
        raise DarkroomError(
            f"{source}: doesn't exist. Expected a folder, or a CSV manifest, or an archive."
        )
    if source.is_dir():
        if root:
            raise DarkroomError(f"{source}: --root is for the paths of a table, not for a folder.")
        if numbers:
            raise DarkroomError(f"{source}: --number is a column of a table, not of a folder.")
        listing = folders.read(source, multi_label)
    elif source.name.lower().endswith(tables.SUFFIXES):
        listing = _table(source, multi_label, root, numbers)
    else:
        suffixes = ", ".join((*tables.SUFFIXES, *archives.SUFFIXES[:3]))
        expected = f"a folder, or a manifest whose name ends with .csv ({suffixes} are read too)"
        raise DarkroomError(f"{source}: expected {expected}.")
    listing.files = _once(listing, multi_label)
    if not listing.files:
        first = some([f"{name}: {reason}" for name, reason in listing.refused])
        raise DarkroomError(f"{source}: none of its images can be used. {first}.")
    if numbers:
        _check_numbers(source, listing, numbers)
    else:
        _check_classes(source, listing, multi_label, known)
    _check_heif(source, listing)
    return listing


def _table(source: Path, multi_label: bool, root: Path | None, numbers: Collection[str]) -> Listing:
    table = tables.Table(source, numbers)
    listing = Listing(f"the labels in {source.name}", notes=table.notes)
    base = os.path.realpath(source.parent)
    locator = Locator(os.path.realpath(root) if root else base, base)
    listing.numbers = len(numbers)
    listing.files = table.sources(locator, multi_label, listing.refused)
    if not listing.files and not listing.refused:
        raise DarkroomError(f"{source}: the manifest lists no images.")
    return listing


def _once(listing: Listing, multi_label: bool) -> list[Source]:
    """Each image once: one that is listed with several labels has all of them, or is refused."""
    labels: dict[str, set[str]] = defaultdict(set)
    for file in listing.files:
        labels[file.path].add(file.label)
    repeated = len(listing.files) - len(labels)
    if not repeated:
        return listing.files
    listing.notes.append(f"{repeated:,} further rows are about images that were listed before.")
    files: list[Source] = []
    for file in {file.path: file for file in reversed(listing.files)}.values():
        several = sorted(labels[file.path])
        if len(several) > 1 and not multi_label:
            reason = "listed with several classes; --multi-label takes them"
            if listing.numbers:
                reason = "listed with several numbers"
            listing.refused.append((f"{file.name}, {some(several)}", reason))
        else:
            joined = signatures.LABEL_SEPARATOR.join(several)
            label = signatures.LABEL_SEPARATOR.join(features.split_labels(joined))
            files.append(file._replace(label=label if multi_label else file.label))
    return files[::-1]


def _check_numbers(source: Path, listing: Listing, names: Collection[str]) -> None:
    rows = [file.label.split(signatures.LABEL_SEPARATOR) for file in listing.files]
    for name, column in zip(names, zip(*rows, strict=True), strict=True):
        if len(rows) > 1 and len(set(map(float, column))) == 1:
            raise DarkroomError(
                f"{source}: {name} is {column[0]} of all {len(rows):,} images: there is nothing to "
                "learn. Expected a column of different numbers."
            )


def _check_classes(
    source: Path, listing: Listing, multi_label: bool, known: Callable[[], Collection[str]]
) -> None:
    classes = listing.classes(multi_label)
    spellings: dict[str, list[str]] = defaultdict(list)
    for label, _ in classes.most_common():
        spellings["".join(label.split()).casefold()].append(label)
    for first, *others in spellings.values():
        if others:
            counted = ", ".join(f"{label!r} ({classes[label]:,})" for label in (first, *others))
            raise DarkroomError(
                f"{source}: the labels {counted} differ in case or spaces only. Write all of them "
                f"as {first!r}."
            )
    if multi_label:
        return
    if all(map(split_of, classes)):
        raise DarkroomError(
            f"{source}: the classes {some(sorted(classes))} have the names of splits, by "
            f"{listing.layout}. Expected folders or labels that say what is in the images."
        )
    if len(classes) == 1 and len({*classes, *known()}) == 1:
        (label,) = classes
        raise DarkroomError(
            f"{source}: {plural(classes[label], 'image')} by {listing.layout}, all of one class, "
            f"{label!r}. Expected at least two classes: a folder for each, or a table with path "
            "and label."
        )


def _check_heif(source: Path, listing: Listing) -> None:
    """Refuses files of which the library is missing."""
    suffixes = (os.path.splitext(file.path)[1].lower() for file in listing.files)
    counts = Counter(suffix for suffix in suffixes if suffix in HEIF_SUFFIXES)
    missing = {suffix for suffix in counts if not _can_read(suffix)}
    if not missing:
        return
    usable = [file for file in listing.files if not file.path.lower().endswith(tuple(missing))]
    counted = ", ".join(f"{counts[suffix]:,} {suffix}" for suffix in sorted(missing))
    if not usable:
        raise DarkroomError(
            f"{source}: all of its images are HEIC or AVIF ({counted}), which need another "
            f"library: {_INSTALL_HEIF}."
        )
    unusable = set(listing.files) - set(usable)
    listing.refused += [(f.name, f"HEIC or AVIF needs {_INSTALL_HEIF}") for f in sorted(unusable)]
    listing.files = usable


def _can_read(suffix: str) -> bool:
    if suffix != ".avif":
        return importlib.util.find_spec("pi_heif") is not None
    from PIL import features as pillow

    if "avif" in pillow.modules and pillow.check("avif"):
        return True
    return importlib.util.find_spec("pillow_avif") is not None
