"""Folders of images as people lay them out: which folder is a split, a class, neither.

Names decide, nothing is opened but tables and annotations. What is in a folder of a class has that
class; what is in none has what a table, annotations or the names of the files say.
"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from darkroom.components.base.errors import DarkroomError
from darkroom.pipeline.ingest import annotations, archives, lists, tables, tree
from darkroom.pipeline.ingest.listing import (
    Listing,
    Source,
    plural,
    some,
    split_of,
    split_within,
    text,
    words,
)
from darkroom.pipeline.ingest.locator import Locator
from darkroom.pipeline.ingest.tree import Folder
from darkroom.serving import signatures
from darkroom.serving.image_files import SUFFIXES

# Never a class: what systems leave behind, and images that nobody has labelled.
_NO_CLASSES = frozenset(words("__macosx @eadir $recycle.bin lost+found unlabeled unlabelled"))
# Where all the images of a set are, whatever their class; and what is beside them of no class.
_CONTAINERS = frozenset(words("images image imgs img jpegimages jpg jpeg png photos pictures"))
_BESIDE_IMAGES = frozenset(
    words(
        "annotations annotation labels label masks mask segmentationclass segmentationobject "
        "groundtruth ground_truth gt trimaps xmls bboxes imagesets meta metadata"
    )
)
# fold_1, part-2, HAM10000_images_part_1, images_001: pieces of a set.
_PIECE = re.compile(r"(^|.*[\W_])(fold|part|batch|chunk|shard|images)[\W_]*\d+$", re.IGNORECASE)
# cat.1.jpg, Abyssinian_12.jpg, dog (3).jpg
_NUMBERED = re.compile(r"(?P<label>.*[^\W\d_].*?)[\s._\-]*[._\-\s(]\(?\d+\)?$")
# Numbers that cameras and programs give, which say nothing of what is seen.
_NOT_SEEN = frozenset(
    words(
        "img image images dsc dscn dscf dcim pxl mvimg p pic picture photo frame file scan "
        "screenshot wa vid gopr sample example train test val untitled"
    )
)
_IMAGENET_VAL = "ILSVRC2012_val_"


class _Part(NamedTuple):
    """Images of one class, or without any."""

    folder: Folder
    label: str | None
    split: str | None

    def images(self) -> Iterator[str]:
        if self.label is not None:
            return self.folder.all_images()
        return (os.path.join(self.folder.path, name) for name in self.folder.images)


def read(root: Path, multi_label: bool) -> Listing:
    """The labelled images of a folder.

    Raises a DarkroomError where no image's class is known, or it is not known what is a split.
    """
    listing = Listing()
    folder = tree.read(root, listing.refused)
    if not folder.total:
        if listing.refused:
            raise DarkroomError(f"{root}: {listing.refused[0][0]}: {listing.refused[0][1]}.")
        raise DarkroomError(_nothing(root, folder))
    layout = _Layout(folder, listing.notes)
    parts = list(layout.divide(folder, None))
    classed = [part for part in parts if part.label is not None]
    loose = {path: part.split for part in parts if part.label is None for path in part.images()}
    for part in classed:
        listing.files += _sources(part, folder.path)
    _count_ignored(listing, folder)
    labels = _Labels(folder, loose, classed, listing, multi_label)
    labels.find()
    if multi_label and any(map(labels.is_classed, listing.files)):
        raise DarkroomError(
            f"{root}: a folder has one class for each image. For several labels give a CSV "
            "manifest with the columns path and label, where a label is such as a|b."
        )
    if not listing.files and not listing.refused:
        _take_only_class(listing, labels, folder)
    if not listing.files:
        reasons = [*labels.reasons, *listing.notes]
        raise DarkroomError(_unknown(root, folder, reasons, labels.loose))
    for place, count in sorted(Counter(map(os.path.dirname, labels.loose)).items()):
        images = plural(count, "image")
        where = "the folder itself" if place == folder.path else os.path.relpath(place, folder.path)
        listing.notes.append(f"{images} in {where} without a class left out.")
    if labels.loose:
        listing.notes += labels.reasons
    if any(os.path.basename(path).startswith(_IMAGENET_VAL) for path in labels.loose):
        listing.notes.append(
            f"The classes of {_IMAGENET_VAL}… stand in ImageNet's LOC_val_solution.csv, or in its "
            "Annotations/CLS-LOC/val, which aren't here; the devkit's numbers of classes aren't "
            "read."
        )
    return listing


def _take_only_class(listing: Listing, labels: "_Labels", root: Folder) -> None:
    """All images are in one folder, which is their class where nothing says otherwise."""
    places = {os.path.dirname(path) for path in labels.loose}
    place = next(iter(places), root.path)
    name = os.path.basename(place)
    if len(places) == 1 and place != root.path and not _is_no_class(name):
        listing.layout = "a folder for each class"
        for path, split in labels.loose.items():
            relative = os.path.relpath(path, root.path)
            listing.files.append(Source(path, relative, text(name), split))
        labels.loose = {}


def _is_no_class(name: str) -> bool:
    return name.lower() in _CONTAINERS | _NO_CLASSES or split_of(name) is not None


class _Layout:
    """What folders are by their names and what is in them."""

    def __init__(self, root: Folder, notes: list[str]):
        self._root = root
        self._notes = notes

    def divide(self, folder: Folder, split: str | None) -> Iterator[_Part]:
        """The classes of a folder that is the whole set, or a split of it."""
        for outer in self._chain(folder, split):
            folder, children = outer, self._children(outer, tell=True)
            yield _Part(outer, None, split)
        splits = {} if split else self._splits(folder, children)
        if splits:
            for child in children:
                if child.path in splits:
                    yield from self.divide(child, splits[child.path])
                else:
                    self._aside(child, "neither a split nor in one")
        elif not split and self._have_splits(folder, children):
            for child in children:  # class/train, class/test
                yield _Part(child, None, None)
                for part in self._children(child, tell=True):
                    if own := split_of(part.name):
                        yield _Part(part, child.name, own)
                    else:
                        self._aside(part, "neither a split nor in one")
        elif len(children) > 1 and all(_PIECE.match(child.name) for child in children):
            names = some([child.name for child in children])
            self._notes.append(f"Taken for pieces of one set, not for classes: {names}.")
            for child in children:
                yield from self.divide(child, split)
        else:
            self._check_versions(folder, children)
            for child in children:
                yield _Part(child, child.name, split)
            deep = [c for c in children if any(f.total for f in c.folders)]
            if deep:
                inner = next(f.name for f in deep[0].folders if f.total)
                names = some([child.name for child in deep])
                self._notes.append(
                    f"Folders inside a class belong to it, as {inner} to {deep[0].name}: {names}."
                )

    def _inner(self, folder: Folder) -> Folder:
        return self._chain(folder, None)[-1]

    def _chain(self, folder: Folder, split: str | None) -> list[Folder]:
        """Wrappers, which have nothing but one folder that is no class, and what is in the last."""
        chain = [folder]
        while len(children := self._children(folder)) == 1:
            child = children[0]
            is_leaf = not _classes(child)
            is_container = child.name.lower() in _CONTAINERS or child.name == folder.name
            if not split and split_of(child.name):
                break
            if is_leaf and (folder.images or (split and not is_container)):
                break
            folder = child
            chain.append(folder)
        return chain

    def _children(self, folder: Folder, tell: bool = False) -> list[Folder]:
        """Folders that may be splits or classes."""
        with_images = [below for below in folder.folders if below.total]
        is_beside = any(below.name.lower() in _CONTAINERS for below in with_images)
        no_classes = _NO_CLASSES | _BESIDE_IMAGES if is_beside else _NO_CLASSES
        children = [below for below in with_images if below.name.lower() not in no_classes]
        copies = _copies(children)
        if tell:
            for child in with_images:
                if child.name.lower() in no_classes:
                    self._aside(child, "no class")
            for child in copies:
                self._aside(child, "a copy of what is beside it")
            empty = [
                os.path.relpath(f.path, self._root.path) for f in folder.folders if not f.total
            ]
            if empty:
                self._notes.append(f"No images in {some(empty)}.")
        return [child for child in children if child not in copies]

    def _splits(self, folder: Folder, children: list[Folder]) -> dict[str, str]:
        """The splits among folders by their path, none where they are classes."""
        splits = {f.path: split for f in children if (split := split_of(f.name))}
        alike: dict[tuple[str, ...], dict[str, str]] = defaultdict(dict)
        for child in children:
            if within := split_within(child.name):
                alike[within[1]][child.path] = within[0]
        for group in alike.values():  # cars_train, cars_test
            if len(set(group.values())) > 1:
                splits |= group
        others = [child for child in children if child.path not in splits]
        if not others or len(set(splits.values())) > 1:
            return splits
        own = [child for child in children if child.path in splits]
        is_train = "train" in splits.values() and len(_classes(own[0])) > 1
        if is_train and not any(map(_classes, others)):
            return splits
        like = [child for child in others if own and _is_alike(child, own[0])]
        if like:
            names = some([child.name for child in [own[0], *like]])
            raise DarkroomError(
                f"{folder.path}: {names} have the same folders in them, as splits have, and not "
                f"all are named train, eval or test. Rename them, or move away what is none."
            )
        return {}

    def _have_splits(self, folder: Folder, children: list[Folder]) -> bool:
        """Whether each class has splits in it; raises a DarkroomError where some folders have."""
        inner = [self._children(self._inner(child)) for child in children]
        splits = [[f for f in below if split_of(f.name)] for below in inner]
        divided = [c for c, own in zip(children, splits, strict=True) if _differ(own)]
        if not divided:
            return False
        direct = all(any(split_of(f.name) for f in self._children(c)) for c in children)
        firsts = [own[0] for own in splits if own]
        if direct and len(firsts) == len(children) and not _is_alike(firsts[0], firsts[-1]):
            return True
        names = some([child.name for child in children])
        raise DarkroomError(
            f"{folder.path}: {divided[0].name} has splits in it, as a whole set has, and is one of "
            f"{len(children)} folders ({names}). Ingest one of them."
        )

    def _check_versions(self, folder: Folder, children: list[Folder]) -> None:
        """Raises a DarkroomError where folders hold the same images, as in colour and in grey."""
        first, *others = [self._inner(child) for child in children] or [folder]
        for other in others:
            if _is_alike(first, other):
                stems = _stems(first)
                if 2 * len(stems & _stems(other)) >= len(stems):
                    names = some([child.name for child in children])
                    raise DarkroomError(
                        f"{folder.path}: {names} have the same folders in them, with the same "
                        "images by their names, so that they are no classes. Ingest one of them."
                    )

    def _aside(self, folder: Folder, why: str) -> None:
        where = os.path.relpath(folder.path, self._root.path)
        self._notes.append(f"{where} is {why}: {plural(folder.total, 'image')} left out.")


def _differ(folders: list[Folder]) -> bool:
    """Whether folders are different splits."""
    return len({split_of(folder.name) for folder in folders}) > 1


def _copies(children: list[Folder]) -> list[Folder]:
    """Folders in which everything is that is beside them, as archives are unpacked by accident."""
    copies: list[Folder] = []
    names = {child.name for child in children}
    for child in children:
        inner = child
        while len(below := [f for f in inner.folders if f.total]) == 1 and not inner.images:
            inner = below[0]
        others = (f for f in children if f is not child)
        if 1 < len(below) == len(names) - 1 and _classes(inner) == names - {child.name}:
            beside = {name for f in others for name in _names(f, os.path.dirname(f.path))}
            if beside.issuperset(_names(inner, inner.path)):
                copies.append(child)
        elif inner is not child and any(_repeats(inner, other) for other in others):
            copies.append(child)
    return copies


def _repeats(inner: Folder, other: Folder) -> bool:
    if inner.name != other.name or inner.total != other.total:
        return False
    return set(_names(inner, inner.path)) == set(_names(other, other.path))


def _names(folder: Folder, start: str) -> Iterator[str]:
    return (path[len(start) :] for path in folder.all_images())


def _stems(folder: Folder) -> set[str]:
    return {os.path.splitext(name)[0] for name in _names(folder, folder.path)}


def _classes(folder: Folder) -> set[str]:
    return {below.name for below in folder.folders if below.total}


def _is_alike(one: Folder, other: Folder) -> bool:
    shared = _classes(one) & _classes(other)
    return len(shared) > 1 and 2 * len(shared) >= len(_classes(one) | _classes(other))


class _Labels:
    """Labels of images that are in no folder of a class."""

    def __init__(
        self,
        root: Folder,
        loose: dict[str, str | None],
        classed: list[_Part],
        listing: Listing,
        multi_label: bool,
    ):
        self.loose = loose  # path → split, of those that have no label yet
        self.reasons: list[str] = []  # why what was looked at has no labels
        self._root = root
        self._classed = {part.folder.path for part in classed}
        self._listing = listing
        self._multi_label = multi_label
        self._of_folders = {file.path for file in listing.files}

    def find(self) -> None:
        """Takes the labels that there are, and says where they come from."""
        splits = {f.path: f.split for f in self._listing.files} | self.loose
        listed = self._from_tables(splits)
        said = ["a folder for each class"] * any(map(self.is_classed, self._listing.files))
        said += [f"the labels in {listed}"] * bool(listed)
        if self.loose and (listed := self._from_lists()):
            said.append(f"the labels in {listed}")
        if self.loose:
            found = annotations.read(self._root, list(self.loose))
            named = {} if self._multi_label or self._listing.files else self._named()
            if found and len(found.classes) >= len(named) and self._from_annotations(found):
                said.append(f"{found.form} annotations")
            elif named:
                self._from_names(named)
                said.append("the beginnings of the files' names")
        self._listing.layout = " and ".join(said)
        self._split_by_lists()

    def is_classed(self, file: Source) -> bool:
        """Whether a file has the class of its folder."""
        return file.path in self._of_folders

    def _from_tables(self, splits: dict[str, str | None]) -> str:
        """Takes the labels of tables, unless folders say the same; gives the tables' names."""
        folders = {file.path: file.label for file in self._listing.files}
        used: list[str] = []
        found: list[Source] = []
        for path in self._outside_classes(*tables.SUFFIXES):
            name = os.path.relpath(path, self._root.path)
            try:
                table = tables.Table(Path(path))
            except DarkroomError as error:
                self.reasons.append(str(error))
                continue
            split = next((s for part in Path(name).parts[::-1] if (s := _split(part))), "")
            locator = Locator(self._root.path, os.path.dirname(path), self._root, split)
            refused: list[tuple[str, str]] = []
            listed = table.sources(locator, self._multi_label, refused)
            rows = [row for row in listed if row.path in splits]
            if not rows:
                first = "".join(f" ({where}: {why})" for where, why in refused[:1])
                self.reasons.append(f"{name} names none of the images{first}.")
                continue
            same = [row for row in rows if row.path in folders]
            pairs = {(folders[row.path], row.label) for row in same}
            agree = len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
            if same and not self._multi_label and (agree or len(rows) < len(folders)):
                why = "says what the folders say" if agree else "says otherwise than the folders"
                self._listing.notes.append(f"{name} {why}: the folders' names are the classes.")
                rows = [row for row in rows if row.path not in folders]
            elif same and not self._multi_label:
                self._listing.notes.append(f"{name} says otherwise than the folders, and is right.")
            if not rows:
                continue
            used.append(name)
            self._listing.notes += table.notes
            if missing := len(listed) - len(rows):
                self._listing.notes.append(f"{name} has {plural(missing, 'row')} of no image here.")
            self._listing.refused += [(f"{name}, {where}", why) for where, why in refused]
            found += [row._replace(split=row.split or splits[row.path]) for row in rows]
        labelled = {file.path for file in found}
        if not labelled.isdisjoint(folders):  # then folders are no classes
            self.loose |= {path: splits[path] for path in folders}
            self._of_folders.clear()
            self._listing.files.clear()
        self._listing.files += found
        self.loose = {path: split for path, split in self.loose.items() if path not in labelled}
        return some(used)

    def _from_lists(self) -> str:
        """Takes the labels of text files that name classes of folders; gives the files' names."""
        known = {file.label for file in self._listing.files}
        found = lists.classes(self._root, self._outside_classes(lists.SUFFIX), known)
        used: set[str] = set()
        for path in sorted(found.keys() & self.loose.keys()):
            label, listed = found[path]
            name = os.path.relpath(path, self._root.path)
            self._listing.files.append(Source(path, name, label, self.loose.pop(path)))
            used.add(listed)
        return some(sorted(used))

    def _split_by_lists(self) -> None:
        """Takes the splits of lists such as train.txt for images in no folder of a split."""
        free = {file.path for file in self._listing.files if file.split is None}
        if free:
            paths = self._outside_classes(lists.SUFFIX)
            splits = lists.splits(self._root, paths, free, self._listing.notes)
            self._listing.files = [
                file._replace(split=file.split or splits.get(file.path))
                for file in self._listing.files
            ]

    def _outside_classes(self, *suffixes: str) -> Iterator[str]:
        """Files that may list the images; those inside of classes don't."""

        def below(folder: Folder) -> Iterator[str]:
            if folder.path not in self._classed:
                for name in folder.others:
                    if name.lower().endswith(suffixes) and "submission" not in name.lower():
                        yield os.path.join(folder.path, name)
                for child in folder.folders:
                    yield from below(child)

        return below(self._root)

    def _from_annotations(self, found: annotations.Annotations) -> bool:
        refused: list[tuple[str, str]] = []
        files: list[Source] = []
        places = set(map(os.path.dirname, found.classes))
        annotated = {p: split for p, split in self.loose.items() if os.path.dirname(p) in places}
        for path, split in annotated.items():
            name = os.path.relpath(path, self._root.path)
            labels = sorted(found.classes.get(path, ()))
            if path not in found.classes:
                refused.append((name, f"not in the {found.form} annotations"))
            elif not labels and not self._multi_label:
                refused.append((name, "no object in its annotation"))
            elif len(labels) > 1 and not self._multi_label:
                refused.append((name, "objects of several classes; --multi-label takes them"))
            else:
                label = signatures.LABEL_SEPARATOR.join(map(text, labels))
                files.append(Source(path, name, label, found.splits.get(path, split)))
        if not files:
            reasons = Counter(reason for _, reason in refused)
            counted = some([f"{count:,} {reason}" for reason, count in reasons.items()])
            self.reasons.append(f"By {found.form} annotations: {counted}.")
            return False
        self._listing.files += files
        self._listing.refused += refused
        self.loose = {path: s for path, s in self.loose.items() if path not in annotated}
        return True

    def _named(self) -> dict[str, str]:
        """The beginnings of the files' names in folders where all have one, and they repeat."""
        of_folder: dict[str, list[str]] = defaultdict(list)
        for path in self.loose:
            of_folder[os.path.dirname(path)].append(path)
        named: dict[str, str] = {}
        for paths in of_folder.values():
            stems = [os.path.splitext(os.path.basename(path))[0] for path in paths]
            labels = [match["label"] if (match := _NUMBERED.match(s)) else "" for s in stems]
            counts = Counter(labels)
            seen = all(counts) and not any(label.lower() in _NOT_SEEN for label in counts)
            if seen and len(counts) > 1 and 2 * len(counts) <= len(labels):
                named |= zip(paths, labels, strict=True)
        return named

    def _from_names(self, named: dict[str, str]) -> None:
        first, label = next(iter(named.items()))
        self._listing.notes.append(
            f"Classes are the beginnings of the files' names, as {label} of "
            f"{os.path.basename(first)}."
        )
        for path, label in named.items():
            name = os.path.relpath(path, self._root.path)
            self._listing.files.append(Source(path, name, text(label), self.loose.pop(path)))


def _split(name: str) -> str | None:
    within = split_within(os.path.splitext(name)[0])
    return within[0] if within else None


def _sources(part: _Part, root: str) -> Iterator[Source]:
    label = text(part.label or "")
    start = len(root.rstrip("/")) + 1
    return (Source(path, path[start:], label, part.split) for path in part.images())


def _count_ignored(listing: Listing, folder: Folder) -> None:
    names = (name for below in folder.walk() for name in below.others)
    listing.ignored.update(os.path.splitext(name)[1].lower() or "no suffix" for name in names)


def _nothing(root: Path, folder: Folder) -> str:
    listing = Listing()
    _count_ignored(listing, folder)
    counted = [f"{count:,} {suffix}" for suffix, count in listing.ignored.most_common()]
    there = f" (there are {some(counted)})" if counted else ""
    if ".tfrecord" in listing.ignored:
        there += "; TFRecords are read in place: set data.path to the folder"
    if any(name.lower().endswith(archives.SUFFIXES) for name in folder.others):
        there += "; an archive is read where it is the source itself"
    return (
        f"{root}: no images found{there}. Expected a folder for each class, with "
        f"{', '.join(sorted(SUFFIXES)[:4])}… files in it, or split folders such as TRAIN and "
        "TEST with a folder for each class."
    )


def _unknown(root: Path, folder: Folder, reasons: list[str], loose: Collection[str]) -> str:
    places = Counter(os.path.relpath(os.path.dirname(path), folder.path) for path in loose)
    named = some([f"{count:,} in {place}" for place, count in sorted(places.items())])
    where = "the folder itself" if set(places) == {"."} else f"no folder of a class ({named})"
    if not loose:
        where = "folders that are no classes"
    said = "".join(f" {reason}" for reason in reasons[:3])
    images = plural(len(loose) or folder.total, "image")
    return (
        f"{root}: {images} are in {where}, so that their classes are "
        "not known. Move them into a folder for each class, or write a CSV manifest with the "
        f"columns path and label.{said}"
    )
