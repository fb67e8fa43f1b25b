"""What ``darkroom review`` found in the images of a folder, in a file beside them for runs."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

from pydantic import BaseModel, Field
from typing_extensions import Self

from darkroom.components.base import remote
from darkroom.components.ingestion import corrections
from darkroom.serving import files

SUSPECT, OUTLIER = "suspect label", "outlier"


class Fault(NamedTuple):
    """What may be wrong with one image: a row of ``review.csv``."""

    path: str
    split: str
    label: str
    fault: str
    value: float | str  # how far, or what was found
    suggestion: str = ""  # keep, relabel LABEL, drop or same
    other: str = ""  # path of the other image
    other_split: str = ""
    other_label: str = ""


class Findings(BaseModel):
    """All faults, and what they were found in."""

    FILE: ClassVar = "review.json"

    data: str  # data_version.identity of the images
    images: int  # that were looked at
    labels_judged: bool
    notes: list[str]  # sentences
    faults: Sequence[Fault]  # the gravest kind first
    kept: frozenset[str] = Field(frozenset(), exclude=True)  # paths that people found to be right

    def counts(self) -> dict[str, int]:
        """How many images have each fault, without those that people have kept as they are."""
        return dict(Counter(fault.fault for fault in self.open()))

    def open(self, *kinds: str) -> list[Fault]:
        """The faults that people have not kept; of kinds: whose name begins with one of these."""
        return [
            fault
            for fault in self.faults
            if fault.path not in self.kept and fault.fault.startswith(kinds or "")
        ]

    def share(self, *kinds: str) -> float:
        """Of all images, those that have an open fault of these kinds."""
        faulty = {(fault.split, fault.path) for fault in self.open(*kinds)}
        return len(faulty) / max(1, self.images)

    def write(self, folder: Path) -> None:
        """Writes the file, whole or not at all."""
        with files.replacing(folder / self.FILE) as unfinished:
            unfinished.write_text(json.dumps(self.model_dump()), encoding="utf-8")

    @classmethod
    def read(cls, uri: str, data: str) -> Self | None:
        """The findings in a folder; None where none are there, or they are of other images.

        ``data``: the identity of the images as they are now.
        """
        if not remote.exists(f"{uri}/{cls.FILE}"):
            return None
        found = cls.model_validate_json(remote.read(f"{uri}/{cls.FILE}"))
        return found.model_copy(update={"kept": kept(uri)}) if found.data == data else None


def text(path: str) -> str:
    """The name of a file as a text, which it need not be."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def kept(uri: str) -> frozenset[str]:
    """The paths of the images in a folder that people have kept as they are."""
    decided = f"{uri}/{corrections.CORRECTIONS_FILE}"
    if not remote.exists(decided):
        return frozenset()
    rows = corrections.read(remote.fetch(decided, anew=True)).values()
    return frozenset(text(row.path) for row in rows if row.action == "keep")
