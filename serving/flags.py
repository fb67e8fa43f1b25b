"""The flags of the model server: TensorFlow Serving's own, and the few that it lacks."""

import argparse
import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import NoReturn, TypeVar

from darkroom.serving.codecs.image_header import MAX_PIXELS

# As in TensorFlow Serving's documentation and image; without a flag it has no REST port.
GRPC_PORT, REST_PORT = 8500, 8501
METRICS_PATH = "/monitoring/prometheus/metrics"  # for Prometheus

_T = TypeVar("_T")
_Number = TypeVar("_Number", int, float)


def _flag(group: str, default: _T, read: Callable[[str], object], text: str, **more: str) -> _T:
    metadata = {"group": group, "type": read, "help": text, **more}
    return dataclasses.field(default=default, metadata=metadata)


def _bool(text: str) -> bool:
    if text.lower() in ("true", "1"):
        return True
    if text.lower() in ("false", "0"):
        return False
    raise argparse.ArgumentTypeError(f"expected true or false, received {text!r}")


def _within(
    kind: type[_Number], least: float, most: float, expected: str
) -> Callable[[str], _Number]:
    def read(text: str) -> _Number:
        with contextlib.suppress(ValueError):
            number = kind(text)
            if least <= number <= most:
                return number
        raise argparse.ArgumentTypeError(f"expected {expected}, received {text!r}")

    return read


_share = _within(float, 0, 1, "a number from 0 to 1")
_positive = _within(int, 1, math.inf, "a whole number from 1")
_count = _within(int, 0, math.inf, "a whole number from 0")
_seconds = _within(float, 0, 1e9, "seconds from 0")
_port = _within(int, 0, 2**16 - 1, "a port from 0 to 65535")

_listening = functools.partial(_flag, "where it listens")
_models = functools.partial(_flag, "what it serves")
_work = functools.partial(_flag, "how it works")
_limit = functools.partial(_flag, "what it refuses")
_log = functools.partial(_flag, "the request log (which models: logging_config)")


@dataclasses.dataclass(frozen=True)
class Flags:
    """A field for each flag, with its default and its help, in the order of ``--help``."""

    port: int = _listening(GRPC_PORT, _port, "gRPC; 0: none")
    rest_api_port: int = _listening(REST_PORT, _port, "HTTP; 0: none")
    host: str = _listening(
        "localhost", str, "address of both; 0.0.0.0 for all (TensorFlow Serving's choice)"
    )
    grpc_socket_path: str = _listening("", str, "a Unix socket beside the port")
    grpc_channel_arguments: str = _listening("", str, "key=value pairs, separated by commas")
    rest_api_timeout_in_ms: int = _listening(30_000, _positive, "then 504, in ms")
    rest_api_num_threads: int = _listening(
        0, _count, "accepted; HTTP is answered by an event loop here"
    )
    rest_api_enable_cors_support: bool = _listening(False, _bool, "answer other sites' pages")

    model_name: str = _models("default", str, "of the only model")
    model_base_path: str = _models("", str, "folder of its version folders")
    model_config_file: str = _models("", str, "a ModelServerConfig as text, instead of both")
    model_config_file_poll_wait_seconds: float = _models(
        0, _seconds, "read that file again so often, in seconds; 0: once"
    )
    file_system_poll_wait_seconds: float = _models(
        1, _seconds, "look for new versions so often, in seconds; 0: once"
    )
    max_num_load_retries: int = _models(
        5, _count, "how often a version that fails to load is tried again"
    )
    load_retry_interval_micros: int = _models(
        60_000_000, _count, "between two tries, in microseconds"
    )
    enable_model_warmup: bool = _models(True, _bool, "replay a version's warm-up requests first")
    allow_version_labels_for_unavailable_models: bool = _models(
        False, _bool, "let a new label name a version that isn't loaded yet"
    )
    num_request_iterations_for_warmup: int = _models(
        1, _count, "how often each warm-up request is replayed; 0: once"
    )
    enable_signature_method_name_check: bool = _models(
        False, _bool, "answer Classify and Regress by signatures of that kind only"
    )
    saved_model_tags: str = _models("serve", str, "separated by commas")
    op_libraries: str = _models(
        "", str, "shared libraries of ops that aren't TensorFlow's, or folders, separated by commas"
    )
    prefer_tflite_model: bool = _models(False, _bool, "take model.tflite where a version has it")
    canary_share: float | None = _models(
        None,
        _share,
        "of requests that name no version, this share goes to the label canary and the rest "
        "to stable (default: all to the newest version, as in TensorFlow Serving)",
        metavar="SHARE",
    )

    enable_batching: bool = _work(False, _bool, "run requests of several clients together")
    batching_parameters_file: str = _work("", str, "BatchingParameters as text")
    tensorflow_session_config_file: str = _work(
        "", str, "TensorFlow's ConfigProto as text, instead of the next three"
    )
    tensorflow_session_parallelism: int = _work(0, _count, "threads; 0: all cores but one")
    tensorflow_intra_op_parallelism: int = _work(0, _count, "threads; 0: all cores but one")
    tensorflow_inter_op_parallelism: int = _work(0, _count, "threads; 0: all cores but one")
    per_process_gpu_memory_fraction: float = _work(0.0, _share, "0: automatic")
    enable_profiler: bool = _work(
        False, _bool, "let administrators take profiles of it over gRPC (TensorFlow Serving: true)"
    )
    monitoring_config_file: str = _work("", str, "MonitoringConfig as text")

    max_request_bytes: int = _limit(
        64 * 2**20, _positive, "of one request, unpacked (default: 64 MiB)"
    )
    max_enqueued_bytes: int = _limit(2**30, _positive, "of all requests that wait (default: 1 GiB)")
    max_image_pixels: int = _limit(
        MAX_PIXELS,
        _positive,
        f"of an encoded image, by its header (default: {MAX_PIXELS // 10**6} million)",
    )
    ssl_config_file: str = _limit("", str, "SSLConfig as text, for both ports")
    api_key_file: str = _limit(
        "",
        str,
        "keys, one a line; a client sends one as 'authorization: Bearer KEY' or x-api-key",
    )
    admin_api_key_file: str = _limit(
        "",
        str,
        "keys of who may reload the configuration over gRPC, and take profiles; without one that "
        "is off where there are API keys, or --host isn't this machine alone",
    )
    allowed_hosts: str = _limit(
        "",
        str,
        "host names, separated by commas, by which a proxy asks where --host is this machine alone",
    )
    shutdown_grace_seconds: float = _limit(
        30, _seconds, "for requests under way when it is told to stop"
    )

    request_log_file_bytes: int = _log(
        64 * 2**20, _positive, "then the next file is begun (default: 64 MiB)"
    )
    request_log_folder: str = _log(
        "", str, "below which a configuration that comes over gRPC may have its logs; empty: none"
    )
    request_log_files: int = _log(10, _positive, "kept for each model; older go")

    # Flags that were given and do nothing here, without a default of their own.
    without_effect: tuple[str, ...] = dataclasses.field(default=(), metadata={})


# Of TensorFlow Serving, of what it has and this server hasn't: its command lines start here too.
_WITHOUT_EFFECT = (
    "num_load_threads", "num_unload_threads", "flush_filesystem_caches", "platform_config_file",
    "grpc_max_threads", "remove_unused_fields_from_bundle_metagraph", "num_tflite_pools",
    "num_tflite_interpreters_per_pool", "xla_cpu_compilation_enabled",
    "xla_gpu_compilation_enabled", "thread_pool_factory_config_file",
    "enable_per_model_batching_parameters", "skip_initialize_tpu", "mixed_precision",
    "enable_serialization_as_tensor_content", "enable_grpc_healthcheck_service",
    "enforce_session_run_timeout", "use_alts_credentials",
)  # fmt: skip


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}. See --help for the flags there are.\n")


def _parser() -> _Parser:
    parser = _Parser(
        prog="model_server",
        description="Serves SavedModels over gRPC and REST, as TensorFlow Serving does.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=_version(), help="and nothing else")
    fields = [field for field in dataclasses.fields(Flags) if field.metadata]
    titles = dict.fromkeys(field.metadata["group"] for field in fields)
    groups = {title: parser.add_argument_group(title) for title in titles}
    for field in fields:
        options = dict(field.metadata)
        group = groups[options.pop("group")]
        if options["type"] is _bool:
            options |= {"nargs": "?", "const": True, "metavar": "BOOL"}
        group.add_argument(f"--{field.name}", default=field.default, **options)
    for name in _WITHOUT_EFFECT:
        parser.add_argument(
            f"--{name}", nargs="?", const="true", default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )
    return parser


def _version() -> str:
    from importlib import metadata

    return f"darkroom's model server {metadata.version('darkroom-tfx')}"


def parse(arguments: Sequence[str] | None = None) -> Flags:
    """Reads the command line; where it is wrong, says so on standard error and exits with 2."""
    parser = _parser()
    given = vars(parser.parse_args(arguments))
    others = {name: given.pop(name) for name in _WITHOUT_EFFECT if name in given}
    if others.get("use_alts_credentials", "false").lower() not in ("false", "0"):
        parser.error("--use_alts_credentials: there is no ALTS here; use --ssl_config_file")
    flags = Flags(**given, without_effect=tuple(others))
    if not flags.model_config_file and not flags.model_base_path:
        parser.error("nothing to serve: give --model_base_path or --model_config_file")
    if flags.batching_parameters_file and not flags.enable_batching:
        parser.error("--batching_parameters_file is set without --enable_batching")
    if not (flags.port or flags.rest_api_port or flags.grpc_socket_path):
        parser.error("nothing to listen on: give --port, --rest_api_port or --grpc_socket_path")
    if flags.port and flags.port == flags.rest_api_port:
        parser.error(f"--port and --rest_api_port are both {flags.port}")
    return flags
