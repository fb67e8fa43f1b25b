"""The Pusher node: a blessed model becomes a version that a model server sees whole or not."""

import os
import time
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

# Model servers take integer folder names for versions and ignore any other name.
_STAGING_PREFIX = "incoming-"


class Executor(pusher.Executor):
    """TFX's Pusher, which copies into the watched folder file by file, made atomic."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Copies the model beside its place, then renames it into place.

        The version is the time in seconds, or one more than the newest where the clock went back.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        pushed_model = artifact_utils.get_single_instance(output_dict["pushed_model"])
        if not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed_model)
            return
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(exec_properties["push_destination"], destination)
        base = destination.filesystem.base_directory
        fileio.makedirs(base)
        for left_over in _names(base):
            if left_over.startswith(_STAGING_PREFIX):
                fileio.rmtree(os.path.join(base, left_over))
        newest = max((int(name) for name in _names(base) if name.isdigit()), default=0)
        version = str(max(int(time.time()), newest + 1))
        staging = os.path.join(base, _STAGING_PREFIX + version)
        target = os.path.join(base, version)
        model_path = self.GetModelPath(input_dict)
        # TFX's contract: the artifact holds the pushed model too. First, so that nothing that can
        # fail comes after the version is in place.
        io_utils.copy_dir(model_path, pushed_model.uri)
        io_utils.copy_dir(model_path, staging)
        fileio.rename(staging, target)
        logging.info("Model pushed to %s.", target)
        self._MarkPushed(pushed_model, pushed_destination=target, pushed_version=version)


def _names(folder: str) -> list[str]:
    return [name.rstrip("/") for name in fileio.listdir(folder)]


class Pusher(StockPusher):
    """TFX's component with the executor above."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
