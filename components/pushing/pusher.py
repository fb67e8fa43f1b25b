"""The Pusher node: a blessed model becomes a version that a model server sees whole or not."""

import json
import os
import time
from pathlib import Path
from typing import Any

from absl import logging
from tfx import types
from tfx.components import Pusher as StockPusher
from tfx.components.pusher import executor as pusher
from tfx.dsl.components.base import executor_spec
from tfx.dsl.io import fileio
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils
from tfx.utils import io_utils, proto_utils

from darkroom.components.base import remote, results
from darkroom.components.base.settings import PusherSettings
from darkroom.components.pushing import push, versions
from darkroom.serving import pushed_files, rollout
from darkroom.serving.pushed_files import Rollout, VersionNote

_BLESSINGS = ("model_blessing", "infra_blessing")


class Executor(pusher.Executor):
    """TFX's Pusher, which copies into the watched folder file by file, made atomic."""

    def CheckBlessing(self, input_dict: dict[str, list[types.Artifact]]) -> bool:
        """Whether all blessings say yes; one that is connected and missing says no."""
        missing = [key for key in _BLESSINGS if key in input_dict and not input_dict[key]]
        return not missing and bool(super().CheckBlessing(input_dict))

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Pushes the model, gives it its label, and removes old versions.

        The version is the time in seconds, or one more than the newest where the clock went back.
        A model that is the newest version already keeps that number.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        pushed_model = artifact_utils.get_single_instance(output_dict["pushed_model"])
        if not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed_model)
            # As of TFX's NOT_BLESSED: an artifact without any file can't be handed on everywhere.
            io_utils.write_string_file(os.path.join(pushed_model.uri, "NOT_PUSHED"), "")
            return
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(exec_properties["push_destination"], destination)
        base = destination.filesystem.base_directory
        serving = PusherSettings.unpack(exec_properties["custom_config"])
        model_path = self.GetModelPath(input_dict)
        # TFX's contract: the artifact holds the pushed model too. First, so that nothing that can
        # fail comes after the version is in place.
        io_utils.copy_dir(model_path, pushed_model.uri)
        put = _push_to_remote if remote.is_remote(base) else _push_to_disk
        note = self._note(input_dict)
        version = put(base.rstrip("/"), remote.fetch(model_path), note, serving)
        target = os.path.join(base, str(version))
        logging.info("Model pushed to %s.", target)
        self._MarkPushed(pushed_model, pushed_destination=target, pushed_version=str(version))

    def _note(self, input_dict: dict[str, list[types.Artifact]]) -> VersionNote:
        """What is worth knowing of a version, whoever copies it elsewhere."""
        # Without a model, it is the infra blessing that holds it.
        model = (input_dict.get("model") or input_dict["infra_blessing"])[0]
        verdict: dict[str, Any] = {}
        for blessing in input_dict.get("model_blessing", []):
            verdict = json.loads(
                blessing.get_string_custom_property(results.VERDICT_PROPERTY) or "{}"
            )
        return VersionNote(
            run=self._context.pipeline_run_id if self._context else None,
            model={"id": model.id, "uri": remote.origin(model.uri)},
            metrics=verdict.get("metrics", {}),
            remarks=verdict.get("remarks", []),
        )


def _push_to_disk(base: str, source: Path, note: VersionNote, serving: PusherSettings) -> int:
    return push.push(Path(os.path.abspath(base)), source, note, serving)


def _push_to_remote(base: str, source: Path, note: VersionNote, serving: PusherSettings) -> int:
    """The same in a bucket, where nothing can be renamed in one step, locked or synced.

    A model server that goes by the model config file still sees whole versions only, as that file
    names a version when it is whole, and is itself replaced as a whole. One that takes the newest
    folder may try too early, and tries again. Two pushes at the same time are not kept apart.
    """
    fileio.makedirs(base)
    config_path = os.path.join(os.path.dirname(base), pushed_files.CONFIG_FILE)
    text = _read(config_path) if fileio.exists(config_path) else ""
    there = [int(name) for name in versions.versions(base)]
    current = Rollout.parse(text, base, there)
    fingerprint = push.fingerprint_of(source)
    newest = versions.note(f"{base}/{there[0]}") if there else None
    if newest is not None and newest.fingerprint == fingerprint:
        version = there[0]
    else:
        now = time.time()
        # What a killed push left has its number for good.
        taken = [int(name) for name in remote.names(base) if name.isdigit()]
        version = rollout.next_number(taken, current, now)
        target = os.path.join(base, str(version))
        # Without its graph no folder is taken for a model: the graph comes last.
        io_utils.copy_dir(str(source), target, deny_regex_patterns=[r"saved_model\.pb$"])
        note = note.numbered(version, now, fingerprint)
        _write(os.path.join(target, VersionNote.PATH), note.text())
        io_utils.copy_file(str(source / versions.GRAPH), os.path.join(target, versions.GRAPH))
        there.insert(0, version)
    beside = os.path.dirname(base)
    batching = pushed_files.batching(serving.batching)
    _write(os.path.join(beside, pushed_files.BATCHING_FILE), batching)
    _write(os.path.join(beside, pushed_files.MONITORING_FILE), pushed_files.MONITORING)
    admitted = rollout.admitted(current, version, there, serving.rollout == "canary")
    _write(config_path, admitted.render(base, text))
    for old in rollout.removable(there, serving.keep_versions, admitted):
        fileio.rmtree(os.path.join(base, str(old)))
    return version


def _read(path: str) -> str:
    with fileio.open(path, "r") as file:
        return str(file.read())


def _write(path: str, text: str) -> None:
    fileio.makedirs(os.path.dirname(path))
    with fileio.open(path, "w") as file:
        file.write(text)


class Pusher(StockPusher):
    """TFX's component with the executor above.

    Its ``custom_config`` is the section ``serving``, as ``settings.pack`` gives it. Where both
    ``model_blessing`` and ``infra_blessing`` are connected, a model needs both.
    """

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
