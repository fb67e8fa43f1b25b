"""The LastStatistics node: the statistics of the run before, which the data are held against."""

import contextlib
import os
import time
from typing import ClassVar

from pydantic import BaseModel
from tfx import types
from tfx.dsl.components.base import base_executor, base_node, executor_spec
from tfx.dsl.components.common import resolver
from tfx.dsl.io import fileio
from tfx.types import standard_artifacts
from tfx.utils import io_utils

from darkroom.components.base import remote
from darkroom.components.base.component import Artifacts, Component, Properties, note_source
from darkroom.components.base.settings import FolderSettings

# How many runs' statistics stay in the folder: the last one's, and some for runs side by side.
_KEPT = 5
_SOURCE_FILE = "source.json"


class _Source(BaseModel):
    uri: str
    split_names: str  # as TFX's artifact has them, JSON


def last_statistics(
    candidate: types.BaseChannel, settings: FolderSettings | None
) -> base_node.BaseNode:
    """The node; it asks ML Metadata where no ``settings`` name a folder to look in."""
    if settings is not None:
        return LastStatistics(settings, candidate=candidate)
    return resolver.Resolver(
        strategy_class=LatestBefore,
        statistics=types.Channel(type=standard_artifacts.ExampleStatistics),
        candidate=candidate,
    ).with_id("LastStatistics")


class LatestBefore(resolver.ResolverStrategy):
    """The latest artifact that is older than this run's own, the ``candidate``.

    An unchanged run so resolves to what the run before it did, and stays cached.
    """

    def resolve_artifacts(self, store: object, input_dict: Artifacts) -> Artifacts:
        [candidate] = input_dict["candidate"]
        older = [artifact for artifact in input_dict["statistics"] if artifact.id < candidate.id]
        latest = sorted(older, key=lambda artifact: artifact.id)[-1:]
        return {"candidate": [candidate], "statistics": latest}


class StatisticsExecutor(base_executor.BaseExecutor):
    """Hands on a copy of the statistics before the candidate, and keeps one of the candidate."""

    def Do(self, inputs: Artifacts, outputs: Artifacts, properties: Properties) -> None:
        """A run that is tried again finds what it found the first time."""
        [candidate], [statistics] = inputs["candidate"], outputs["statistics"]
        folder = FolderSettings.unpack(properties["custom_config"]).folder
        kept = sorted(int(name) for name in remote.names(folder) if name.isdigit())
        sources = {}
        for number in kept:
            with contextlib.suppress(FileNotFoundError):  # it isn't whole
                note = remote.read(os.path.join(folder, str(number), _SOURCE_FILE))
                sources[number] = _Source.model_validate_json(note)
        own = [number for number, source in sources.items() if source.uri == candidate.uri]
        before = [n for n in sources if n not in own and n < min(own, default=n + 1)]
        if before:
            io_utils.copy_dir(os.path.join(folder, str(before[-1])), statistics.uri)
            statistics.split_names = sources[before[-1]].split_names
        note_source(statistics, sources[before[-1]].uri if before else None)
        if not own:
            number = max([time.time_ns(), *(n + 1 for n in kept)])
            target = os.path.join(folder, str(number))
            io_utils.copy_dir(candidate.uri, target)
            # Last: a folder without it is not whole.
            source = _Source(uri=candidate.uri, split_names=candidate.split_names)
            path = os.path.join(target, _SOURCE_FILE)
            io_utils.write_string_file(path, source.model_dump_json())
            for old in [*kept, number][:-_KEPT]:
                fileio.rmtree(os.path.join(folder, str(old)))


class LastStatistics(Component):
    """The statistics of the last run's examples, older than ``candidate``, this run's own."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(StatisticsExecutor)
    INPUTS: ClassVar = {"candidate": standard_artifacts.ExampleStatistics}
    OUTPUTS: ClassVar = {"statistics": standard_artifacts.ExampleStatistics}
