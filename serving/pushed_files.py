"""The files that the Pusher writes for model servers, with the versions; light to import."""

import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypedDict

from darkroom.serving.flags import METRICS_PATH
from darkroom.serving.predictor import PredictionError
from darkroom.serving.signatures import CANARY, STABLE

if TYPE_CHECKING:
    from tensorflow_serving.config.model_server_config_pb2 import ModelConfig, ModelServerConfig

CONFIG_FILE = "models.config"
BATCHING_FILE = "batching.config"
MONITORING_FILE = "monitoring.config"
MONITORING = f'prometheus_config {{\n  enable: true\n  path: "{METRICS_PATH}"\n}}\n'

# What a model server is told of them.
FILE_FLAGS = {
    "model_config_file": CONFIG_FILE,
    "batching_parameters_file": BATCHING_FILE,
    "monitoring_config_file": MONITORING_FILE,
}
SERVER_FLAGS = ("--enable_batching", "--model_config_file_poll_wait_seconds=1")

_PLATFORM = "tensorflow"
_HISTORY = "# Noted for darkroom promote and rollback: "
_HEADING = "# Written by darkroom; model servers read it again every second.\n"


class RolloutError(PredictionError):
    """A sentence for the user: no such version, nothing to go back to, or a damaged file."""


@dataclass(frozen=True)
class Rollout:
    """Which versions a model server is told to serve: its model config file.

    What the server doesn't need (``before``, ``newest``) stands there in a comment, so that a
    single rename changes all of it.
    """

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

        TensorFlow Serving moves a label only to a version that it has loaded. One above the stable
        version is left out, as it would get the requests that name none.
        """
        back = [version for version in self.before[-1:] if version < self.stable]
        return (*back, *self.served)

    @property
    def labels(self) -> dict[str, int]:
        return dict(zip((STABLE, CANARY), self.served, strict=False))

    def label(self, version: int) -> str:
        """``stable``, ``canary``, or an empty string."""
        return next((label for label, own in self.labels.items() if own == version), "")

    def __str__(self) -> str:
        beside = "" if self.canary is None else f", version {self.canary} is the canary"
        return f"Version {self.stable} is stable{beside}."

    def describe(self, version: int) -> str:
        """How a version is served, in words; and where another is stable, which."""
        other = f"{self.label(version) or 'not served'}; version {self.stable} is stable"
        return STABLE if version == self.stable else other

    def previous(self, on_disk: Collection[int]) -> int | None:
        """The version that rolling back leads to; None where none is left on disk."""
        return next((version for version in reversed(self.before) if version in on_disk), None)

    def with_stable(self, version: int) -> "Rollout":
        """Another stable version. The canary, which was compared with the old one, goes."""
        others = (v for v in self.before if v not in (version, self.stable))
        before = self.before if version == self.stable else (*others, self.stable)
        return Rollout(version, None, before, max(self.newest, version))

    def with_canary(self, version: int) -> "Rollout":
        return replace(self, canary=version, newest=max(self.newest, version))

    @classmethod
    def parse(cls, text: str, model_folder: str, on_disk: Iterable[int] = ()) -> "Rollout | None":
        """Reads the file's text; None where it says nothing of the model, RolloutError if damaged.

        Older versions on disk count as stable before where the file doesn't say it.
        """
        # There is none before the first push, or where only the command line is installed.
        entry = _parse(text, model_folder)[1] if text else None
        if entry is None:
            return None
        labels = dict(entry.version_labels)
        loaded = entry.model_version_policy.specific.versions
        stable = labels.get(STABLE, max(loaded, default=None))
        if stable is None:
            return None
        canary = labels.get(CANARY)
        before, newest = _history(text) or (sorted(v for v in on_disk if v < stable), 0)
        newest = max(stable, canary or 0, *before, newest)
        others = tuple(version for version in before if version != stable)
        return cls(stable, None if canary == stable else canary, others, newest)

    def render(self, model_folder: str, text: str = "") -> str:
        """Writes the file anew, with what else is in it; raises RolloutError if it is damaged."""
        from google.protobuf import text_format

        config, entry = _parse(text, model_folder)
        if entry is None:
            entry = config.model_config_list.config.add(name=os.path.basename(model_folder))
        entry.base_path, entry.model_platform = model_folder, _PLATFORM
        entry.model_version_policy.Clear()
        entry.model_version_policy.specific.versions.extend(self.loaded)
        # A server refuses the whole file for a single label of a version that it isn't to load.
        others = {
            label: version
            for label, version in entry.version_labels.items()
            if label not in (STABLE, CANARY) and version in self.served
        }
        entry.version_labels.clear()
        entry.version_labels.update(others | self.labels)
        history = json.dumps({"before": self.before, "newest": self.newest})
        return f"{_HEADING}{_HISTORY}{history}\n{text_format.MessageToString(config)}"


def is_elsewhere(text: str, model_folder: str) -> bool:
    """Whether a model config file has the model in another folder."""
    entry = _parse(text, model_folder)[1] if text else None
    return entry is not None and entry.base_path != os.path.abspath(model_folder)


def _parse(text: str, model_folder: str) -> "tuple[ModelServerConfig, ModelConfig | None]":
    """The models of a file, and that of the folder."""
    try:
        from google.protobuf import text_format
        from tensorflow_serving.config import model_server_config_pb2
    except ImportError as error:
        raise RolloutError(
            f"Versions and their labels need {error.name}: pip install 'darkroom-tfx[serving]'."
        ) from error
    try:
        config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    except text_format.ParseError as error:
        path = os.path.join(os.path.dirname(model_folder), CONFIG_FILE)
        raise RolloutError(
            f"{path} is not a model config file: {str(error).rstrip('.')}. Mend it; or remove it, "
            "and say with darkroom promote VERSION which version is served."
        ) from error
    name, models = os.path.basename(model_folder), config.model_config_list.config
    return config, next((model for model in models if model.name == name), None)


def _history(text: str) -> tuple[list[int], int] | None:
    """``before`` and ``newest`` of the comment; None without one, or one that can't be read."""
    line = next((line for line in text.splitlines() if line.startswith(_HISTORY)), _HISTORY)
    try:
        read = json.loads(line.removeprefix(_HISTORY))
        return list(map(int, read["before"])), int(read["newest"])
    except (ValueError, TypeError, LookupError):
        return None


def batching(section: Iterable[tuple[str, int | list[int] | None]]) -> str:
    """Writes ``serving.batching`` as a model server reads it; threads left empty are left out."""
    lines = []
    for name, value in section:
        if isinstance(value, list):
            lines += [f"{name}: {size}" for size in value]
        elif value is not None:
            lines.append(f"{name} {{ value: {value} }}")
    return "\n".join(lines) + "\n"


class ModelReference(TypedDict):
    """The artifact that a version was made of."""

    id: int  # in ML Metadata
    uri: str


@dataclass(frozen=True)
class VersionNote:
    """What is worth knowing of a version, whoever copies it elsewhere."""

    PATH: ClassVar[str] = "assets.extra/pushed.json"  # below the version's folder

    version: int | None = None  # its number; None as long as it has none
    pushed: str = ""  # when, in ISO 8601
    run: str | None = None  # of the pipeline
    model: ModelReference | None = None
    metrics: Mapping[str, float | None] = field(default_factory=dict)  # the Evaluator's
    remarks: Sequence[str] = ()  # the Evaluator's sentences
    fingerprint: str = ""  # by which the same model is recognised

    def numbered(self, version: int, now: float, fingerprint: str) -> "VersionNote":
        """The note of a version that is pushed at ``now``, in seconds since 1970."""
        pushed = datetime.fromtimestamp(now, timezone.utc).isoformat(timespec="seconds")
        return replace(self, version=version, pushed=pushed, fingerprint=fingerprint)

    @classmethod
    def parse(cls, text: str) -> "VersionNote | None":
        """Reads the file's text; None where it is no note."""
        try:
            read = json.loads(text)
            return cls(**{one.name: read[one.name] for one in fields(cls) if one.name in read})
        except (ValueError, TypeError):
            return None

    @classmethod
    def of(cls, version_folder: Path) -> "VersionNote | None":
        """Reads a version's note; None where it has none, or one that can't be read."""
        try:
            return cls.parse((version_folder / cls.PATH).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            return None

    def text(self) -> str:
        return json.dumps(asdict(self), indent=2)
