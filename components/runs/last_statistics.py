"""The LastStatistics node: the statistics of the run before, which the data are held against."""

import os
import time
from typing import ClassVar

from tfx import types
from tfx.dsl.components.base import base_executor, base_node, executor_spec
from tfx.dsl.components.common import resolver
from tfx.dsl.io import fileio
from tfx.types import standard_artifacts
from tfx.utils import io_utils

from darkroom.components.base import remote
from darkroom.components.base.component import Artifacts, Component, Properties
from darkroom.components.base.settings import FolderSettings
from darkroom.components.runs import lookup

# Statistics of so many runs stay in the folder: the last, and some for runs side by side.
_KEPT = 5


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
        """Picks from the artifacts of each key.

        Args:
          store: the metadata store, not used.
          input_dict: all artifacts by key, and the candidate.
        """
        [candidate] = input_dict["candidate"]
        chosen = {"candidate": [candidate]}
        for key, artifacts in input_dict.items():
            if key != "candidate":
                older = [artifact for artifact in artifacts if artifact.id < candidate.id]
                chosen[key] = sorted(older, key=lambda artifact: artifact.id)[-1:]
        return chosen


class StatisticsExecutor(base_executor.BaseExecutor):
    """Hands on a copy of the statistics before the candidate, and keeps one of the candidate."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Properties
    ) -> None:
        """A run that is tried again finds what it found the first time."""
        [candidate], [statistics] = input_dict["candidate"], output_dict["statistics"]
        folder = FolderSettings.unpack(exec_properties["custom_config"]).folder
        kept = sorted(int(name) for name in remote.names(folder) if name.isdigit())
        notes = {
            n: lookup.read(lookup.Source, os.path.join(folder, str(n), lookup.SOURCE_FILE))
            for n in kept
        }
        sources = {number: source for number, source in notes.items() if source is not None}
        own = [number for number, source in sources.items() if source.uri == candidate.uri]
        before = [n for n in sources if n not in own and n < min(own, default=n + 1)]
        if before:
            io_utils.copy_dir(os.path.join(folder, str(before[-1])), statistics.uri)
            statistics.split_names = sources[before[-1]].split_names
        lookup.note_source(statistics, sources[before[-1]].uri if before else None)
        if not own:
            number = max([time.time_ns(), *(n + 1 for n in kept)])
            target = os.path.join(folder, str(number))
            io_utils.copy_dir(candidate.uri, target)
            # Last: a folder without it is not whole.
            source = lookup.Source(uri=candidate.uri, split_names=candidate.split_names)
            lookup.write(os.path.join(target, lookup.SOURCE_FILE), source.model_dump_json())
            for old in [*kept, number][:-_KEPT]:
                fileio.rmtree(os.path.join(folder, str(old)))


class LastStatistics(Component):
    """The statistics of the last run's examples, older than ``candidate``, this run's own."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(StatisticsExecutor)
    INPUTS: ClassVar = {"candidate": standard_artifacts.ExampleStatistics}
    OUTPUTS: ClassVar = {"statistics": standard_artifacts.ExampleStatistics}
