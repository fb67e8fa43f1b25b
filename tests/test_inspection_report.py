import json
from pathlib import Path

from darkroom.components.base.status import Status
from darkroom.components.ingestion import outcome
from darkroom.components.ingestion.inspection_report import InspectionReport

REPORT = {
    "splits": {
        "train": {"images": 7, "duplicates": 2, "with_two_labels": 1, "in_two_splits": 1,
                  "quarantined": {"cut off": 3, "empty": 1}},
        "eval": {"images": 4, "duplicates": 0, "with_two_labels": 0, "in_two_splits": 0,
                 "quarantined": {"empty": 2}},
    },
    "lost": 5,
    "first_in_two_splits": ["a, record 1"],
}  # fmt: skip


def test_the_file_is_as_earlier_versions_wrote_it(tmp_path: Path) -> None:
    InspectionReport.model_validate(REPORT).write(str(tmp_path))
    text = (tmp_path / "inspection.json").read_text()
    assert text == json.dumps(REPORT)
    report = InspectionReport.read(str(tmp_path))
    assert report.quarantined == {"cut off": 3, "empty": 3}
    assert report.first_quarantined == []
    status = Status("", "", "", inspection=report.model_dump(exclude_unset=True))
    assert status.as_dict()["inspection"] == REPORT


def test_what_is_worth_saying() -> None:
    broken = {**REPORT, "first_broken_files": ["z is cut off."]}
    assert outcome.sentences(InspectionReport.model_validate(broken)) == [
        "z is cut off.",
        "In quarantine from the train split: 3 cut off, 1 empty.",
        "1 images of the train split are in another split too: a, record 1.",
        "2 images of the train split are there twice.",
        "1 images of the train split are there with different labels.",
        "In quarantine from the eval split: 2 empty.",
    ]


def test_near_duplicates_are_told_with_what_to_do() -> None:
    report = InspectionReport.model_validate(REPORT)
    report.compared = 10
    report.splits["train"].near_in_two_splits = 2
    report.first_near_in_two_splits = ["a, record 3 like b, record 5"]
    told = outcome.sentences(report)
    assert told[0] == "Near duplicates were looked for among 10 images alone."
    assert told[3] == (
        "2 images of the train split show nearly the same as one of another split: "
        "a, record 3 like b, record 5. If they are the same, the figures are too good: "
        "darkroom review shows them side by side."
    )
