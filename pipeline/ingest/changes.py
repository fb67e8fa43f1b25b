"""What an ingest has to change: a source and people's corrections against what is in the target.

An image is known by the hash of its pixels. So a file that has another name, or is in another
folder, is found again, and stays in its split.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Literal, NamedTuple, get_args

from darkroom.components.base import features
from darkroom.components.base.errors import DarkroomError
from darkroom.components.ingestion.corrections import Correction
from darkroom.pipeline.ingest.index import Entry, Records
from darkroom.pipeline.ingest.listing import SPLITS, Source, is_number
from darkroom.serving import signatures

Kind = Literal["added", "relabelled", "renamed", "replaced", "removed", "dropped", "joined"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Added = tuple[Source, Entry]  # an image and its row
Looked = tuple[Source, Entry | str]  # or the reason why it has none


class Change(NamedTuple):
    """What becomes of an image.

    ``relabelled``: it has another label. ``renamed``: its file has another name, and its label is
    the same. ``replaced``: its file has another picture, which is a new image. ``removed``: its
    file is gone. ``dropped``: a correction says so. ``joined``: it comes into the split of what is
    the same thing.
    """

    kind: Kind
    before: Entry | None
    after: Entry | None

    @property
    def path(self) -> str:
        """Of the image as it is now; of one that is gone, as it was."""
        entry = self.after or self.before
        return entry.path if entry else ""

    @property
    def name(self) -> str:
        """The path; of a file that is renamed both."""
        renamed = self.kind == "renamed" and self.before
        return f"{renamed.path} → {self.path}" if renamed else self.path

    @property
    def words(self) -> str:
        """From which label or split to which; of other kinds nothing."""
        if self.before is not None and self.after is not None:
            if self.kind == "relabelled":
                return f"{self.before.label} → {self.after.label}"
            if self.kind == "joined":
                return f"{self.before.split} → {self.after.split}"
        return ""


class Decisions:
    """Corrections by the content of their image, as another picture may get its path."""

    def __init__(
        self,
        corrections: Mapping[str, Correction],
        known: Iterable[tuple[str, str]],
        multi: bool,
        numbers: int = 0,
    ):
        """``known``: pairs of path and content; of several with the same path the last counts.

        ``numbers``: as of ``Listing``.
        """
        self._contents, self._multi = dict(known) if corrections else {}, multi
        self._numbers = numbers
        self._of: dict[str, Correction] = {}
        self.same: list[tuple[str, str]] = []  # pairs of contents
        self.unknown: list[str] = []  # paths
        for correction in corrections.values():
            content = self._contents.get(correction.path)
            other = self._contents.get(correction.label)
            if content is None:
                self.unknown.append(correction.path)
            elif correction.action != "same":
                self._of[content] = correction
            elif other is None:
                self.unknown.append(correction.label)
            else:
                self.same.append((content, other))

    def are_about(self, content: str) -> bool:
        return content in self._of

    def label(self, content: str, label: str) -> str:
        """The corrected label; without a correction the given one."""
        decided = self._of.get(content)
        if decided is None or decided.action != "relabel":
            return label
        if self._numbers:
            parts = decided.label.split(signatures.LABEL_SEPARATOR)
            if len(parts) != self._numbers or not all(map(is_number, parts)):
                raise DarkroomError(
                    f"corrections.csv: {decided.path} is relabelled {decided.label!r}, expected "
                    f"{self._numbers} finite number{'s, joined by |' * (self._numbers > 1)}."
                )
        if self._multi:
            return signatures.LABEL_SEPARATOR.join(features.split_labels(decided.label))
        return decided.label

    def drops(self, content: str) -> bool:
        decided = self._of.get(content)
        return decided is not None and decided.action == "drop"

    def is_about(self, path: str, content: str) -> bool:
        """Whether a correction of the path would be one of this content."""
        return self._contents.get(path, content) == content


class Plan:
    """What is to become of every image.

    With ``sync`` the target becomes what the source is. Without it images are only added; where
    nothing but this source is in the target (``is_alone``), what else changed is ``pending``.
    """

    def __init__(
        self, looked_at: list[Looked], records: Records, decisions: Decisions, hidden: set[str],
        *, sync: bool, is_alone: bool,
    ):  # fmt: skip
        """``hidden``: names of files and folders of the source that can't be read."""
        self.standing: list[tuple[Entry, Entry]] = []  # of the target: as it is, as it will be
        self.gone: list[Change] = []
        self.new: list[Added] = []  # without a split, unless the source has it
        self.left_out: list[Entry] = []
        self.fixed: dict[str, str] = {}  # splits, by content, of images that come back
        self.pending: dict[str, Kind] = {}  # by path
        self.renames: dict[str, str] = {}  # paths of images, also of those that are left out
        self.notes: list[str] = []  # sentences
        self.duplicates = 0  # files whose picture another file shows
        self._sync, self._is_alone = sync, sync or is_alone
        self._decisions, self._hidden = decisions, hidden
        self._files: dict[str, list[Added]] = defaultdict(list)  # by what they show
        # Of the same picture in several splits the one counts that holds out the most.
        for file, entry in sorted(
            looked_at, key=lambda pair: -SPLITS.index(pair[0].split or "train")
        ):
            if not isinstance(entry, str):
                self._files[entry.content].append((file, entry))
        self._names = {file.name for shown in self._files.values() for file, _ in shown}
        for entry in records.entries:
            self._stand(entry)
        self._come(records)
        self._name_other_splits()

        self.stale = {
            file.name
            for file, entry in self.new
            if not decisions.is_about(file.name, entry.content) and file.name not in self.renames
        } & records.corrections.keys()

    @property
    def earlier(self) -> int:
        """Files of the source whose images are in the target already."""
        return sum(before.content in self._files for before, _ in self.standing)

    def join(self, added: list[Added]) -> list[Added]:
        """Has what is the same thing in one split; the new images as they are then."""
        if not self._decisions.same:
            return added
        entries = self.entries(added)
        splits = join(self._decisions.same, {entry.content: entry.split for entry in entries})
        self.standing = [
            (before, after._replace(split=splits[after.content])) for before, after in self.standing
        ]
        return [(file, entry._replace(split=splits[entry.content])) for file, entry in added]

    def entries(self, added: list[Added]) -> list[Entry]:
        """All that the target will have."""
        return [*(after for _, after in self.standing), *(entry for _, entry in added)]

    def mended(self) -> dict[str, Entry | None]:
        """By content what becomes of records that are there; None: they go."""
        going = {change.before.content: None for change in self.gone if change.before}
        return going | {b.content: after for b, after in self.standing if kind_of(b, after)}

    def changes(self, added: list[Added]) -> list[Change]:
        """All that is changed, kind by kind."""
        replaced = {c.path: c.before for c in self.gone if c.kind == "replaced"}
        found: list[Change] = []
        for _, entry in added:
            before = replaced.pop(entry.path, None)
            found.append(Change("replaced" if before else "added", before, entry))
        for standing, after in self.standing:
            if kind := kind_of(standing, after):
                found.append(Change(kind, standing, after))
        for change in self.gone:
            if change.kind != "replaced":
                found.append(change)
            elif change.path in replaced:  # by what was there already
                found.append(change._replace(kind="removed"))
        return sorted(found, key=lambda change: KINDS.index(change.kind))

    def _is_unchanged(self, entry: Entry) -> bool:
        """Whether there is nothing to find out about an image, as of most in most ingests."""
        match self._files.get(entry.content):
            case [(file, seen)]:
                is_decided = self._decisions.are_about(entry.content)
                return seen is entry and file.label == entry.label and not is_decided
        return False

    def _found(self, entry: Entry) -> Entry | None:
        """An image of the target as the source has it now; None: not any more."""
        shown = self._files.get(entry.content)
        if shown:
            file, seen = next((pair for pair in shown if pair[0].name == entry.path), shown[0])
            label = self._decisions.label(entry.content, file.label)
            return seen._replace(label=label, split=entry.split)
        if self._hidden.isdisjoint({entry.path, *map(str, PurePath(entry.path).parents)}):
            return None
        return entry._replace(label=self._decisions.label(entry.content, entry.label))

    def _stand(self, entry: Entry) -> None:
        if self._is_unchanged(entry):
            self.standing.append((entry, entry))
            return
        found = self._found(entry)
        corrected = entry._replace(label=self._decisions.label(entry.content, entry.label))
        if found is not None and found.path == entry.path:
            corrected = corrected._replace(size=found.size, modified=found.modified)
            self._count_others(found)
        lost: Kind = "replaced" if entry.path in self._names else "removed"
        if self._decisions.drops(entry.content):
            self.gone.append(Change("dropped", entry, None))
            self.left_out.append(found if found is not None and self._sync else corrected)
        elif not self._sync:
            self.standing.append((entry, corrected))
            if self._is_alone and (kind := kind_of(corrected, found, lost)):
                self.pending[entry.path] = kind
        elif found is not None:
            self.standing.append((entry, found))
        else:
            self.gone.append(Change(lost, entry, None))
            self.left_out.append(entry)
        if found is not None and found.path != entry.path:
            self._count_others(found if self._is_alone else entry)
            if self._sync:
                self.renames[entry.path] = found.path

    def _count_others(self, entry: Entry) -> None:
        """Counts the files that show the same as an image, and names those of another label."""
        shown = self._files.get(entry.content, [])
        others = [file for file, _ in shown if file.name != entry.path]
        self.duplicates += len(others)
        label = self._decisions.label(entry.content, entry.label)
        self.notes += [
            f"{file.name} shows the same as {entry.path}, which is {label!r}: left out."
            for file in others
            if file.label != label
        ]

    def _come(self, records: Records) -> None:
        """Adds images that aren't in the target, but those that are left out."""
        here = {entry.content for entry in records.entries}
        paths = {entry.path for entry in records.entries}
        former = {entry.content: entry for entry in records.left_out}
        for content, shown in self._files.items():
            file, entry = shown[0]
            if content in here:
                continue
            if self._decisions.drops(content):
                self._leave_out(former.pop(content, entry), shown)
                continue
            if not self._sync and self._is_alone and file.name in paths:
                self.pending.setdefault(file.name, "replaced")
                continue
            label = self._decisions.label(content, file.label)
            if content in former:
                self.fixed[content] = former.pop(content).split
            self.new.append((file._replace(label=label), entry._replace(label=label)))
            self._count_others(entry._replace(label=label))
        self.left_out += former.values()

    def _leave_out(self, left: Entry, shown: list[Added]) -> None:
        seen = next((entry for file, entry in shown if file.name == left.path), None)
        if seen is None and self._is_alone:
            seen = shown[0][1]
            self.renames[left.path] = seen.path
        self.left_out.append(left if seen is None else seen._replace(split=left.split))

    def _name_other_splits(self) -> None:
        """Says where a source's split has changed: an image stays where it is."""
        joined = {content for pair in self._decisions.same for content in pair}
        splits = {after.content: after.split for _, after in self.standing}
        other = [
            file.name
            for content, split in splits.items()
            for file, _ in self._files.get(content, [])[:1]
            if content not in joined
            # Where the source has none for eval, that is taken from train.
            if file.split not in (None, split) and (file.split, split) != ("train", "eval")
        ]
        if other:
            self.notes.append(
                f"The source has {len(other):,} images in another split than that in which they "
                f"are, and stay: {first(other)}."
            )


def kind_of(before: Entry | None, after: Entry | None, lost: Kind = "removed") -> Kind | None:
    """What became of an image; None: nothing that anybody sees."""
    if before is after:
        return None
    if before is None or after is None:
        return "added" if after else lost
    if before.split != after.split:
        return "joined"
    if before.label != after.label:
        return "relabelled"
    return "renamed" if before.path != after.path else None


def join(same: Iterable[tuple[str, str]], splits: Mapping[str, str]) -> dict[str, str]:
    """The splits by content, of the same thing the one that holds out the most.

    ``same`` has pairs of contents, of which chains may be made.
    """
    joined, pairs = dict(splits), [pair for pair in same if splits.keys() >= set(pair)]
    for _ in pairs:  # a chain has no more links
        for pair in pairs:
            most = max((joined[content] for content in pair), key=SPLITS.index)
            joined |= dict.fromkeys(pair, most)
    return joined


def carried(
    corrections: Mapping[str, Correction], renames: Mapping[str, str], stale: set[str]
) -> dict[str, Correction]:
    """Corrections with the names that the files have now; without those of other pictures."""
    kept = [c for c in corrections.values() if c.path not in stale]
    moved: dict[str, Correction] = {}
    for correction in sorted(kept, key=lambda c: c.path not in renames):  # a file's own wins
        label = correction.label
        if correction.action == "same":
            label = renames.get(label, label)
        path = renames.get(correction.path, correction.path)
        moved[path] = correction._replace(path=path, label=label)
    return moved


def first(names: list[str], most: int = 3) -> str:
    """The first names, for a sentence."""
    return ", ".join(names[:most]) + ", …" * (len(names) > most)
