"""What ImportExampleGen left behind, in words. Light to import."""

from darkroom.components.base.status import Outputs, Status
from darkroom.components.ingestion.inspection_report import InspectionReport


def read(status: Status, outputs: Outputs) -> str:
    """Adds the outcome to ``status``; returns what matters most, in words."""
    uri = outputs["examples"].uri
    report = InspectionReport.read(uri)
    status.inspection = report.model_dump(exclude_unset=True)
    words = ", ".join(f"{name} {split.images:,}" for name, split in report.splits.items())
    words += " images"
    bad = sum(report.quarantined.values())
    if bad:
        status.quarantine = f"{uri}/{report.QUARANTINE_FOLDER}"
        words += f", {bad:,} in quarantine"
    return words


def sentences(report: InspectionReport) -> list[str]:
    """What was set aside and what comes twice, a sentence each."""
    words = list(report.first_broken_files)
    if report.compared is not None:
        words.append(f"Near duplicates were looked for among {report.compared:,} images alone.")
    for name, split in report.splits.items():
        if split.quarantined:
            reasons = (f"{count:,} {reason}" for reason, count in split.quarantined.items())
            words.append(f"In quarantine from the {name} split: {', '.join(reasons)}.")
        if split.in_two_splits:
            words.append(
                f"{split.in_two_splits:,} images of the {name} split are in another split "
                f"too: {'; '.join(report.first_in_two_splits[:3])}."
            )
        if split.near_in_two_splits:
            words.append(
                f"{split.near_in_two_splits:,} images of the {name} split show nearly the same as "
                f"one of another split: {'; '.join(report.first_near_in_two_splits[:3])}. If they "
                "are the same, the figures are too good: darkroom review shows them side by side."
            )
        if split.in_trained_groups:
            words.append(
                f"{split.in_trained_groups:,} of {split.images:,} images of the {name} split "
                "belong, by their names, with images of the train split "
                f"({', '.join(report.first_shared_groups[:3])}). If each such name is one "
                "patient, object or burst, the figures are too good: darkroom ingest "
                "--group-pattern keeps its images in one split."
            )
        if split.duplicates:
            words.append(f"{split.duplicates:,} images of the {name} split are there twice.")
        if split.with_two_labels:
            words.append(
                f"{split.with_two_labels:,} images of the {name} split are there with "
                "different labels."
            )
    return words
