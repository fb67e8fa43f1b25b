"""TensorFlow's profiler over gRPC: what the server does for some seconds, for TensorBoard."""

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import tensorflow as tf
from google.protobuf import descriptor_pb2, text_format
from google.protobuf.message import Message

from darkroom.serving.errors import Code, ServingError, invalid
from darkroom.serving.server import server_config

SERVICE = "tensorflow.ProfilerService"
_MOST_SECONDS = 60  # TensorFlow's client waits no longer, and all of a profile is in memory
_TOOL = "xplane.pb"  # what TensorBoard makes all its tables of

# What is used of TensorFlow's messages: its package has them in C++ only.
_DECLARED = """
name: "darkroom/profiler.proto" package: "tensorflow" syntax: "proto3"
message_type {
  name: "ProfileRequest"
  field { name: "duration_ms" number: 1 type: TYPE_UINT64 label: LABEL_OPTIONAL }
}
message_type {
  name: "ProfileToolData"
  field { name: "name" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "data" number: 2 type: TYPE_BYTES label: LABEL_OPTIONAL }
}
message_type {
  name: "ProfileResponse"
  field {
    name: "tool_data" number: 6 label: LABEL_REPEATED
    type: TYPE_MESSAGE type_name: ".tensorflow.ProfileToolData"
  }
}
"""

if TYPE_CHECKING:

    class ProfileRequest(Message):
        """How long to look."""

        duration_ms: int

    class ProfileResponse(Message):
        """Files, which the client writes."""

else:
    _file = text_format.Parse(_DECLARED, descriptor_pb2.FileDescriptorProto())
    _classes = server_config.declare(_file)
    ProfileRequest, ProfileResponse = _classes["ProfileRequest"], _classes["ProfileResponse"]


async def profile(request: ProfileRequest) -> ProfileResponse:
    """Takes a profile, which the client writes where it wants it: this server writes nothing.

    Raises ServingError where another one is being taken, or the time isn't one.
    """
    if not 0 < request.duration_ms <= _MOST_SECONDS * 1000:
        milliseconds = f"{_MOST_SECONDS * 1000:,}, received {request.duration_ms:,}"
        raise invalid(f"Expected a duration_ms from 1 to {milliseconds}.")
    with tempfile.TemporaryDirectory() as folder:
        try:
            await asyncio.to_thread(tf.profiler.experimental.start, folder)
        except tf.errors.AlreadyExistsError as error:
            raise ServingError(Code.ALREADY_EXISTS, "A profile is being taken already.") from error
        try:
            await asyncio.sleep(request.duration_ms / 1000)
        finally:
            await asyncio.to_thread(tf.profiler.experimental.stop)
        [file] = Path(folder).rglob(f"*.{_TOOL}")
        response = ProfileResponse()
        response.tool_data.add(name=_TOOL, data=file.read_bytes())
        return response
