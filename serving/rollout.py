"""Which version of a model is served: ``stable`` and, beside it, ``canary``.

The one place that says so is the model config file that the model server reads: ``models.config``
beside the model's folder. What the server doesn't need (which versions were stable before, which
was the highest) stands in a comment of that file, so that a single rename changes all of it, and
whoever is killed leaves the old state or the new one. Which version was stable before is written
down, and not taken to be the next older one: that may be the one that was rolled back from before
a newer one came.

Light to import: neither TensorFlow nor TFX.
"""

import json
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from darkroom.serving import files
from darkroom.serving.predictor import PredictionError, read_json, versions
from darkroom.serving.server.flags import METRICS_PATH
from darkroom.serving.signatures import CANARY, STABLE

CONFIG_FILE = "models.config"
BATCHING_FILE = "batching.config"
MONITORING_FILE = "monitoring.config"
# Below a version's folder; written by the Pusher.
NOTE_PATH = "assets.extra/pushed.json"

_LOCK_FILE = "models.config.lock"
_PLATFORM = "tensorflow"
_STATE = "# Noted for darkroom promote and rollback: "
_HEADING = "# Written by darkroom; model servers read it again every second.\n"
# Versions that a message names.
_NAMED = 5

MONITORING = f'prometheus_config {{\n  enable: true\n  path: "{METRICS_PATH}"\n}}\n'

# What a model server is told of the files that the Pusher writes beside the versions.
FILE_FLAGS = {
    "model_config_file": CONFIG_FILE,
    "batching_parameters_file": BATCHING_FILE,
    "monitoring_config_file": MONITORING_FILE,
}
SERVER_FLAGS = ("--enable_batching", "--model_config_file_poll_wait_seconds=1")


class RolloutError(PredictionError):
    """A sentence for the user: no such version, nothing to go back to, or a damaged file."""


@dataclass(frozen=True)
class Rollout:
    """Which versions a model server is told to serve."""

    stable: int
    canary: int | None = None
    before: tuple[int, ...] = ()  # were stable before, the last one last
    newest: int = 0  # the highest that ever was stable or canary

    @property
    def served(self) -> tuple[int, ...]:
        """The versions that have a label."""
        return (self.stable,) if self.canary is None else (self.stable, self.canary)

    @property
    def loaded(self) -> tuple[int, ...]:
        """The versions that a model server loads: with the one that rolling back leads to.

        TensorFlow Serving moves a label only to a version that it has loaded already. A version
        higher than the stable one is left out, as it would get the requests that name none.
        """
        back = [version for version in self.before[-1:] if version < self.stable]
        return (*back, *self.served)

    @property
    def labels(self) -> dict[str, int]:
        """Each label's version."""
        return dict(zip((STABLE, CANARY), self.served, strict=False))

    def label(self, version: int) -> str:
        """``stable``, ``canary``, or an empty string."""
        return next((label for label, own in self.labels.items() if own == version), "")

    def __str__(self) -> str:
        beside = "" if self.canary is None else f", version {self.canary} is the canary"
        return f"Version {self.stable} is stable{beside}."

    def describe(self, version: int) -> str:
        """In words, how a version is served, and if another is, which."""
        label = self.label(version)
        if label == STABLE:
            return STABLE
        return f"{label or 'not served'}; version {self.stable} is stable"

    def previous(self, there: Collection[int]) -> int | None:
        """What rolling back leads to.

        Args:
          there: the versions that are on disk.
        """
        return next((version for version in reversed(self.before) if version in there), None)

    def with_stable(self, version: int) -> "Rollout":
        """Another stable version. The canary, which was compared with the old one, goes."""
        before = self.before
        if version != self.stable:
            others = (v for v in before if v not in (version, self.stable))
            before = (*others, self.stable)
        return Rollout(version, None, before, max(self.newest, version))

    def with_canary(self, version: int) -> "Rollout":
        """A version beside the stable one."""
        return replace(self, canary=version, newest=max(self.newest, version))


class Version(NamedTuple):
    """A version on disk."""

    number: int
    folder: Path
    label: str  # stable, canary, or empty
    note: dict[str, Any]  # what the Pusher wrote down of it; empty where it wrote nothing


def config_path(model_folder: Path) -> Path:
    """The model config file of a model's folder."""
    return model_folder.parent / CONFIG_FILE


def read(model_folder: Path) -> Rollout | None:
    """What a model server is told; None where nothing is.

    Args:
      model_folder: that of the versions, named as the model.

    Raises:
      RolloutError: the file is damaged.
    """
    text = _read_text(model_folder)
    return parse(text, str(model_folder), [v.number for v in _on_disk(model_folder)])


def listed(model_folder: Path) -> list[Version]:
    """The versions on disk, newest first, with their labels.

    Raises:
      RolloutError: there is none, or the model config file is damaged.
    """
    there, current = _there(model_folder), read(model_folder)
    if current is None:
        return there
    return [version._replace(label=current.label(version.number)) for version in there]


def served_version(model_folder: Path) -> Path:
    """The folder of the stable version; of the newest, where nothing says which is stable.

    Raises:
      RolloutError: it isn't there, or nothing has been pushed.
    """
    there, current = _there(model_folder), read(model_folder)
    if current is None:
        return there[0].folder
    for version in there:
        if version.number == current.stable:
            return version.folder
    raise RolloutError(
        f"Version {current.stable}, which {config_path(model_folder)} says is stable, is not in "
        f"{model_folder}. Choose another with darkroom promote VERSION; "
        f"{_names([version.number for version in there])}."
    )


def admit(model_folder: Path, version: int, as_canary: bool) -> Rollout:
    """Gives a newly pushed version its label, as ``admitted`` says."""
    return _change(
        model_folder, lambda current, there: admitted(current, version, there, as_canary)
    )


def promote(model_folder: Path, version: int | None = None, as_canary: bool = False) -> Rollout:
    """Makes a version stable, or the canary, as ``promoted`` says."""
    return _change(
        model_folder, lambda current, there: promoted(current, version, there, as_canary)
    )


def roll_back(model_folder: Path) -> Rollout:
    """Makes the version stable that was so before, as ``rolled_back`` says."""
    return _change(model_folder, rolled_back)


def admitted(current: Rollout | None, version: int, there: list[int], as_canary: bool) -> Rollout:
    """What is served when a version has been pushed.

    A version that had a label before is left as it is: somebody may have rolled it back.

    Args:
      current: what is served; None where no file says it.
      version: the pushed one.
      there: the versions on disk, newest first, and this one among them.
      as_canary: whether it waits for ``promote``; the first version ever doesn't.
    """
    if current is None:
        current = _assumed([v for v in there if v != version] or there)
    if version <= current.newest:
        return current
    if as_canary and current.stable in there:
        return current.with_canary(version)
    return current.with_stable(version)


def promoted(
    current: Rollout | None, version: int | None, there: list[int], as_canary: bool = False
) -> Rollout:
    """What is served when a version has been made stable, or the canary.

    Args:
      current: what is served; None where no file says it.
      version: None: the canary, or the newest where there is none.
      there: the versions on disk, newest first.
      as_canary: only as a canary, beside the stable version.

    Raises:
      RolloutError: there is no such version, or the stable one was to be the canary.
    """
    current = current or _assumed(there)
    if version is None:
        version = there[0] if as_canary or current.canary is None else current.canary
    if version not in there:
        raise RolloutError(f"There is no version {version}; {_names(there)}.")
    if not as_canary:
        return current.with_stable(version)
    if version == current.stable:
        raise RolloutError(
            f"Version {version} is stable, and a canary is another one beside it; {_names(there)}."
        )
    return current.with_canary(version)


def rolled_back(current: Rollout | None, there: list[int]) -> Rollout:
    """What is served when the version that was stable before is so again; the canary goes.

    Args:
      current: what is served; None where no file says it.
      there: the versions on disk, newest first.

    Raises:
      RolloutError: there is nothing to go back to.
    """
    current = current or _assumed(there)
    previous = current.previous(there)
    if previous is None:
        raise RolloutError(
            f"There is nothing to roll back to: no version that was stable before {current.stable} "
            f"is left. darkroom promote VERSION makes any version stable; {_names(there)}."
        )
    before = current.before[: current.before.index(previous)]
    return replace(current, stable=previous, canary=None, before=before)


def remove_old(model_folder: Path, keep: int, remove: Callable[[Path], None]) -> None:
    """Removes old versions, and none that is served or that rolling back would lead to.

    Args:
      model_folder: that of the versions.
      keep: so many of the newest stay.
      remove: is told each folder, and takes it out of sight in one step.
    """
    with files.locked(model_folder.parent / _LOCK_FILE):
        current = read(model_folder)
        there = _on_disk(model_folder)
        for version in removable([v.number for v in there], keep, current):
            remove(next(v.folder for v in there if v.number == version))


def removable(there: list[int], keep: int, current: Rollout | None) -> list[int]:
    """The versions that ``remove_old`` removes.

    Args:
      there: those on disk, newest first.
      keep: so many of the newest stay.
      current: what is served.
    """
    needed = () if current is None else (*current.served, current.previous(there))
    return [version for version in there[keep:] if version not in needed]


def next_number(there: Collection[int], current: Rollout | None, now: float) -> int:
    """The number of a new version: the time, or one more than any before where the clock went back.

    Args:
      there: the versions on disk.
      current: what is served; no number that it ever named is used again.
      now: seconds since 1970.
    """
    named = (0,) if current is None else (current.newest, *current.served, *current.before)
    return max(int(now), max((*there, *named)) + 1)


def parse(text: str, model_folder: str, there: Collection[int] = ()) -> Rollout | None:
    """Reads a model config file.

    Args:
      text: of the file.
      model_folder: whose last part is the model's name.
      there: the versions on disk, of which older ones count as stable before where the file
        doesn't say it, as one that a person wrote.

    Returns:
      None where it says nothing of this model.

    Raises:
      RolloutError: it is damaged.
    """
    if not text:  # as before the first push, or where only the command line's core is installed
        return None
    name = os.path.basename(model_folder)
    entries = _parse(text, model_folder).model_config_list.config
    entry = next((entry for entry in entries if entry.name == name), None)
    if entry is None:
        return None
    labels = dict(entry.version_labels)
    stable = labels.get(STABLE, max(entry.model_version_policy.specific.versions, default=None))
    if stable is None:
        return None
    canary = labels.get(CANARY)
    noted = _noted(text)
    before = noted.get("before")
    if before is None:
        before = sorted(version for version in there if version < stable)
    newest = max(stable, canary or 0, *before, noted.get("newest", 0))
    before = tuple(version for version in before if version != stable)
    return Rollout(stable, None if canary == stable else canary, before, newest)


def render(current: Rollout, model_folder: str, text: str = "") -> str:
    """Writes a model config file.

    Args:
      current: what is to be served.
      model_folder: absolute; its last part is the model's name.
      text: the file as it was: of the model it keeps what is not written here, such as
        ``logging_config``, and it keeps other models.

    Raises:
      RolloutError: the file as it was is damaged.
    """
    from google.protobuf import text_format

    config = _parse(text, model_folder)
    entries, name = config.model_config_list.config, os.path.basename(model_folder)
    entry = next((entry for entry in entries if entry.name == name), None)
    if entry is None:
        entry = entries.add(name=name)
    entry.base_path, entry.model_platform = model_folder, _PLATFORM
    entry.model_version_policy.Clear()
    entry.model_version_policy.specific.versions.extend(current.loaded)
    # A server refuses the whole file for a single label of a version that it isn't to load.
    own = (STABLE, CANARY)
    others = {
        label: version
        for label, version in entry.version_labels.items()
        if label not in own and version in current.served
    }
    entry.version_labels.clear()
    entry.version_labels.update(others | current.labels)
    state = json.dumps({"before": current.before, "newest": current.newest})
    return f"{_HEADING}{_STATE}{state}\n{text_format.MessageToString(config)}"


def batching(section: Any) -> str:
    """Writes a file of batching parameters, for ``--batching_parameters_file``.

    TensorFlow Serving's own message of them is in no Python package. Threads that the configuration
    leaves empty are left out: the server then takes as many as its own machine has cores.

    Args:
      section: ``serving.batching`` of the configuration.
    """
    names = ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads")
    values = {name: getattr(section, name) for name in names}
    lines = [f"{name} {{ value: {value} }}" for name, value in values.items() if value is not None]
    lines += [f"allowed_batch_sizes: {size}" for size in section.allowed_batch_sizes]
    return "\n".join(lines) + "\n"


def _change(model_folder: Path, change: Callable[[Rollout | None, list[int]], Rollout]) -> Rollout:
    """Changes the file under a lock, so that nobody's change is lost."""
    _there(model_folder)  # before a lock file is made
    with files.locked(model_folder.parent / _LOCK_FILE):
        numbers = [version.number for version in _there(model_folder)]
        text = _read_text(model_folder)
        current = parse(text, str(model_folder), numbers)
        if current is not None and current.canary not in numbers:
            current = replace(current, canary=None)  # somebody has removed it
        changed = change(current, numbers)
        before = tuple(version for version in changed.before if version in numbers)
        changed = replace(changed, before=before)
        folder = os.path.abspath(model_folder)
        files.replace(config_path(model_folder), render(changed, folder, text))
        return changed


def _assumed(there: list[int]) -> Rollout:
    """Where no file says what is served, it is the newest."""
    return Rollout(there[0], None, tuple(sorted(there[1:])), there[0])


def _on_disk(model_folder: Path) -> list[Version]:
    return [
        Version(int(path.name), path, "", read_json(path / NOTE_PATH))
        for path in versions(model_folder)
    ]


def _there(model_folder: Path) -> list[Version]:
    there = _on_disk(model_folder)
    if not there:
        raise RolloutError(f"No model has been pushed to {model_folder}. Run darkroom run first.")
    return there


def _names(there: list[int]) -> str:
    more = f" and {len(there) - _NAMED} older ones" if len(there) > _NAMED else ""
    return f"there {'is' if len(there) == 1 else 'are'} {', '.join(map(str, there[:_NAMED]))}{more}"


def _read_text(model_folder: Path) -> str:
    path = config_path(model_folder)
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise RolloutError(f"{path} can't be read: {reason}.") from error


def _parse(text: str, model_folder: str) -> Any:
    try:
        from google.protobuf import text_format
        from tensorflow_serving.config import model_server_config_pb2
    except ImportError as error:
        raise RolloutError(
            f"Versions and their labels need {error.name}: pip install 'darkroom-tfx[serving]'."
        ) from error
    try:
        return text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    except text_format.ParseError as error:
        place = os.path.join(os.path.dirname(model_folder), CONFIG_FILE)
        raise RolloutError(
            f"{place} is not a model config file: {error}. Mend it; or remove it, and say with "
            "darkroom promote VERSION which version is served."
        ) from error


def _noted(text: str) -> dict[str, Any]:
    """The state in the comment; empty where there is none, or none that can be read."""
    line = next((line for line in text.splitlines() if line.startswith(_STATE)), _STATE + "{}")
    try:
        noted: dict[str, Any] = json.loads(line.removeprefix(_STATE))
        return {"before": list(map(int, noted["before"])), "newest": int(noted["newest"])}
    except (ValueError, TypeError, LookupError):
        return {}
