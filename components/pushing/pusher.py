"""The Pusher node: a blessed model becomes a version that a model server sees whole or not."""

import os

from absl import logging
from tfx.components import Pusher as StockPusher
from tfx.components.pusher import executor as pusher
from tfx.dsl.components.base import executor_spec
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils
from tfx.utils import io_utils, proto_utils

from darkroom.components.base import remote
from darkroom.components.base.component import Artifacts, Properties
from darkroom.components.base.settings import PusherSettings
from darkroom.components.evaluation.artifacts import Verdict
from darkroom.components.pushing import version_folder
from darkroom.serving.pushed_files import VersionNote

_BLESSINGS = ("model_blessing", "infra_blessing")


class Executor(pusher.Executor):
    """TFX's Pusher, which copies into the watched folder file by file, made atomic."""

    def CheckBlessing(self, inputs: Artifacts) -> bool:
        """Whether all blessings say yes; one that is connected and missing says no."""
        missing = [key for key in _BLESSINGS if key in inputs and not inputs[key]]
        return not missing and bool(super().CheckBlessing(inputs))

    def Do(self, inputs: Artifacts, outputs: Artifacts, properties: Properties) -> None:
        """Pushes the model, gives it its label, and removes old versions.

        The version is the time in seconds, or one more than the newest where the clock went back. A
        model that is the newest version already keeps that number.
        """
        self._log_startup(inputs, outputs, properties)
        pushed_model = artifact_utils.get_single_instance(outputs["pushed_model"])
        if not self.CheckBlessing(inputs):
            self._MarkNotPushed(pushed_model)
            # As of TFX's NOT_BLESSED: an artifact without any file can't be handed on everywhere.
            io_utils.write_string_file(os.path.join(pushed_model.uri, "NOT_PUSHED"), "")
            return
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(properties["push_destination"], destination)
        base = destination.filesystem.base_directory.rstrip("/")
        settings = PusherSettings.unpack(properties["custom_config"])
        model_path = self.GetModelPath(inputs)
        # TFX's contract: the artifact holds the pushed model too. First, so that nothing that can
        # fail comes after the version is in place.
        io_utils.copy_dir(model_path, pushed_model.uri)
        folder = version_folder.at(base if remote.is_remote(base) else os.path.abspath(base))
        version = folder.push(remote.fetch(model_path), self._note(inputs), settings)
        target = os.path.join(base, str(version))
        logging.info("Model pushed to %s.", target)
        self._MarkPushed(pushed_model, pushed_destination=target, pushed_version=str(version))

    def _note(self, inputs: Artifacts) -> VersionNote:
        # Without a model, it is the infra blessing that holds it.
        model = (inputs.get("model") or inputs["infra_blessing"])[0]
        verdicts = [Verdict.read(b.mlmd_artifact) for b in inputs.get("model_blessing", [])]
        verdict = verdicts[-1] if verdicts else Verdict()
        return VersionNote(
            run=self._context.pipeline_run_id if self._context else None,
            model={"id": model.id, "uri": remote.origin(model.uri)},
            metrics=verdict.metrics,
            remarks=verdict.remarks,
        )


class Pusher(StockPusher):
    """TFX's component with the executor above, and ``PusherSettings`` as its ``custom_config``."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
