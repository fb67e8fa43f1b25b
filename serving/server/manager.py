"""The life of the models that are served: found, loaded, warmed up, swapped, unloaded.

One task in the event loop watches the folders; threads load. A new version is warm before an old
one goes, and that goes when the last request that uses it has its answer.
"""

import asyncio
import dataclasses
import enum
import logging
import os
import random
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import tensorflow as tf

from darkroom.serving.errors import Code, ServingError, invalid
from darkroom.serving.flags import Flags
from darkroom.serving.server import server_config
from darkroom.serving.server.saved_model import Model
from darkroom.serving.server.server_config import ModelConfig, ModelServerConfig
from darkroom.serving.signatures import CANARY, STABLE

_log = logging.getLogger(__name__)
_LARGEST = 2**63 - 1  # int64 on the wire


class State(enum.IntEnum):
    """The state of a version, by TensorFlow Serving's numbers."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclasses.dataclass(eq=False)
class Servable:
    """A version of a model."""

    name: str
    version: int
    path: str
    state: State = State.START
    error: ServingError | None = None  # why the last try to load it failed
    model: Model | None = None  # while AVAILABLE or UNLOADING
    users: int = 0  # requests under way
    tried: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)  # once a load was tried

    def __str__(self) -> str:
        return f"{self.name} version {self.version}"


@dataclasses.dataclass(eq=False)
class _Entry:
    config: ModelConfig
    servables: dict[int, Servable] = dataclasses.field(default_factory=dict)
    wanted: set[int] = dataclasses.field(default_factory=set)  # versions, by the policy
    labels: dict[str, int] = dataclasses.field(default_factory=dict)
    warning: str = ""  # the one logged last

    def available(self) -> list[Servable]:
        return [s for s in self.servables.values() if s.state is State.AVAILABLE]

    def version(self, label: str) -> int:
        if label not in self.labels:
            raise invalid(f"Unrecognized servable version label: {label}")
        return self.labels[label]

    def reasons(self) -> str:
        errors = [str(s.error) for s in self.servables.values() if s.error is not None]
        return "; ".join(filter(None, [*errors, self.warning]))

    def warn(self, message: str) -> None:
        """Logs a message once, however often it comes."""
        if message and message != self.warning:
            _log.warning("%s", message)
        self.warning = message


_ABSENT = _Entry(ModelConfig())  # of a model that isn't configured


class Unavailable(ServingError):
    """Some of the configured models have no version that answers."""


class Manager:
    """All models of a server; its methods belong to the event loop's thread."""

    def __init__(self, load: Callable[[Servable], Model], flags: Flags):
        """Serves nothing yet; ``load`` loads a version and warms it up, in a thread."""
        self._load, self._flags = load, flags
        self._threads = ThreadPoolExecutor(2, "load")
        self._entries: dict[str, _Entry] = {}
        self._changing = asyncio.Lock()
        self._watching: asyncio.Task[None] | None = None
        self._loading: set[asyncio.Task[None]] = set()

    # Requests call these.

    def find(self, name: str, version: int | None = None, label: str = "") -> Servable:
        """The version that a request means, by default the newest; raises ServingError if none."""
        if not name:
            raise invalid("ModelSpec has no name specified.")
        entry = self._entries.get(name, _ABSENT)
        labels = entry.labels
        if version is None and not label and self._flags.canary_share is not None:
            to_canary = CANARY in labels and random.random() < self._flags.canary_share
            label = CANARY if to_canary else STABLE if STABLE in labels else ""
        version = entry.version(label) if label else version
        if version is not None:
            servable = entry.servables.get(version)
            if servable is None or servable.state is not State.AVAILABLE:
                message = f"Servable not found for request: Specific({name}, {version})"
                raise ServingError(Code.NOT_FOUND, message)
            return servable
        available = entry.available()
        if not available:
            raise ServingError(Code.NOT_FOUND, f"Servable not found for request: Latest({name})")
        return max(available, key=lambda servable: servable.version)

    @contextmanager
    def use(self, servable: Servable) -> Iterator[Model]:
        """Gives the version's model, which isn't unloaded meanwhile."""
        assert servable.model is not None
        servable.users += 1
        try:
            yield servable.model
        finally:
            servable.users -= 1
            if not servable.users and servable.state is State.UNLOADING:
                self._end(servable)

    def status(self, name: str, version: int | None = None, label: str = "") -> list[Servable]:
        """A model's versions that are, were or shall be served, newest first; or ServingError."""
        entry = self._entries.get(name, _ABSENT)
        version = entry.version(label) if label else version
        numbers = sorted(entry.servables, reverse=True) if version is None else [version]
        servables = [entry.servables[n] for n in numbers if n in entry.servables]
        if not servables:
            which = "any versions" if version is None else f"version {version}"
            raise ServingError(Code.NOT_FOUND, f"Could not find {which} of model {name}")
        return servables

    def config(self, name: str) -> ModelConfig | None:
        """How a model is configured; None where it isn't."""
        return self._entries[name].config if name in self._entries else None

    def labels(self) -> dict[str, dict[str, int]]:
        """The labels of each configured model, with their versions."""
        return {name: dict(entry.labels) for name, entry in self._entries.items()}

    def ready(self) -> bool:
        """Whether each configured model has a version that answers."""
        return bool(self._entries) and all(entry.available() for entry in self._entries.values())

    # These change what is served.

    async def start(self, config: ModelServerConfig) -> None:
        """Loads what is configured, as ``reload``, and goes on looking for versions.

        A model that can't be loaded is no error.
        """
        try:
            await self.reload(config)
        except Unavailable as error:
            _log.error("%s", error)
        if self._flags.file_system_poll_wait_seconds > 0:
            self._watching = asyncio.create_task(self._watch())

    async def reload(self, config: ModelServerConfig) -> None:
        """Replaces the configuration, and waits until what it names is loaded or has failed.

        Raises Unavailable where a model doesn't answer then; other errors leave all as it was.
        """
        server_config.check(config)
        if config.WhichOneof("config") is None:  # as of a file that is being written
            _log.info("Taking no action for an empty config.")
            return
        async with self._changing:
            models = {model.name: model for model in config.model_config_list.config}
            if not self._flags.allow_version_labels_for_unavailable_models:
                await asyncio.to_thread(_check_labels, models)
            for name in set(self._entries) - set(models):
                for servable in self._entries.pop(name).servables.values():
                    self._unload(servable)
            for name, model in models.items():
                entry = self._entries.setdefault(name, _Entry(model))
                entry.config = model
                for servable in list(entry.servables.values()):
                    if servable.state is State.END and servable.error is not None:
                        del entry.servables[servable.version]  # and so is tried again
            await self._look()
            for entry in self._entries.values():
                for version in entry.wanted:
                    await entry.servables[version].tried.wait()
                self._settle(entry)
            failed = {name: e for name, e in self._entries.items() if not e.available()}
            if reasons := [f"{name}: {entry.reasons()}" for name, entry in failed.items()]:
                message = f"Some models did not become available: {{{', '.join(reasons)}}}"
                raise Unavailable(Code.UNKNOWN, message)

    async def close(self) -> None:
        """Unloads everything; requests under way have their answers already."""
        for task in filter(None, [self._watching, *self._loading]):
            task.cancel()
        for entry in self._entries.values():
            for servable in entry.servables.values():
                self._unload(servable)
        self._threads.shutdown()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._flags.file_system_poll_wait_seconds)
            try:
                async with self._changing:
                    await self._look()
                    for entry in self._entries.values():
                        self._settle(entry)
            except Exception:  # whatever it is, what is served goes on
                _log.exception("Looking for new versions failed.")

    async def _look(self) -> None:
        """Begins to load what should be served and isn't."""
        for entry in self._entries.values():
            try:
                folders = await asyncio.to_thread(version_folders, entry.config.base_path)
            except OSError as error:
                entry.warn(f"Could not look for versions of {entry.config.name}: {error}")
                continue
            wanted, missing = server_config.wanted_versions(entry.config, folders)
            which = f"servable {entry.config.name}"
            where = f"found under base path {entry.config.base_path}"
            if missing:
                asked = f"Versions {sorted(missing)} of {which}, which its version policy asks for"
                entry.warn(f"{asked}, were not {where}")
            else:
                entry.warn("" if folders else f"No versions of {which} {where}")
            entry.wanted = set(wanted)
            for version, path in wanted.items():
                old = entry.servables.get(version)
                if old is None or (old.state is State.END and old.error is None):
                    servable = Servable(entry.config.name, version, path)
                    entry.servables[version] = servable
                    task = asyncio.create_task(self._bring_up(entry, servable))
                    self._loading.add(task)
                    task.add_done_callback(self._loading.discard)
            for version, servable in list(entry.servables.items()):
                if servable.state is State.END and version not in folders:
                    del entry.servables[version]

    async def _bring_up(self, entry: _Entry, servable: Servable) -> None:
        loop = asyncio.get_running_loop()
        for tries in range(self._flags.max_num_load_retries + 1):
            if tries:
                await asyncio.sleep(self._flags.load_retry_interval_micros / 1e6)
                if not self._is_wanted(servable):
                    break
            servable.state = State.LOADING
            try:
                servable.model = await loop.run_in_executor(self._threads, self._load, servable)
            except Exception as error:  # TensorFlow's and the file system's own are many
                if not isinstance(error, ServingError):
                    error = ServingError(Code.UNKNOWN, str(error))
                servable.error = error
                _log.error("Loading %s failed: %s", servable, error)
                servable.tried.set()
                continue
            servable.state, servable.error = State.AVAILABLE, None
            servable.tried.set()
            _log.info("%s is available", servable)
            if self._is_wanted(servable):
                self._settle(entry)
            else:
                self._unload(servable)
            return
        servable.state = State.END
        servable.tried.set()

    def _is_wanted(self, servable: Servable) -> bool:
        entry, version = self._entries.get(servable.name, _ABSENT), servable.version
        return entry.servables.get(version) is servable and version in entry.wanted

    def _settle(self, entry: _Entry) -> None:
        """Moves labels to what is available now, then lets go what isn't wanted any more."""
        labels = {}
        for label, version in entry.config.version_labels.items():
            servable = entry.servables.get(version)
            if servable is not None and servable.state is State.AVAILABLE:
                labels[label] = version
            elif label in entry.labels:
                labels[label] = entry.labels[label]  # what was good before stays good
            elif self._flags.allow_version_labels_for_unavailable_models:
                labels[label] = version
        entry.labels = labels
        if not any(servable.version in entry.wanted for servable in entry.available()):
            return
        for servable in entry.available():
            if servable.version not in entry.wanted | set(labels.values()):
                self._unload(servable)

    def _unload(self, servable: Servable) -> None:
        if servable.state is State.AVAILABLE:
            servable.state = State.UNLOADING
            _log.info("%s is unloaded", servable)
            if not servable.users:
                self._end(servable)

    def _end(self, servable: Servable) -> None:
        model, servable.model = servable.model, None
        servable.state = State.END
        if model is not None:
            self._threads.submit(model.close)  # freeing a large one takes a while


def version_folders(base_path: str) -> dict[int, str]:
    """The folders of a model's versions by number; raises OSError where they can't be listed."""
    try:
        is_remote = "://" in base_path
        # TensorFlow fails at one name that isn't UTF-8.
        names = tf.io.gfile.listdir(base_path) if is_remote else os.listdir(base_path)
    except tf.errors.OpError as error:
        raise OSError(f"{base_path}: {error.message}") from error
    bare = (name.rstrip("/") for name in names)
    return {
        int(name): f"{base_path.rstrip('/')}/{name}"
        for name in bare
        if re.fullmatch("[0-9]+", name) and int(name) <= _LARGEST
    }


def _check_labels(models: Mapping[str, ModelConfig]) -> None:
    """Refuses a label of a version that the model's policy doesn't load."""
    for name, model in models.items():
        if not model.version_labels:
            continue
        try:
            folders = version_folders(model.base_path)
            wanted, _ = server_config.wanted_versions(model, folders)
        except OSError as error:
            raise ServingError(Code.FAILED_PRECONDITION, str(error)) from error
        for label, version in model.version_labels.items():
            if version not in wanted:
                message = f"Request to assign label {label} to version {version} of model {name}, "
                message += "but the version is not currently available for inference."
                raise ServingError(Code.FAILED_PRECONDITION, message)
