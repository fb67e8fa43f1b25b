"""What is private of Beam."""

import inspect
import os
import sys
import types
import weakref
from collections.abc import Callable

from apache_beam.portability import python_urns
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.worker import sdk_worker_main
from apache_beam.transforms import core
from google.protobuf import json_format, text_format

from darkroom.components.base import processes

_inspect: Callable[[object], inspect.Signature] = core.get_signature
_Signatures = weakref.WeakKeyDictionary[types.FunctionType, inspect.Signature]
_signatures: dict[bool, _Signatures] = {True: _Signatures(), False: _Signatures()}


def remember_signatures() -> None:
    """Has Beam look at the signature of a function once.

    It asks again and again while it makes its pipelines, of TFMA's some thousand functions 160,000
    times in a run: a tenth of the time that a run on few images takes.
    """
    core.get_signature = _signature


def _signature(function: object) -> inspect.Signature:
    is_bound = isinstance(function, types.MethodType)
    key = function.__func__ if isinstance(function, types.MethodType) else function
    if not isinstance(key, types.FunctionType):
        return _inspect(function)
    known = _signatures[is_bound]
    if key not in known:  # without self where it is bound
        known[key] = _inspect(function)
    return known[key]


@worker_handlers.WorkerHandler.register_environment(python_urns.SUBPROCESS_SDK, bytes)
class ForkedWorkerHandler(worker_handlers.SubprocessSdkWorkerHandler):
    """A process of the direct runner's multi_processing, forked where there is a fork server.

    Beam starts it anew for each of its pipelines, which takes as long as TFX's imports. Which class
    stands for such a process is in a register of Beam's own.
    """

    _forked: processes.Forked | None = None

    def start_worker(self) -> None:
        text = text_format.MessageToString
        options = self.provision_info.provision_info.pipeline_options
        environment = {
            **os.environ,
            "CONTROL_API_SERVICE_DESCRIPTOR": text(self.control_api_service_descriptor()),
            "LOGGING_API_SERVICE_DESCRIPTOR": text(self.logging_api_service_descriptor()),
            "PIPELINE_OPTIONS": json_format.MessageToJson(options),
            "WORKER_ID": self.worker_id,
        }
        module, output = sdk_worker_main.__name__, sys.stderr.fileno()
        self._forked = processes.forked(module, [], environment, output)
        if self._forked is None:
            super().start_worker()

    def stop_worker(self) -> None:
        if self._forked is None:
            super().stop_worker()
        else:
            self._forked.wait()
