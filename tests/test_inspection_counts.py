import itertools

import numpy as np

from darkroom.components.ingestion.inspection_counts import InspectionCounts, total


def counts_of(split: str, *images: tuple[int, bytes]) -> InspectionCounts:
    counts = InspectionCounts()
    for content, label in images:
        counts.keep(split, content, label)
    return counts.packed()


def test_counts_add_up_in_any_order() -> None:
    parts = [
        counts_of("train", (1, b"a"), (2, b"b")),
        counts_of("train", (1, b"a"), (3, b"c"), (2, b"c")),
        counts_of("eval", (7, b"a")),
    ]
    parts[0].quarantine("train", "cut off", "x, record 3")
    parts[0].drop("train", b"a")
    parts[1].drop("train", b"gone")
    parts[2].drop("train", b"gone")
    parts[1].leak("train", "y, record 0")
    parts[2].broken_file("z is cut off.", 5)
    reports = []
    for first, *others in itertools.permutations(parts):
        merged = total([total([first]), total(others), total([])])
        reports.append(merged.report(["train", "eval"]).model_dump())
    for report in reports:
        assert report == {
            "splits": {
                "train": {
                    "images": 5,
                    "duplicates": 2,
                    "with_two_labels": 1,
                    "in_two_splits": 1,
                    "near_in_two_splits": None,
                    "in_trained_groups": 0,
                    "quarantined": {"cut off": 1},
                    "emptied": {"gone": 2},
                },
                "eval": {
                    "images": 1,
                    "duplicates": 0,
                    "with_two_labels": 0,
                    "in_two_splits": 0,
                    "near_in_two_splits": None,
                    "in_trained_groups": 0,
                    "quarantined": {},
                    "emptied": {},
                },
            },
            "compared": None,
            "lost": 5,
            "first_quarantined": ["x, record 3: cut off"],
            "first_in_two_splits": ["y, record 0"],
            "first_near_in_two_splits": [],
            "first_shared_groups": [],
            "first_broken_files": ["z is cut off."],
        }


def test_only_the_first_are_named() -> None:
    counts = InspectionCounts()
    for number in range(100):
        counts.quarantine("train", "empty", str(number))
    report = counts.packed().report(["train"])
    assert report.splits["train"].quarantined == {"empty": 100}
    assert len(report.first_quarantined) == 10


def test_contents_are_of_all_splits() -> None:
    both = total([counts_of("train", (5, b"a")), counts_of("eval", (2**62, b"b"))])
    assert sorted(both.contents().tolist()) == [5, 2**62]
    assert InspectionCounts().contents().dtype == np.int64
