"""A project: the folder in which somebody's images become records, a configuration and runs."""

import re
import shlex
import unicodedata
from pathlib import Path
from typing import NamedTuple

from darkroom.components.base.errors import DarkroomError
from darkroom.pipeline.config import load
from darkroom.pipeline.ingest import archives, groups, records
from darkroom.pipeline.ingest.listing import Listing
from darkroom.pipeline.ingest.records import Confirm, Options, Summary
from darkroom.pipeline.ingest.shards import Progress
from darkroom.pipeline.ingest.sources import list_images
from darkroom.serving import files

_RECORDS = "records"  # folder of the TFRecords, beside the configuration
# Pixels; three times what the largest network of the recipe takes. Larger ones only take time.
_MAX_SIDE = 640
_LONGEST_NAME = 40  # characters that a folder gives to its pipeline


class Project(NamedTuple):
    """Images, and what is made of them."""

    source: Path  # folder, manifest or archive
    file: Path  # the configuration
    target: Path  # folder of the TFRecords
    is_new: bool  # whether there is no configuration yet

    @classmethod
    def of(cls, source: Path, file: Path) -> "Project":
        """Raises DarkroomError where one can't be made there."""
        home, source = file.absolute().parent, source.absolute()
        if home.resolve().is_relative_to(source.resolve()):
            raise DarkroomError(
                f"{home} is inside {source}, where what is written would be taken for images' "
                f"folders. Go to a folder beside it, as in: cd {shlex.quote(str(source.parent))}."
            )
        is_new = not file.exists()
        target = home / _RECORDS if is_new else Path(load(file).data_path)
        return cls(source, file, target, is_new)

    def look(self, group: str | None, group_pattern: str | None) -> Listing:
        """The images that the source has; raises DarkroomError where it can't be taken."""
        with archives.opened(self.source, self.target) as opened:
            listing = list_images(opened)
            groups.name(opened, listing, group, group_pattern)
            return listing

    def ingest(
        self, minutes: float | None, grouped: Options, progress: Progress, confirm: Confirm
    ) -> Summary:
        """Makes the records what the images are, if ``confirm`` agrees to what that changes.

        Writes the configuration, with ``minutes``, if there is none. ``grouped`` are the options
        that say which images stay in one split.
        """
        options = {"multi_label": False, "max_side": _MAX_SIDE if self.is_new else None, **grouped}
        summary = records.ingest(
            self.source, self.target, options, progress, sync=True, confirm=confirm
        )
        if self.is_new:
            with files.replacing(self.file) as unfinished:
                text = _configuration(self.source, summary, minutes)
                unfinished.write_text(text, encoding="utf-8")
        return summary


def _configuration(source: Path, summary: Summary, minutes: float | None) -> str:
    images, classes = sum(summary.images.values()), len(set().union(*summary.labels.values()))
    shown = ascii(str(source))[1:-1]
    splits = "{test: test/*}  # whose images choose nothing"
    lines = [
        f"# {images:,} images of {classes} classes, from {shown}.",
        "# What isn't set is chosen by the images, this machine and the minutes; darkroom config",
        "# shows it, and docs/configuration.md tells of every key.",
        f"name: {_name(source)}  # of the pipeline and of the served model; here the folder's",
        "data:",
        f"  path: {_RECORDS}  # of the images, at most {_MAX_SIDE} pixels a side",
        *([f"  splits: {splits}"] if summary.images["test"] else []),
    ]
    if minutes is not None:
        lines.append(f"training: {{minutes: {minutes:g}}}  # that a run may take")
    return "\n".join(lines) + "\n"


def _name(source: Path) -> str:
    """The name of a folder or file, as Kubernetes takes names."""
    plain = unicodedata.normalize("NFKD", source.name.partition(".")[0])
    words = re.findall(r"[a-z0-9]+", plain.encode("ascii", "ignore").decode().lower())
    name = "-".join(words)[:_LONGEST_NAME].strip("-")
    if not name:
        return "images"
    return name if name[0].isalpha() else f"images-{name}"
