"""The file in which ImportExampleGen says what its inspection came to. Light to import."""

import json
from collections import Counter
from typing import ClassVar

from pydantic import BaseModel
from typing_extensions import Self

from darkroom.components.base import remote


class SplitReport(BaseModel):
    """Images of a split, by what became of them."""

    images: int  # that are kept
    duplicates: int  # of these, as often as a picture comes again
    with_two_labels: int  # pictures that come again with another label
    in_two_splits: int  # pictures that a split further down has too
    near_in_two_splits: int | None = None  # that one further down shows, too; None: not looked for
    in_trained_groups: int = 0  # images of a patient, burst or the like that train has, too
    quarantined: dict[str, int]  # images by reason, the most frequent first
    emptied: dict[str, int] = {}  # labels of which no image is kept, and how many were dropped


class InspectionReport(BaseModel):
    """What was kept, what was set aside, and where the first of it is."""

    FILE: ClassVar = "inspection.json"
    QUARANTINE_FOLDER: ClassVar = "quarantine"  # beside it: the records that are set aside

    splits: dict[str, SplitReport]
    compared: int | None = None  # images among which near ones were looked for; None: all
    lost: int = 0  # records in broken files, about
    first_broken_files: list[str] = []
    first_in_two_splits: list[str] = []
    first_near_in_two_splits: list[str] = []
    first_quarantined: list[str] = []
    first_shared_groups: list[str] = []

    @property
    def quarantined(self) -> dict[str, int]:
        total: Counter[str] = Counter()
        for split in self.splits.values():
            total.update(split.quarantined)
        return total

    def write(self, uri: str) -> None:
        """Writes the file into the examples' folder, from any worker of Beam's."""
        from apache_beam.io.filesystems import FileSystems

        with FileSystems.create(f"{uri}/{self.FILE}") as file:
            file.write(json.dumps(self.model_dump(exclude_unset=True)).encode())

    @classmethod
    def read(cls, uri: str, anew: bool = False) -> Self:
        """Reads the file of the examples' folder; ``anew``: not from a copy of a bucket's."""
        if anew:
            return cls.model_validate_json(remote.read(f"{uri}/{cls.FILE}"))
        return cls.model_validate_json(remote.file(uri, cls.FILE).read_bytes())
