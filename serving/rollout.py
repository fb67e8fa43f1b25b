"""Which version of a model is ``stable``, which one ``canary`` beside it, and what changes that."""

import os
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from darkroom.serving import files, pushed_files
from darkroom.serving.pushed_files import CONFIG_FILE, Rollout, RolloutError, VersionNote

_LOCK_FILE = "models.config.lock"
_NAMED = 5  # versions in a message


class Version(NamedTuple):
    """A version on disk."""

    number: int
    folder: Path
    label: str  # stable, canary, or empty
    note: VersionNote | None  # None where the Pusher wrote nothing


# These take a model's folder, which has a folder for each version and is named as the model.


def versions(model_folder: Path) -> list[Path]:
    """The folders of the versions, newest first, as a model server sees them."""
    if not model_folder.is_dir():
        return []
    numbered = [p for p in model_folder.iterdir() if re.fullmatch("[0-9]+", p.name) and p.is_dir()]
    return sorted(numbered, key=lambda path: int(path.name), reverse=True)


def config_path(model_folder: Path) -> Path:
    """The model config file, beside a model's folder."""
    return model_folder.parent / CONFIG_FILE


def read(model_folder: Path) -> Rollout | None:
    """Reads the model config file; None without one; raises RolloutError where it is damaged."""
    on_disk = _numbers(versions(model_folder))
    return Rollout.parse(_read_text(model_folder), str(model_folder), on_disk)


def listed(model_folder: Path) -> list[Version]:
    """The versions on disk, newest first, with their labels; raises RolloutError without any."""
    paths, current = _pushed(model_folder), read(model_folder)
    return [
        Version(number, path, current.label(number) if current else "", VersionNote.of(path))
        for number, path in zip(_numbers(paths), paths, strict=True)
    ]


def served_version(model_folder: Path) -> Path:
    """The stable version's folder, else the newest's; raises RolloutError where that is missing."""
    paths, current = _pushed(model_folder), read(model_folder)
    if current is None:
        return paths[0]
    on_disk = _numbers(paths)
    if current.stable in on_disk:
        return paths[on_disk.index(current.stable)]
    raise RolloutError(
        f"Version {current.stable}, which {config_path(model_folder)} says is stable, is not in "
        f"{model_folder}. Choose another with darkroom promote VERSION; {_listing(on_disk)}."
    )


def admit(model_folder: Path, version: int, as_canary: bool) -> Rollout:
    """Gives a newly pushed version its label, as ``admitted`` says."""
    return _change(model_folder, partial(admitted, version=version, as_canary=as_canary))


def promote(model_folder: Path, version: int | None = None, as_canary: bool = False) -> Rollout:
    """Makes a version (default: canary, or newest) stable or canary; raises RolloutError."""

    def promoted(current: Rollout | None, on_disk: Sequence[int]) -> Rollout:
        current = current or _assumed(on_disk)
        chosen = version
        if chosen is None:
            chosen = on_disk[0] if as_canary or current.canary is None else current.canary
        if chosen not in on_disk:
            raise RolloutError(f"There is no version {chosen}; {_listing(on_disk)}.")
        if not as_canary:
            return current.with_stable(chosen)
        if chosen == current.stable:
            reason = f"a canary is another one beside it; {_listing(on_disk)}"
            raise RolloutError(f"Version {chosen} is stable, and {reason}.")
        return current.with_canary(chosen)

    return _change(model_folder, promoted)


def roll_back(model_folder: Path) -> Rollout:
    """Makes the last stable version stable again, without a canary; raises RolloutError if none."""

    def rolled_back(current: Rollout | None, on_disk: Sequence[int]) -> Rollout:
        current = current or _assumed(on_disk)
        previous = current.previous(on_disk)
        if previous is None:
            raise RolloutError(
                f"There is nothing to roll back to: no version that was stable before "
                f"{current.stable} is left. darkroom promote VERSION makes any version stable; "
                f"{_listing(on_disk)}."
            )
        before = current.before[: current.before.index(previous)]
        return replace(current, stable=previous, canary=None, before=before)

    return _change(model_folder, rolled_back)


def readdress(model_folder: Path) -> None:
    """Has the model config file name the folder where it is, should somebody have moved it.

    Raises RolloutError where the file is damaged, and an OSError where it can't be written.
    """
    if pushed_files.is_elsewhere(_read_text(model_folder), str(model_folder)):
        _change(model_folder, lambda current, on_disk: current or _assumed(on_disk))


def remove_old(model_folder: Path, keep: int, remove: Callable[[Path], None]) -> None:
    """Has the versions that are ``removable`` taken out of sight, each in one step."""
    with files.locked(model_folder.parent / _LOCK_FILE):
        paths = {int(path.name): path for path in versions(model_folder)}
        for version in removable(list(paths), keep, read(model_folder)):
            remove(paths[version])


# These work on numbers only. ``current`` is what is served, None where no file says it: then it is
# the newest version. ``on_disk`` are the versions on disk, newest first.


def admitted(
    current: Rollout | None, on_disk: Sequence[int], version: int, as_canary: bool
) -> Rollout:
    """What is served when a version has been pushed, which is among those on disk.

    As a canary it waits for ``promote``; the first version ever doesn't. A version that had a label
    before is left as it is: somebody may have rolled it back.
    """
    if current is None:
        current = _assumed([v for v in on_disk if v != version] or on_disk)
    if version <= current.newest:
        return current
    if as_canary and current.stable in on_disk:
        return current.with_canary(version)
    return current.with_stable(version)


def removable(on_disk: Sequence[int], keep: int, current: Rollout | None) -> list[int]:
    """Versions older than the newest ``keep``, but those served and what rolling back leads to."""
    needed = () if current is None else (*current.served, current.previous(on_disk))
    return [version for version in on_disk[keep:] if version not in needed]


def next_number(on_disk: Collection[int], current: Rollout | None, now: float) -> int:
    """The number of a new version: ``now``, seconds since 1970, or one more than any before."""
    named = (0,) if current is None else (current.newest, *current.served, *current.before)
    return max(int(now), max((*on_disk, *named)) + 1)


def _assumed(on_disk: Sequence[int]) -> Rollout:
    return Rollout(on_disk[0], None, tuple(sorted(on_disk[1:])), on_disk[0])


def _change(
    model_folder: Path, change: Callable[[Rollout | None, Sequence[int]], Rollout]
) -> Rollout:
    """Changes the model config file under a lock, so that nobody's change is lost."""
    _pushed(model_folder)  # before a lock file is made
    with files.locked(model_folder.parent / _LOCK_FILE):
        on_disk = _numbers(_pushed(model_folder))
        text = _read_text(model_folder)
        current = Rollout.parse(text, str(model_folder), on_disk)
        if current is not None and current.canary not in on_disk:
            current = replace(current, canary=None)  # somebody has removed it
        changed = change(current, on_disk)
        before = tuple(version for version in changed.before if version in on_disk)
        changed = replace(changed, before=before)
        text = changed.render(os.path.abspath(model_folder), text)
        files.replace(config_path(model_folder), text)
        return changed


def _pushed(model_folder: Path) -> list[Path]:
    paths = versions(model_folder)
    if not paths:
        raise RolloutError(f"No model has been pushed to {model_folder}. Run darkroom run first.")
    return paths


def _numbers(paths: Sequence[Path]) -> list[int]:
    return [int(path.name) for path in paths]


def _listing(on_disk: Sequence[int]) -> str:
    older = f" and {len(on_disk) - _NAMED} older ones" if len(on_disk) > _NAMED else ""
    verb = "is" if len(on_disk) == 1 else "are"
    return f"there {verb} {', '.join(map(str, on_disk[:_NAMED]))}{older}"


def _read_text(model_folder: Path) -> str:
    path = config_path(model_folder)
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise RolloutError(f"{path} can't be read: {reason}.") from error
