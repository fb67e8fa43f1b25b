"""Annotations of objects (COCO, Pascal VOC, YOLO), as far as they are the classes of an image."""

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import yaml

from darkroom.components.base.errors import DarkroomError
from darkroom.pipeline.ingest import tree
from darkroom.pipeline.ingest.listing import split_of
from darkroom.pipeline.ingest.locator import Locator, NotUsable

_IMAGES, _LABELS = "images", "labels"  # YOLO's folders, alike but for these
_NAMES = ("classes.txt", "obj.names", "_darknet.labels", "predefined_classes.txt")


class Annotations(NamedTuple):
    """The classes in each image, by path; a split, where lists say it."""

    form: str  # COCO, Pascal VOC, YOLO
    classes: dict[str, set[str]]
    splits: dict[str, str]


def read(root: tree.Folder, images: Sequence[str]) -> Annotations | None:
    """The annotations of images, by their paths; None where there are none."""
    try:
        for reader in (_coco, _voc, _yolo):
            if found := reader(root, images):
                return found
    except (OSError, UnicodeDecodeError) as error:
        raise DarkroomError(f"{root.path}: annotations can't be read: {error}.") from error
    return None


def _coco(root: tree.Folder, images: Sequence[str]) -> Annotations | None:
    classes: dict[str, set[str]] = {}
    wanted = set(images)
    for path in _files(root, ".json"):
        try:
            document = json.loads(Path(path).read_bytes())
        except ValueError:
            continue
        if not isinstance(document, dict) or not {"images", "categories"} <= document.keys():
            continue
        try:
            names = {category["id"]: str(category["name"]) for category in document["categories"]}
            of_image = defaultdict(set)
            for annotation in document.get("annotations", []):
                of_image[annotation["image_id"]].add(names[annotation["category_id"]])
            listed = {
                str(image["file_name"]): of_image[image["id"]] for image in document["images"]
            }
        except (KeyError, TypeError) as error:
            raise DarkroomError(f"{path}: isn't COCO's form, by {error}.") from error
        split = split_of(os.path.basename(os.path.dirname(path))) or ""
        locator = Locator(root.path, os.path.dirname(path), root, split)
        for name, found in listed.items():
            try:
                image = locator.find(name).path
            except NotUsable:
                continue
            if image in wanted:
                classes.setdefault(image, set()).update(found)
    return Annotations("COCO", classes, {}) if classes else None


def _voc(root: tree.Folder, images: Sequence[str]) -> Annotations | None:
    files = {os.path.splitext(path)[0]: path for path in _files(root, ".xml")}
    files |= {os.path.basename(stem): path for stem, path in files.items()}
    classes: dict[str, set[str]] = {}
    for image in images:
        stem = os.path.splitext(image)[0]
        if path := files.get(stem) or files.get(os.path.basename(stem)):
            try:
                document = ElementTree.parse(path).getroot()
            except ElementTree.ParseError as error:
                raise DarkroomError(f"{path}: isn't XML: {error}.") from error
            if document.tag == "annotation":
                names = (name.text or "" for name in document.iterfind("object/name"))
                classes[image] = {name.strip() for name in names} - {""}
    if not classes:
        return None
    of_stem: dict[str, str] = {}
    for path in _files(root, ".txt"):
        split = split_of(os.path.splitext(os.path.basename(path))[0])
        if split and os.path.basename(os.path.dirname(path)) == "Main":
            of_stem |= dict.fromkeys(Path(path).read_text(encoding="utf-8").split(), split)
    stems = {image: os.path.splitext(os.path.basename(image))[0] for image in classes}
    splits = {image: of_stem[stem] for image, stem in stems.items() if stem in of_stem}
    return Annotations("Pascal VOC", classes, splits)


def _yolo(root: tree.Folder, images: Sequence[str]) -> Annotations | None:
    files = set(_files(root, ".txt"))
    numbers: dict[str, set[int]] = {}
    for image in images:
        for path in _beside(image, root.path):
            found = _boxes(path) if path in files else None
            if found is not None:
                numbers[image] = found
    if not any(numbers.values()):
        return None
    names = _class_names(root)
    classes = {i: {names.get(n, str(n)) for n in found} for i, found in numbers.items()}
    return Annotations("YOLO", classes, {})


def _beside(image: str, root: str) -> list[str]:
    """Where the boxes of an image may be: beside it, or in a folder labels as it is in images."""
    stem = os.path.splitext(image)[0] + ".txt"
    parts = os.path.relpath(stem, root).split(os.sep)
    swapped = [
        os.path.join(root, *parts[:at], _LABELS, *parts[at + 1 :])
        for at, part in enumerate(parts)
        if part.lower() == _IMAGES
    ]
    return [stem, *swapped]


def _boxes(path: str) -> set[int] | None:
    """The numbers of the classes in a file of YOLO's, None where it is another."""
    try:
        rows = [line.split() for line in Path(path).read_text(encoding="utf-8").splitlines()]
        for row in rows:
            [float(number) for number in row]
        return {int(row[0]) for row in rows if row} if all(len(r) != 1 for r in rows) else None
    except ValueError:
        return None


def _class_names(root: tree.Folder) -> dict[int, str]:
    for path in _files(root, ".yaml", ".yml"):
        try:
            document = yaml.safe_load(Path(path).read_bytes())
        except yaml.YAMLError as error:
            raise DarkroomError(f"{path}: isn't YAML: {error}.") from error
        names = document.get("names") if isinstance(document, dict) else None
        if isinstance(names, list):
            return dict(enumerate(map(str, names)))
        if isinstance(names, dict):
            return {int(number): str(name) for number, name in names.items()}
    for path in _files(root, ".txt", ".names", ".labels"):
        if os.path.basename(path) in _NAMES:
            return dict(enumerate(Path(path).read_text(encoding="utf-8").splitlines()))
    return {}


def _files(root: tree.Folder, *suffixes: str) -> Iterable[str]:
    return (
        os.path.join(folder.path, name)
        for folder in root.walk()
        for name in folder.others
        if name.lower().endswith(suffixes)
    )
