"""``darkroom ingest`` of images that belong together, as a user calls it."""

import csv
import re
from collections import defaultdict
from pathlib import Path

import pytest

from darkroom.components.base import features, tfrecord
from darkroom.components.base.settings import IngestionSettings
from darkroom.components.ingestion import groups, outcome, record_forms
from darkroom.components.ingestion.inspection_counts import InspectionCounts
from darkroom.pipeline.ingest import index
from tests.settings import configured
from tests.test_ingest import fill, ingest, records


def groups_of(target: Path) -> dict[str, set[str]]:
    """The splits of each group, by the records."""
    found: dict[str, set[str]] = defaultdict(set)
    for split, values in records(target).items():
        for value in values:
            found[value[features.GROUP_KEY].decode()].add(split)
    return found


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Of 20 patients four scans each, ill or well, and a table of them."""
    rows = []
    for patient in range(20):
        label = "ill" if patient % 3 else "well"
        fill(tmp_path / f"p{patient:02}", 4)
        rows += [(f"p{patient:02}/{n:03}.jpg", label, f"patient {patient}") for n in range(4)]
    with open(tmp_path / "scans.csv", "w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "patient"), *rows])
    return tmp_path


def test_a_column_says_what_stays_together(scans: Path) -> None:
    shares = ("--eval-share", "0.2", "--test-share", "0.1")
    output = ingest(scans, "scans.csv", "records", "--group", "patient", *shares)
    assert "20 groups by the column patient, each in one split." in output
    found = groups_of(scans / "records")
    assert len(found) == 20
    assert all(len(splits) == 1 for splits in found.values())
    counted = {split: len(values) for split, values in records(scans / "records").items()}
    assert counted == {"train": 56, "eval": 16, "test": 8}

    # What comes later comes to its patient; others are drawn.
    table = scans / "scans.csv"
    new = [("p00/new.jpg", "well", "patient 0"), ("p20/000.jpg", "ill", "patient 20")]
    fill(scans / "p20", 1)
    fill(scans / "p00", 1, first=9)
    (scans / "p00" / "009.jpg").rename(scans / "p00" / "new.jpg")
    with open(table, "a", newline="") as file:
        csv.writer(file).writerows(new)
    ingest(scans, "scans.csv", "records")
    after = groups_of(scans / "records")
    assert after["patient 0"] == found["patient 0"]
    assert len(after) == 21
    assert {entry.group for entry in index.read_entries(scans / "records" / "index.csv")} == {
        *after
    }


def test_a_part_of_the_name_does_the_same(scans: Path) -> None:
    for patient in range(20):
        folder = scans / "photos" / ("well", "ill", "ill")[patient % 3]
        folder.mkdir(parents=True, exist_ok=True)
        for n, path in enumerate(sorted((scans / f"p{patient:02}").iterdir())):
            path.rename(folder / f"patient{patient:02}-{n}.jpg")
    fill(scans / "photos" / "ill", 1)
    output = ingest(scans, "photos", "records", "--group-pattern", r"(patient\d+)-")
    assert r"20 groups by the pattern (patient\d+)-, each in one split." in output
    assert "1 image of no group, each for itself: ill/000.jpg." in output
    entries = index.read_entries(scans / "records" / "index.csv")
    splits = defaultdict(set)
    for entry in entries:
        splits[entry.group].add(entry.split)
    assert len(splits) == 21
    assert all(len(of) == 1 for of in splits.values())
    refused = ingest(scans, "photos", "records", "--group-pattern", "patient", code=1)
    assert r"was made with group_pattern (patient\d+)-" in refused


def test_groups_of_splits_that_the_source_gives_are_named(scans: Path) -> None:
    with open(scans / "scans.csv", newline="") as file:
        header, *rows = csv.reader(file)
    splits = ("train", "train", "test", "eval")
    rows = [[*row, splits[n % 4]] for n, row in enumerate(rows)]
    with open(scans / "split.csv", "w", newline="") as file:
        csv.writer(file).writerows([[*header, "split"], *rows])
    output = ingest(scans, "split.csv", "records", "--group", "patient")
    said = " ".join(output.split())
    assert "20 groups in several splits, as they stand in the source: patient 0 (eval and" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--group", "pateint"], "there is no such column .* has the columns patient.* Did you me"),
        (["--group", "patient", "--group-pattern", "p"], "both say what belongs together: give o"),
        (["--group-pattern", "p[0"], "expected a regular expression such as .* found 'p\\[0'"),
        (["--group-pattern", "nobody"], "finds no group in any of 80 images, such as p00/000.jpg"),
        (["--group-pattern", "^p", "--eval-share", "0.2"], "1 group can't be divided .* group, p,"),
    ],
)
def test_groups_that_cannot_be_are_a_sentence(
    scans: Path, arguments: list[str], words: str
) -> None:
    output = " ".join(ingest(scans, "scans.csv", "records", *arguments, code=1).split())
    assert re.search(words, output), output
    assert not list(scans.glob("records/*/*.tfrecord"))


def test_an_index_without_groups_is_read(tmp_path: Path) -> None:
    path = tmp_path / "index.csv"
    entries = [index.Entry("a.png", "a", "train", "c0", 1, 2)]
    index.write_entries(path, entries)
    assert path.read_text().splitlines()[0] == "path,label,split,content,size,modified"
    assert index.read_entries(path) == entries
    entries.append(index.Entry("b.png", "b", "eval", "c1", 1, 2, "g"))
    index.write_entries(path, entries)
    assert path.read_text().splitlines()[0].endswith(",modified,group")
    assert index.read_entries(path) == entries


@pytest.mark.parametrize(
    ("path", "group"),
    [
        ("cat/patient12_03.png", "patient12"),
        ("train/cat/patient12/03.png", "patient12"),
        ("cat/IMG_20240131_0007.jpg", "IMG_20240131"),
        ("scan-7-slice-12.png", "scan-7"),
        ("cat/cat.12.jpg", ""),
        ("cat/0012.jpg", ""),
        ("cat/d7ed1d64-2c65-427f-9ae4-eb4aaa3e2389.jpg", "d7ed1d64-2c65-427f-9ae4-eb4aaa3"),
        ("eval/a.tfrecord#3", ""),
    ],
)
def test_names_that_say_a_group(path: str, group: str) -> None:
    assert groups.of_name(path, "cat") == group


def test_held_out_images_of_trained_groups_are_counted() -> None:
    counts = InspectionCounts()
    for patient in range(10):
        for n in range(3):
            counts.keep("eval" if n == 2 else "train", 10 * patient + n, b"a", f"p{patient}")
    for n in range(30):  # of the other class each patient has all its images in one split
        counts.keep("eval" if n >= 27 else "train", 1000 + n, b"b", f"q{n // 3}")
    report = counts.packed().report(["train", "eval"])
    assert report.splits["eval"].in_trained_groups == 10
    assert report.splits["train"].in_trained_groups == 0
    assert report.first_shared_groups == [f"p{n}" for n in range(10)]
    [said] = [words for words in outcome.sentences(report) if "belong" in words]
    assert said.startswith("10 of 13 images of the eval split belong, by their names, with images")
    # One prefix for all of a class is the class's name.
    names = InspectionCounts()
    for n in range(40):
        names.keep("eval" if n % 4 == 0 else "train", n, b"ab"[n % 2 :][:1], f"n{n % 2}")
    report = names.packed().report(["train", "eval"])
    assert report.splits["eval"].in_trained_groups == 0


def test_what_the_examples_say_counts_and_else_their_names(tmp_path: Path) -> None:
    data = configured(IngestionSettings)
    values = {features.IMAGE_KEY: b"x", features.LABEL_KEY: b"cat"}
    values[features.FILENAME_KEY] = b"cat/patient3_7.png"
    assert record_forms.read(tfrecord.encode_example(values), data).group == "patient3"
    values[features.GROUP_KEY] = "Müller".encode()
    assert record_forms.read(tfrecord.encode_example(values), data).group == "Müller"
    del values[features.GROUP_KEY], values[features.FILENAME_KEY]
    assert record_forms.read(tfrecord.encode_example(values), data).group == ""


def test_groups_of_damaged_images_alone_are_a_sentence(tmp_path: Path) -> None:
    for name in ("a/p1_1.jpg", "a/p1_2.jpg", "b/p2_1.jpg"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(b"no image")
    output = ingest(tmp_path, "photos", "records", "--group-pattern", r"p\d", code=1)
    assert "None of 3 images can be used." in output
