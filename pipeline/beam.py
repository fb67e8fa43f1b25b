"""Beam's options, made of the configuration's section ``beam``, and whether its engine is there.

Light to import, but for what checks ``beam.options``.
"""

import json
import re
import shutil
import socket

from darkroom.components.base.errors import DarkroomError, closest, not_installed
from darkroom.pipeline.config import Config
from darkroom.pipeline.platforms import BEAM_KEYS, Beam

_GIB = 2**30
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
_CONNECT_SECONDS = 10  # for a job server or a worker pool


def arguments(beam: Beam, data_bytes: int, cores: int) -> list[str]:
    """Beam's options for TFRecords of this size; raises DarkroomError at a wrong one."""
    further = [flag for name, value in beam.options.items() for flag in _flags(name, value)]
    if beam.options:
        _check_options(beam, further)
    own = _engines(beam) if beam.runner != "direct" else []
    if beam.runner == "direct":
        mode = beam.direct_running_mode
        if mode == "auto":
            is_big = data_bytes >= beam.multi_processing_from_gib * _GIB and cores > 1
            mode = "multi_processing" if is_big else "in_memory"
        if mode != "in_memory":
            workers = beam.direct_num_workers
            own = [f"--direct_running_mode={mode}", f"--direct_num_workers={workers}"]
    # With any option at all, TFX builds a source package of itself for remote workers in every Beam
    # node, at 45 MB and some seconds each. They have TFX and darkroom: this keeps it from that.
    image = [f"--sdk_container_image={beam.sdk_container_image or 'local'}"]
    return [*own, *further, *(image if own or further else [])]


def _engines(beam: Beam) -> list[str]:
    keys = [key for key in BEAM_KEYS[beam.runner] if key != "sdk_container_image"]
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
    return [f"--runner={beam.runner.title()}Runner", *named]  # as Beam itself has them


def _flags(name: str, value: object) -> list[str]:
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no_{name}"]
    if isinstance(value, dict):
        return [f"--{name}={json.dumps(value)}"]
    return [f"--{name}={each}" for each in (value if isinstance(value, list) else [value])]


def _check_options(beam: Beam, flags: list[str]) -> None:
    """Asks Beam's own parser, which says nothing of options that it doesn't know."""
    import argparse

    try:
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise not_installed("beam.options: Beam knows what it takes", error, "pipeline") from error
    parsers: list[argparse.ArgumentParser] = []
    PipelineOptions([]).get_all_options(add_extra_args_fn=parsers.append)
    [parser] = parsers
    parser.exit_on_error = False
    # Its help begins a line with each option's names; two spaces, and an explanation, may follow.
    begins = re.findall(r"^  (-.+?)(?:  |$)", parser.format_help(), re.MULTILINE)
    names = re.findall(r"--([\w-]+)", " ".join(begins))
    for name, value in beam.options.items():
        problem = None
        if name in type(beam).model_fields:
            problem = f"it has a key of its own: set beam.{name}."
        elif name in _REFUSED:
            problem = f"not with darkroom, where {_REFUSED[name]}: take it out."
        elif name not in names or (value is False and f"no_{name}" not in names):
            problem = f"Beam has no such option.{closest(name, names)}"
        if problem is not None:
            raise DarkroomError(f"beam.options.{name}: {problem}")
    try:
        parser.parse_known_args(flags)
    except argparse.ArgumentError as error:
        name = (error.argument_name or "").split("/")[0].removeprefix("--")
        raise DarkroomError(
            f"beam.options.{name}: Beam says {error.message}, found {beam.options.get(name)!r}."
        ) from None


def require_engine(config: Config) -> None:
    """DarkroomError where nobody is there to take the jobs, as far as can be seen from here."""
    beam = config.beam
    if beam.job_endpoint is not None:
        _connect("beam.job_endpoint", beam.job_endpoint, "job server")
    elif beam.runner in ("flink", "spark") and shutil.which("java") is None:
        raise DarkroomError(
            f"beam.runner {beam.runner} without beam.job_endpoint: Beam starts the job server with "
            "Java, which isn't on the PATH. Install it, or start a job server elsewhere and set "
            "beam.job_endpoint."
        )
    # With a root in a bucket, the engine may well call another machine localhost.
    if beam.environment_type == "EXTERNAL" and "://" not in config.root:
        _connect("beam.environment_config", beam.environment_config or "", "worker pool")


def _connect(key: str, address: str, listener: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise DarkroomError(
            f"{key}: there is no {listener} at {address}: {why}. Start a {listener} there, or "
            "correct the address."
        ) from None
