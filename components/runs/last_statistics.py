"""What earlier runs made, found in folders: for platforms whose nodes can't ask ML Metadata.

On Kubeflow Pipelines a container gets artifacts and parameters, and no connection to the store, and
TFX's Resolver, which needs one, runs nowhere but on Vertex. These nodes stand in its place. They
always make an artifact, as every output exists there, so they say on it whether they found any.
"""

import json
import os
import time
from collections.abc import Sequence
from typing import Any, ClassVar

from tfx import types
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.dsl.io import fileio
from tfx.types import component_spec, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter
from tfx.utils import io_utils, path_utils

from darkroom.components.base import remote, results
from darkroom.components.pushing import versions
from darkroom.components.runs.contract import comparable, contract
from darkroom.serving.pushed_files import VersionNote

_NOTE = "found.json"
_SOURCE = "source.json"
# Statistics of so many runs stay in the folder: the last, and some for runs side by side.
_KEPT = 5


def found(artifacts: Sequence[types.Artifact] | None) -> list[types.Artifact]:
    """Without those that only say that nothing was found."""
    return [
        artifact
        for artifact in artifacts or []
        if not artifact.has_custom_property(results.FOUND_PROPERTY)
        or artifact.get_int_custom_property(results.FOUND_PROPERTY)
    ]


class StatisticsExecutor(base_executor.BaseExecutor):
    """Hands on a copy of the statistics before the candidate, and keeps one of the candidate."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """A run that is tried again finds what it found the first time."""
        [candidate], [statistics] = input_dict["candidate"], output_dict["statistics"]
        folder = exec_properties["folder"]
        kept = sorted(int(name) for name in remote.names(folder) if name.isdigit())
        texts = {number: _read(os.path.join(folder, str(number), _SOURCE)) for number in kept}
        sources = {number: json.loads(text) for number, text in texts.items()}
        own = [number for number in kept if sources[number].get("uri") == candidate.uri]
        before = [n for n in kept if sources[n] and n not in own and n < min(own, default=n + 1)]
        if before:
            source = sources[before[-1]]
            io_utils.copy_dir(os.path.join(folder, str(before[-1])), statistics.uri)
            statistics.split_names = source["split_names"]
        _say(statistics, sources[before[-1]]["uri"] if before else None)
        if not own:
            number = max([time.time_ns(), *(n + 1 for n in kept)])
            target = os.path.join(folder, str(number))
            io_utils.copy_dir(candidate.uri, target)
            # Last: a folder without it is not whole.
            noted = {"uri": candidate.uri, "split_names": candidate.split_names}
            _write(os.path.join(target, _SOURCE), noted)
            for old in [*kept, number][:-_KEPT]:
                fileio.rmtree(os.path.join(folder, str(old)))


class BaselineExecutor(base_executor.BaseExecutor):
    """Hands on a copy of the newest pushed version that the candidate can be compared with."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """What is pushed was blessed, and is whole wherever its run's artifacts are."""
        [candidate], [model] = input_dict["candidate"], output_dict["model"]
        own = contract(path_utils.serving_model_path(candidate.uri))
        version = None
        base = exec_properties["folder"]
        for number in versions.versions(base):  # the newest first
            folder = os.path.join(base, number)
            note = VersionNote.parse(_read(os.path.join(folder, VersionNote.PATH)))
            is_own = note and note.model and note.model["uri"] == candidate.uri
            if not is_own and comparable(contract(folder), own):
                version = folder
                break
        if version is not None:
            io_utils.copy_dir(version, path_utils.serving_model_dir(model.uri))
        _say(model, version)


def _say(artifact: types.Artifact, source: str | None) -> None:
    """Whether something was found; also in a file, as a folder without any can't be handed on."""
    artifact.set_int_custom_property(results.FOUND_PROPERTY, int(source is not None))
    _write(os.path.join(artifact.uri, _NOTE), {"from": source})


def _read(path: str) -> str:
    """The text of a JSON file; of an empty object where there is none."""
    try:
        return remote.read(path).decode()
    except FileNotFoundError:
        return "{}"


def _write(path: str, value: dict[str, Any]) -> None:
    fileio.makedirs(os.path.dirname(path))
    with fileio.open(path, "w") as file:
        file.write(json.dumps(value))


class LastStatisticsSpec(component_spec.ComponentSpec):
    """The contract of LastStatistics."""

    PARAMETERS: ClassVar[dict[str, ExecutionParameter]] = {"folder": ExecutionParameter(type=str)}
    INPUTS: ClassVar[dict[str, ChannelParameter]] = {
        "candidate": ChannelParameter(type=standard_artifacts.ExampleStatistics)
    }
    OUTPUTS: ClassVar[dict[str, ChannelParameter]] = {
        "statistics": ChannelParameter(type=standard_artifacts.ExampleStatistics)
    }


class LastStatistics(base_component.BaseComponent):
    """The statistics of the last run's examples, as ``statistics``."""

    SPEC_CLASS = LastStatisticsSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(StatisticsExecutor)

    def __init__(self, candidate: types.BaseChannel, folder: str):
        """Looks for what is older than ``candidate``, this run's own, in a folder of its own."""
        made = types.Channel(type=standard_artifacts.ExampleStatistics)
        super().__init__(LastStatisticsSpec(candidate=candidate, folder=folder, statistics=made))


class BaselineSpec(component_spec.ComponentSpec):
    """The contract of Baseline."""

    PARAMETERS: ClassVar[dict[str, ExecutionParameter]] = {"folder": ExecutionParameter(type=str)}
    INPUTS: ClassVar[dict[str, ChannelParameter]] = {
        "candidate": ChannelParameter(type=standard_artifacts.Model)
    }
    OUTPUTS: ClassVar[dict[str, ChannelParameter]] = {
        "model": ChannelParameter(type=standard_artifacts.Model)
    }


class Baseline(base_component.BaseComponent):
    """The model to beat, as ``model``: the newest that was pushed before ``candidate``."""

    SPEC_CLASS = BaselineSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(BaselineExecutor)

    def __init__(self, candidate: types.BaseChannel, folder: str):
        """Looks among the pushed versions in ``folder``."""
        made = types.Channel(type=standard_artifacts.Model)
        super().__init__(BaselineSpec(candidate=candidate, folder=folder, model=made))
