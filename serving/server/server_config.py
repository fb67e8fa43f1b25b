"""The model server's configuration files, which are text protos.

Only ``ModelServerConfig`` is in the package of TensorFlow Serving's API; the other three are
declared here, field by field as in TensorFlow Serving, so that its files are read unchanged.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypeVar

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from google.protobuf import wrappers_pb2 as wrappers
from google.protobuf.message import Message
from tensorflow_serving.config import model_server_config_pb2

from darkroom.serving.errors import Code, ServingError, invalid
from darkroom.serving.flags import Flags

ModelServerConfig: TypeAlias = model_server_config_pb2.ModelServerConfig
ModelConfig: TypeAlias = model_server_config_pb2.ModelConfig

_Proto = TypeVar("_Proto", bound=Message)
_Field = descriptor_pb2.FieldDescriptorProto
_PACKAGE = "darkroom.serving"
_MAX_ENQUEUED_ALONE = 1000  # requests that may wait for a thread where batching is off

_INT64 = "google.protobuf.Int64Value"
# Types of the fields, numbered from 1; one with dots is a message, one in brackets is repeated.
_DECLARED: dict[str, dict[str, str]] = {
    "BatchingParameters": {
        "max_batch_size": _INT64,
        "batch_timeout_micros": _INT64,
        "max_enqueued_batches": _INT64,
        "num_batch_threads": _INT64,
        "thread_pool_name": "google.protobuf.StringValue",
        "allowed_batch_sizes": "[int64]",
        "pad_variable_length_inputs": "bool",
    },
    "PrometheusConfig": {"enable": "bool", "path": "string"},
    "MonitoringConfig": {"prometheus_config": f"{_PACKAGE}.PrometheusConfig"},
    "SSLConfig": {
        **dict.fromkeys(("server_key", "server_cert", "custom_ca"), "string"),
        "client_verify": "bool",
    },
}


def _declared() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="darkroom/serving.proto",
        package=_PACKAGE,
        syntax="proto3",
        dependency=[wrappers.DESCRIPTOR.name],
    )
    for name, fields in _DECLARED.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields.items(), 1):
            repeated, kind = kind.startswith("["), kind.strip("[]")
            entry = message.field.add(name=field, number=number)
            entry.label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
            if "." in kind:
                entry.type, entry.type_name = _Field.TYPE_MESSAGE, f".{kind}"
            else:
                entry.type = _Field.Type.Value(f"TYPE_{kind.upper()}")
    return file


def declare(file: descriptor_pb2.FileDescriptorProto) -> dict[str, type[Message]]:
    """The classes of a file's messages, by name."""
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    # The second is protobuf 3's, which TFX 1.16 has on Python 3.10.
    to_class = getattr(message_factory, "GetMessageClass", None)
    to_class = to_class or message_factory.MessageFactory(pool).GetPrototype
    names = [message.name for message in file.message_type]
    return {name: to_class(pool.FindMessageTypeByName(f"{file.package}.{name}")) for name in names}


_classes = declare(_declared())
BatchingParameters, SSLConfig = _classes["BatchingParameters"], _classes["SSLConfig"]
MonitoringConfig = _classes["MonitoringConfig"]


def read(path: str, kind: type[_Proto]) -> _Proto:
    """Reads one of the four files, empty without a path; raises ServingError where it isn't one."""
    try:
        text = Path(path).read_text(encoding="utf-8") if path else ""
        message: _Proto = text_format.Parse(text, kind())
        return message
    except OSError as error:
        raise ServingError(Code.NOT_FOUND, f"{path}: can't be read: {error.strerror}.") from error
    except (text_format.ParseError, UnicodeDecodeError) as error:
        reason = f"Error parsing text-format {kind.DESCRIPTOR.full_name}: {error}"
        raise invalid(f"Invalid protobuf file: '{path}': {reason}") from error


class Batching(NamedTuple):
    """How requests are put together, in TensorFlow Serving's words."""

    max_batch_size: int  # examples; 1: each request runs alone
    batch_timeout_micros: int  # microseconds for which a batch waits to be full
    max_enqueued_batches: int  # full batches of all kinds together that may wait
    num_batch_threads: int
    allowed_batch_sizes: Sequence[int] = ()  # ascending; batches are padded to one of these
    pad_variable_length_inputs: bool = False
    max_enqueued_bytes: int = 2**30


def batching(flags: Flags) -> Batching:
    """How requests are put together: alone, or as a file or TensorFlow Serving's defaults say."""
    cores, path = os.cpu_count() or 1, flags.batching_parameters_file
    most_bytes = flags.max_enqueued_bytes
    if not flags.enable_batching:
        return Batching(1, 0, _MAX_ENQUEUED_ALONE, cores, max_enqueued_bytes=most_bytes)
    parameters = read(path, BatchingParameters)

    def value(name: str, default: int, least: int) -> int:
        number = int(getattr(parameters, name).value) if parameters.HasField(name) else default
        if number < least:
            raise invalid(f"{path}: {name} is {number}; expected at least {least}")
        return number

    # TensorFlow Serving's defaults; threads are as many as cores.
    largest = value("max_batch_size", 1000, 1)
    allowed = list(parameters.allowed_batch_sizes)
    if allowed and (sorted(set(allowed)) != allowed or allowed[-1] != largest or allowed[0] < 1):
        rule = f"must ascend and end with max_batch_size, {largest}"
        raise invalid(f"{path}: allowed_batch_sizes {allowed} {rule}")
    return Batching(
        largest,
        value("batch_timeout_micros", 0, 0),
        value("max_enqueued_batches", 10, 1),
        value("num_batch_threads", cores, 1),
        allowed,
        parameters.pad_variable_length_inputs,
        most_bytes,
    )


def check(config: ModelServerConfig) -> None:
    """Raises ServingError with TensorFlow Serving's code and the model that can't be served."""
    if config.WhichOneof("config") == "custom_model_config":
        raise ServingError(Code.UNIMPLEMENTED, "custom_model_config is not supported.")
    names = set()
    for model in config.model_config_list.config:
        if not model.name:
            raise invalid(f"ModelConfig has no name specified; its base path: {model.base_path}")
        if model.name in names:
            raise invalid(f"Illegal to list model {model.name} multiple times in config list")
        names.add(model.name)
        if not os.path.isabs(model.base_path) and "://" not in model.base_path:
            path = f"an absolute path or URI; got base_path()={model.base_path}"
            raise invalid(f"Expected model {model.name} to have {path}")
        if model.model_platform not in ("", "tensorflow"):
            platform = f"{model.model_platform!r}; expected 'tensorflow'"
            raise invalid(f"Model {model.name} has model_platform {platform}")
        prefix = model.logging_config.log_collector_config.filename_prefix
        if prefix and not os.path.isabs(prefix):
            expected = f"expected an absolute filename_prefix, received {prefix!r}"
            raise invalid(f"Model {model.name}: {expected}")
        rate = model.logging_config.sampling_config.sampling_rate
        if not 0.0 <= rate <= 1.0:
            raise invalid(f"Model {model.name} has sampling_rate {rate}; expected 0 to 1")


def wanted_versions(
    config: ModelConfig, folders: dict[int, str]
) -> tuple[dict[int, str], set[int]]:
    """The folders that the policy (default: the newest) asks for, and versions that are missing."""
    policy = config.model_version_policy
    kind = policy.WhichOneof("policy_choice")
    if kind == "all":
        return folders, set()
    if kind == "specific":
        asked = set(policy.specific.versions)
        return {version: folders[version] for version in asked & set(folders)}, asked - set(folders)
    count = policy.latest.num_versions or 1
    return {version: folders[version] for version in sorted(folders)[-count:]}, set()
