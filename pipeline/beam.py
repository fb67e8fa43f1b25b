"""Where Beam runs the data steps: what a configuration must say for it, and Beam's own options.

Light to import: the configuration checks itself with this.
"""

import json
import re
import shutil
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from darkroom.components.base.errors import DarkroomError, closest

if TYPE_CHECKING:
    from darkroom.pipeline.config import Config
    from darkroom.pipeline.platforms import Beam

_GIB = 2**30
# As Beam's own option --runner has them.
_RUNNERS = {
    "portable": "PortableRunner",
    "flink": "FlinkRunner",
    "spark": "SparkRunner",
    "dataflow": "DataflowRunner",
}
_DIRECT = ("direct_running_mode", "direct_num_workers", "multi_processing_from_gib")
_ENVIRONMENT = ("environment_type", "environment_config", "sdk_container_image")
_JOB_SERVER = ("job_endpoint", *_ENVIRONMENT, "sdk_worker_parallelism")
# The keys of each runner; `runner` and `options` are everybody's.
_KEYS = {
    "direct": _DIRECT,
    "portable": _JOB_SERVER,
    "flink": (*_JOB_SERVER, "flink_master", "parallelism"),
    "spark": (*_JOB_SERVER, "spark_master_url"),
    "dataflow": (
        "project",
        "region",
        "temp_location",
        "sdk_container_image",
        "num_workers",
        "max_num_workers",
    ),
}
# Of each of these, one must be set.
_NEEDED: dict[str, tuple[tuple[str, ...], ...]] = {
    "portable": (("job_endpoint",), ("environment_type",)),
    "flink": (("job_endpoint", "flink_master"), ("environment_type",)),
    "spark": (("job_endpoint", "spark_master_url"), ("environment_type",)),
    "dataflow": (("project",), ("region",), ("temp_location",), ("sdk_container_image",)),
}
# What says where Python is, for each way to start it.
_PLACES = {
    "DOCKER": "sdk_container_image",
    "PROCESS": "environment_config",
    "EXTERNAL": "environment_config",
    "LOOPBACK": None,
}
ADDRESS = r"^[^/\s]+:\d+$"
_HERE = ("localhost", "127.0.0.1", "[::1]", "[local]", "[auto]")
_UNFINISHED = "a node goes on with what its job has written when that has ended"
# Options of Beam that don't go with darkroom, and why.
_REFUSED = {
    "no_wait_until_finish": _UNFINISHED,
    "output_executable_path": _UNFINISHED,
    "template_location": _UNFINISHED,
    "streaming": _UNFINISHED,
    "save_main_session": "the workers have its code from their own environment",
}
# Seconds, a day. Beam's own job server loses sight of a job after this time, a minute by default,
# and Beam takes that for a failure (portable_runner.JobServiceHandle.run).
_WATCH_SECONDS = 86_400
# Seconds that a job server or a worker pool has for taking a connection.
_CONNECT_SECONDS = 10


def check(beam: "Beam") -> None:
    """Whether the section is complete, and each key of use.

    Raises:
      ValueError: a sentence, without the section's name.
    """
    for key, field in type(beam).model_fields.items():
        users = [runner for runner, keys in _KEYS.items() if key in keys]
        if users and beam.runner not in users and getattr(beam, key) != field.default:
            raise ValueError(
                f"{key} is for beam.runner {' or '.join(users)}, found {beam.runner}: take it out"
            )
    for keys in _NEEDED.get(beam.runner, ()):
        if all(getattr(beam, key) is None for key in keys):
            raise ValueError(f"runner {beam.runner} needs beam.{' or beam.'.join(keys)}")
    _check_environment(beam)
    if beam.temp_location and not re.match(r"gs://[^/]+/.", beam.temp_location):
        raise ValueError(
            "temp_location: Dataflow's machines see folders in buckets alone; expected "
            f"gs://BUCKET/FOLDER, found {beam.temp_location}"
        )
    if (beam.num_workers or 1) > (beam.max_num_workers or beam.num_workers or 1):
        raise ValueError(
            f"num_workers is {beam.num_workers}, more than max_num_workers, {beam.max_num_workers}"
        )


def _check_environment(beam: "Beam") -> None:
    kind, config = beam.environment_type, beam.environment_config
    if kind is None:
        return
    needed = _PLACES[kind]
    for key in ("sdk_container_image", "environment_config"):
        if (key == needed) != (getattr(beam, key) is not None):
            verb = "needs" if key == needed else "has no use for"
            raise ValueError(f"environment_type {kind} {verb} beam.{key}")
    engine = _engine(beam)
    if kind == "LOOPBACK" and engine is not None and not _is_here(engine):
        raise ValueError(
            f"environment_type LOOPBACK is for an engine on this machine, found {engine}"
        )
    if kind == "EXTERNAL" and not re.match(ADDRESS, config or ""):
        raise ValueError(f"environment_config: expected host:port of a worker pool, found {config}")
    if kind == "PROCESS" and "command" not in _json(config or ""):
        raise ValueError(
            'environment_config: expected JSON, such as {"command": "/opt/apache/beam/boot"}, '
            f"found {config}"
        )


def elsewhere(beam: "Beam") -> str:
    """Where the steps run, in words, if they don't see this machine's files; else empty."""
    if beam.runner == "dataflow":
        return "on Google's machines"
    if beam.environment_type == "DOCKER":
        return "in containers"
    pool = beam.environment_config if beam.environment_type == "EXTERNAL" else None
    for address in (_engine(beam), pool):
        if address is not None and not _is_here(address):
            return f"at {address}"
    return ""


def arguments(beam: "Beam", data_bytes: int, cores: int) -> list[str]:
    """Beam's options, the same whoever runs the graph.

    Args:
      beam: the configuration.
      data_bytes: size of the TFRecords.
      cores: of this machine.

    Raises:
      DarkroomError: Beam has no such option, or takes no such value for it.
    """
    further = [flag for name, value in beam.options.items() for flag in _flags(name, value)]
    if beam.options:
        _check_options(beam, further)
    is_direct = beam.runner == "direct"
    found = [*(_direct(beam, data_bytes, cores) if is_direct else _engines(beam)), *further]
    if not found:
        # Beam's default; with any option at all, TFX builds a source package of itself for
        # remote workers in every Beam node, at 45 MB and some seconds each.
        return []
    # The workers have TFX and darkroom: keeps TFX from building that package.
    return [*found, f"--sdk_container_image={beam.sdk_container_image or 'local'}"]


def _direct(beam: "Beam", data_bytes: int, cores: int) -> list[str]:
    mode = beam.direct_running_mode
    if mode == "auto":
        big = data_bytes >= beam.multi_processing_from_gib * _GIB and cores > 1
        mode = "multi_processing" if big else "in_memory"
    if mode == "in_memory":
        return []
    return [f"--direct_running_mode={mode}", f"--direct_num_workers={beam.direct_num_workers}"]


def _engines(beam: "Beam") -> list[str]:
    keys = [key for key in _KEYS[beam.runner] if key != "sdk_container_image"]
    values = {key: getattr(beam, key) for key in keys}
    if beam.environment_type == "DOCKER":
        values["environment_config"] = beam.sdk_container_image
    named = [f"--{key}={value}" for key, value in values.items() if value is not None]
    if beam.runner != "dataflow":
        # Else a list of this environment's packages, a second's work in each node, is all that
        # Beam hands over in files, for which job server and workers would need a common folder.
        named.append("--experiments=disable_logging_submission_environment")
    if beam.runner == "portable":
        named.append(f"--job_server_timeout={_WATCH_SECONDS}")
    return [f"--runner={_RUNNERS[beam.runner]}", *named]


def _flags(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no_{name}"]
    if isinstance(value, dict):
        return [f"--{name}={json.dumps(value)}"]
    return [f"--{name}={each}" for each in (value if isinstance(value, list) else [value])]


def _check_options(beam: "Beam", flags: list[str]) -> None:
    """Asks Beam's own parser, which says nothing of options that it doesn't know."""
    import argparse

    try:
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise DarkroomError(
            f"beam.options: Beam knows what it takes, and {error.name} can't be imported: "
            "pip install 'darkroom-tfx[pipeline]', with locks/ as constraints."
        ) from error
    parsers: list[argparse.ArgumentParser] = []
    PipelineOptions([]).get_all_options(add_extra_args_fn=parsers.append)
    [parser] = parsers
    parser.exit_on_error = False
    # Of the lines that begin with options, what comes before their explanation.
    options = re.findall(r"^  (-.+?)(?:  |$)", parser.format_help(), re.MULTILINE)
    known = re.findall(r"--([\w-]+)", " ".join(options))
    for name, value in beam.options.items():
        if name in type(beam).model_fields:
            raise DarkroomError(f"beam.options.{name}: it has a key of its own: set beam.{name}.")
        if name in _REFUSED:
            raise DarkroomError(
                f"beam.options.{name}: not with darkroom, where {_REFUSED[name]}: take it out."
            )
        if name not in known or (value is False and f"no_{name}" not in known):
            raise DarkroomError(
                f"beam.options.{name}: Beam has no such option.{closest(name, known)}"
            )
    try:
        parser.parse_known_args(flags)
    except argparse.ArgumentError as error:
        name = (error.argument_name or "").split("/")[0].removeprefix("--")
        raise DarkroomError(
            f"beam.options.{name}: Beam says {error.message}, found {beam.options.get(name)!r}."
        ) from None


def require_engine(config: "Config") -> None:
    """Whether somebody is there to take the jobs, as far as that can be seen from here.

    Raises:
      DarkroomError: nobody listens, or what Beam would start isn't installed.
    """
    beam = config.beam
    if beam.job_endpoint is not None:
        _connect("beam.job_endpoint", beam.job_endpoint, "a job server")
    elif beam.runner in ("flink", "spark") and shutil.which("java") is None:
        raise DarkroomError(
            f"beam.runner {beam.runner} without beam.job_endpoint: Beam starts the job server with "
            "Java, which isn't on the PATH. Install it, or start a job server elsewhere and set "
            "beam.job_endpoint."
        )
    # With a root in a bucket, the engine may well call another machine localhost.
    if beam.environment_type == "EXTERNAL" and "://" not in config.root:
        _connect("beam.environment_config", beam.environment_config or "", "a worker pool")


def _connect(key: str, address: str, what: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise DarkroomError(
            f"{key}: there is no {what.removeprefix('a ')} at {address}: "
            f"{getattr(error, 'strerror', None) or error}. Start {what} there, or correct the "
            "address."
        ) from None


def _engine(beam: "Beam") -> str | None:
    return beam.job_endpoint or beam.flink_master or beam.spark_master_url


def _is_here(address: str) -> bool:
    if re.match(r"local(\[.*\])?$", address):  # Spark's own word
        return True
    host = re.sub(r"^\w+://", "", address)
    return re.sub(r":\d+$", "", host) in _HERE


def _json(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
