"""What a review leaves for runs: read again for the same images alone."""

from pathlib import Path

import pytest

from darkroom.components.ingestion import corrections, data_version
from darkroom.components.ingestion.corrections import Correction
from darkroom.components.ingestion.findings import Fault, Findings

PATTERNS = ["train/*"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "a").write_bytes(b"images")
    return tmp_path


def identity(folder: Path) -> str:
    return data_version.identity(str(folder), PATTERNS)


def written(folder: Path) -> Findings:
    faults = [
        Fault("a.png", "train", "cat", "suspect label", 0.01, "relabel dog", "b.png", "eval", "x"),
        Fault("c.png", "train", "cat", "suspect label", 0.02, "relabel dog"),
        Fault("c.png", "train", "cat", "near duplicate", 0.99, "", "b.png", "train", "cat"),
    ]
    found = Findings(
        data=identity(folder), images=40, labels_judged=True, notes=["A note."], faults=faults,
    )  # fmt: skip
    found.write(folder)
    return found


def test_it_is_read_for_the_same_images_alone(folder: Path) -> None:
    assert Findings.read(str(folder), identity(folder)) is None
    found = written(folder)
    assert Findings.read(str(folder), identity(folder)) == found
    (folder / "train" / "b").write_bytes(b"more")
    assert Findings.read(str(folder), identity(folder)) is None


def test_images_are_told_by_their_version_where_they_have_one(folder: Path) -> None:
    before = identity(folder)
    (folder / data_version.FILE).write_text('{"version": "0002-3f9a1c52"}')
    assert identity(folder) == "0002-3f9a1c52" != before


def test_what_people_kept_is_no_fault(folder: Path) -> None:
    written(folder)
    corrections.write(
        folder / corrections.CORRECTIONS_FILE,
        [Correction("a.png", "keep"), Correction("c.png", "drop")],
    )
    found = Findings.read(str(folder), identity(folder))
    assert found is not None
    assert found.counts() == {"suspect label": 1, "near duplicate": 1}
    assert found.share("suspect label") == 1 / 40
    assert found.share("suspect label", "near duplicate") == 1 / 40  # one image
    assert found.share("damaged") == 0
