"""The flags of the model server: TensorFlow Serving's own, and the few that it lacks."""

import argparse
import contextlib
import math
from collections.abc import Callable, Sequence
from typing import NoReturn, TypeVar

# As in TensorFlow Serving's documentation and image; without a flag it has no REST port.
GRPC_PORT, REST_PORT = 8500, 8501
METRICS_PATH = "/monitoring/prometheus/metrics"  # for Prometheus

_Number = TypeVar("_Number", int, float)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}. See --help for the flags there are.\n")


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


def parser() -> argparse.ArgumentParser:
    """All flags, their defaults and their help."""
    made = _Parser(
        prog="model_server",
        description="Serves SavedModels over gRPC and REST, as TensorFlow Serving does.",
        allow_abbrev=False,
    )

    def switch(group: argparse._ArgumentGroup, name: str, default: bool, text: str) -> None:
        group.add_argument(
            name, type=_bool, nargs="?", const=True, default=default, metavar="BOOL", help=text
        )

    ports = made.add_argument_group("where it listens")
    ports.add_argument("--port", type=_port, default=GRPC_PORT, help="gRPC; 0: none")
    ports.add_argument("--rest_api_port", type=_port, default=REST_PORT, help="HTTP; 0: none")
    ports.add_argument(
        "--host",
        default="localhost",
        help="address of both; 0.0.0.0 for all (TensorFlow Serving's choice)",
    )
    ports.add_argument("--grpc_socket_path", default="", help="a Unix socket beside the port")
    ports.add_argument(
        "--grpc_channel_arguments", default="", help="key=value pairs, separated by commas"
    )
    ports.add_argument(
        "--rest_api_timeout_in_ms", type=_positive, default=30_000, help="then 504, in ms"
    )
    ports.add_argument(
        "--rest_api_num_threads",
        type=_count,
        default=0,
        help="accepted; HTTP is answered by an event loop here",
    )
    switch(ports, "--rest_api_enable_cors_support", False, "answer other sites' pages")

    models = made.add_argument_group("what it serves")
    models.add_argument("--model_name", default="default", help="of the only model")
    models.add_argument("--model_base_path", default="", help="folder of its version folders")
    models.add_argument(
        "--model_config_file", default="", help="a ModelServerConfig as text, instead of both"
    )
    models.add_argument(
        "--model_config_file_poll_wait_seconds",
        type=_seconds,
        default=0,
        help="read that file again so often, in seconds; 0: once",
    )
    models.add_argument(
        "--file_system_poll_wait_seconds",
        type=_seconds,
        default=1,
        help="look for new versions so often, in seconds; 0: once",
    )
    models.add_argument(
        "--max_num_load_retries",
        type=_count,
        default=5,
        help="how often a version that fails to load is tried again",
    )
    models.add_argument(
        "--load_retry_interval_micros",
        type=_count,
        default=60_000_000,
        help="between two tries, in microseconds",
    )
    switch(models, "--enable_model_warmup", True, "replay a version's warm-up requests first")
    switch(
        models,
        "--allow_version_labels_for_unavailable_models",
        False,
        "let a new label name a version that isn't loaded yet",
    )
    models.add_argument("--saved_model_tags", default="serve", help="separated by commas")
    switch(models, "--prefer_tflite_model", False, "take model.tflite where a version has it")
    models.add_argument(
        "--canary_share",
        type=_share,
        default=None,
        metavar="SHARE",
        help="of requests that name no version, this share goes to the label canary and the rest "
        "to stable (default: all to the newest version, as in TensorFlow Serving)",
    )

    work = made.add_argument_group("how it works")
    switch(work, "--enable_batching", False, "run requests of several clients together")
    work.add_argument("--batching_parameters_file", default="", help="BatchingParameters as text")
    for name in ("session", "intra_op", "inter_op"):
        work.add_argument(
            f"--tensorflow_{name}_parallelism",
            type=_count,
            default=0,
            help="threads; 0: all cores but one",
        )
    work.add_argument(
        "--per_process_gpu_memory_fraction", type=_share, default=0.0, help="0: automatic"
    )
    work.add_argument("--monitoring_config_file", default="", help="MonitoringConfig as text")

    limits = made.add_argument_group("what it refuses")
    limits.add_argument(
        "--max_request_bytes",
        type=_positive,
        default=64 * 2**20,
        help="of one request, unpacked (default: 64 MiB)",
    )
    limits.add_argument(
        "--max_enqueued_bytes",
        type=_positive,
        default=2**30,
        help="of all requests that wait (default: 1 GiB)",
    )
    limits.add_argument(
        "--max_image_pixels",
        type=_positive,
        default=25_000_000,
        help="of an encoded image, by its header (default: 25 million)",
    )
    limits.add_argument("--ssl_config_file", default="", help="SSLConfig as text, for both ports")
    limits.add_argument(
        "--api_key_file",
        default="",
        help="keys, one a line; a client sends one as 'authorization: Bearer KEY' or x-api-key",
    )
    limits.add_argument(
        "--shutdown_grace_seconds",
        type=_seconds,
        default=30,
        help="for requests under way when it is told to stop",
    )

    log = made.add_argument_group("the request log (which models: logging_config)")
    log.add_argument(
        "--request_log_file_bytes",
        type=_positive,
        default=64 * 2**20,
        help="then the next file is begun (default: 64 MiB)",
    )
    log.add_argument(
        "--request_log_files", type=_positive, default=10, help="kept for each model; older go"
    )
    return made


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line; where it is wrong, says so on standard error and exits with 2."""
    made = parser()
    given = made.parse_args(arguments)
    if not given.model_config_file and not given.model_base_path:
        made.error("nothing to serve: give --model_base_path or --model_config_file")
    if given.batching_parameters_file and not given.enable_batching:
        made.error("--batching_parameters_file is set without --enable_batching")
    if not (given.port or given.rest_api_port or given.grpc_socket_path):
        made.error("nothing to listen on: give --port, --rest_api_port or --grpc_socket_path")
    if given.port and given.port == given.rest_api_port:
        made.error(f"--port and --rest_api_port are both {given.port}")
    return given
