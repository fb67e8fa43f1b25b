"""What is private of Beam."""

import os
import sys

from apache_beam.portability import python_urns
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.worker import sdk_worker_main
from google.protobuf import json_format, text_format

from darkroom.components.base import processes


@worker_handlers.WorkerHandler.register_environment(python_urns.SUBPROCESS_SDK, bytes)
class ForkedWorkerHandler(worker_handlers.SubprocessSdkWorkerHandler):
    """A process of the direct runner's multi_processing, forked where there is a fork server.

    Beam starts it anew for each of its pipelines, which takes as long as TFX's imports. Which class
    stands for such a process is in a register of Beam's own.
    """

    def start_worker(self) -> None:
        if processes.server is None:
            super().start_worker()
            return
        text = text_format.MessageToString
        options = self.provision_info.provision_info.pipeline_options
        self._forked = processes.server.start(
            sdk_worker_main.__name__,
            [],
            environment={
                **os.environ,
                "CONTROL_API_SERVICE_DESCRIPTOR": text(self.control_api_service_descriptor()),
                "LOGGING_API_SERVICE_DESCRIPTOR": text(self.logging_api_service_descriptor()),
                "PIPELINE_OPTIONS": json_format.MessageToJson(options),
                "WORKER_ID": self.worker_id,
            },
            folder=os.getcwd(),
            stdout=sys.stderr.fileno(),
        )

    def stop_worker(self) -> None:
        if processes.server is None:
            super().stop_worker()
        else:
            self._forked.wait()
