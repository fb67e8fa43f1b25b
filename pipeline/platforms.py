"""The sections of the configuration that say where nodes run: engines, clusters and databases.

They change nothing of what a model is; the defaults are those of one machine. The platforms
themselves are ``pipeline/airflow`` and ``kubeflow``, as CONTRIBUTING.md has it.
"""

import contextlib
import json
import os
import re
from collections.abc import Iterator
from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from darkroom.components.base.sections import Section

_DIRECT = ("direct_running_mode", "direct_num_workers", "multi_processing_from_gib")
_ENVIRONMENT = ("environment_type", "environment_config", "sdk_container_image")
_JOB_SERVER = ("job_endpoint", *_ENVIRONMENT, "sdk_worker_parallelism")
_GOOGLE = ("project", "region", "temp_location")
# The keys of each of Beam's runners; `runner` and `options` are everybody's.
BEAM_KEYS = {
    "direct": _DIRECT,
    "portable": _JOB_SERVER,
    "flink": (*_JOB_SERVER, "flink_master", "parallelism"),
    "spark": (*_JOB_SERVER, "spark_master_url"),
    "dataflow": (*_GOOGLE, "sdk_container_image", "num_workers", "max_num_workers"),
}
# The keys that a runner needs: one of each of these tuples.
_NEEDED: dict[str, tuple[tuple[str, ...], ...]] = {
    "portable": (("job_endpoint",), ("environment_type",)),
    "flink": (("job_endpoint", "flink_master"), ("environment_type",)),
    "spark": (("job_endpoint", "spark_master_url"), ("environment_type",)),
    "dataflow": tuple((key,) for key in (*_GOOGLE, "sdk_container_image")),
}
# What says where Python is, for each way to start it.
_PLACES: dict[str | None, str | None] = {
    "DOCKER": "sdk_container_image",
    "PROCESS": "environment_config",
    "EXTERNAL": "environment_config",
    "LOOPBACK": None,
}
_ADDRESS = r"^[^/\s]+:\d+$"
_THIS_MACHINE = ("localhost", "127.0.0.1", "[::1]", "[local]", "[auto]")


class Beam(Section):
    runner: Literal["direct", "portable", "flink", "spark", "dataflow"] = "direct"
    """direct: Beam itself on this machine; the others: engines (docs/platforms/beam.md)."""
    direct_running_mode: Literal["auto", "in_memory", "multi_threading", "multi_processing"] = (
        "auto"
    )
    """How the direct runner works; auto: in_memory up to `multi_processing_from_gib` of data."""
    direct_num_workers: int = Field(0, ge=0)
    """Workers of the direct runner where the mode has several; 0: one per core."""
    multi_processing_from_gib: float = Field(0.25, gt=0)
    """GiB of TFRecords from which `auto` starts worker processes (docs/benchmarks.md: why)."""
    job_endpoint: str | None = Field(None, pattern=_ADDRESS)
    """portable, flink, spark: host:port of the job server."""
    flink_master: str | None = None
    """flink: host:port of Flink's REST service, for a job server that Beam starts here itself."""
    spark_master_url: str | None = None
    """spark: spark://HOST:PORT, for a job server that Beam starts here itself."""
    environment_type: Literal["DOCKER", "PROCESS", "EXTERNAL", "LOOPBACK"] | None = None
    """portable, flink, spark: how Python is started; EXTERNAL: by a worker pool; LOOPBACK: here."""
    environment_config: str | None = None
    """EXTERNAL: host:port of the worker pool, as the engine sees it; PROCESS: its command, JSON."""
    sdk_container_image: str | None = None
    """dataflow, and DOCKER: the workers' image, with darkroom in it."""
    sdk_worker_parallelism: int | None = Field(None, ge=0)
    """portable, flink, spark: Python processes of each of the engine's workers; 0: it chooses."""
    parallelism: int | None = Field(None, ge=1)
    """flink: how many parts of a step run at once; empty: as Flink is set up."""
    project: str | None = Field(None, pattern="^[a-z][-a-z0-9:.]+[a-z0-9]$")
    """dataflow: id of the Google Cloud project."""
    region: str | None = None
    """dataflow: where the machines are, such as europe-west1."""
    temp_location: str | None = None
    """dataflow: a folder in a bucket, gs://BUCKET/FOLDER, for what is there during a job."""
    num_workers: int | None = Field(None, ge=1)
    """dataflow: machines to begin with; empty: Dataflow chooses."""
    max_num_workers: int | None = Field(None, ge=1)
    """dataflow: machines at most."""
    options: dict[str, bool | int | float | str | list[str] | dict[str, str]] = {}
    """Further options of Beam by their own names, such as worker_machine_type."""

    @field_validator("runner", mode="before")
    @classmethod
    def _keeps_all_data(cls, runner: object) -> object:
        if runner == "dask":
            raise ValueError("Beam's Dask runner loses data without an error; take another one")
        return runner

    @model_validator(mode="after")
    def _fits_the_runner(self) -> "Beam":
        for problem in filter(None, self._problems()):
            raise ValueError(problem)
        return self

    def _problems(self) -> Iterator[object]:
        """Yields a sentence for each problem, and something false for what is well."""
        for key, field in type(self).model_fields.items():
            users = [runner for runner, keys in BEAM_KEYS.items() if key in keys]
            is_others = users and self.runner not in users
            yield (is_others and getattr(self, key) != field.default) and (
                f"{key} is for beam.runner {' or '.join(users)}, found {self.runner}: take it out"
            )
        for keys in _NEEDED.get(self.runner, ()):
            yield all(getattr(self, key) is None for key in keys) and (
                f"runner {self.runner} needs beam.{' or beam.'.join(keys)}"
            )
        kind, config, engine = self.environment_type, self.environment_config, self._engine
        for key in ("sdk_container_image", "environment_config") if kind else ():
            needed = key == _PLACES[kind]
            verb = "needs" if needed else "has no use for"
            is_set = getattr(self, key) is not None
            yield needed != is_set and f"environment_type {kind} {verb} beam.{key}"
        yield (kind == "LOOPBACK" and engine is not None and not _is_here(engine)) and (
            f"environment_type LOOPBACK is for an engine on this machine, found {engine}"
        )
        yield (kind == "EXTERNAL" and not re.match(_ADDRESS, config or "")) and (
            f"environment_config: expected host:port of a worker pool, found {config}"
        )
        yield (kind == "PROCESS" and not _has_a_command(config or "")) and (
            'environment_config: expected JSON, such as {"command": "/opt/apache/beam/boot"}, '
            f"found {config}"
        )
        yield (self.temp_location and not re.match(r"gs://[^/]+/.", self.temp_location)) and (
            "temp_location: Dataflow's machines see folders in buckets alone; expected "
            f"gs://BUCKET/FOLDER, found {self.temp_location}"
        )
        workers, most = self.num_workers or 1, self.max_num_workers
        sentence = f"num_workers is {self.num_workers}, more than max_num_workers, {most}"
        yield (most and workers > most) and sentence

    @property
    def elsewhere(self) -> str:
        """Where the steps run, in words, if they don't see this machine's files; else empty."""
        if self.runner == "dataflow":
            return "on Google's machines"
        if self.environment_type == "DOCKER":
            return "in containers"
        pool = self.environment_config if self.environment_type == "EXTERNAL" else None
        for address in (self._engine, pool):
            if address is not None and not _is_here(address):
                return f"at {address}"
        return ""

    @property
    def _engine(self) -> str | None:
        return self.job_endpoint or self.flink_master or self.spark_master_url


def _is_here(address: str) -> bool:
    host = re.sub(r":\d+$", "", re.sub(r"^\w+://", "", address))
    return host in _THIS_MACHINE or bool(re.match(r"local(\[.*\])?$", address))  # Spark's own word


def _has_a_command(text: str) -> bool:
    try:
        value = json.loads(text)
    except ValueError:
        return False
    return isinstance(value, dict) and "command" in value


_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?:[\w.-]+(?::\d+)?/)?{_PART}(?:/{_PART})*"
    r"(?::\w[\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?",
    re.ASCII,
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET = re.compile(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?/[-._a-zA-Z0-9]+")  # and a key of it
# Kubernetes' names of most things, and a label's key and value.
_DNS_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
OBJECT_NAME = re.compile(rf"{_DNS_LABEL}(?:\.{_DNS_LABEL})*")
_LABEL = re.compile(r"[A-Za-z0-9](?:[-\w.]{0,61}[A-Za-z0-9])?", re.ASCII)
_LABEL_KEY = re.compile(rf"(?:{OBJECT_NAME.pattern}/)?{_LABEL.pattern}", re.ASCII)
MEMORY = r"^\d+(\.\d+)?(k|[MGTPE]|[KMGTPE]i)?$"

# Where the launcher of Kubeflow Pipelines puts copies of buckets, and what it needs itself.
_LAUNCHERS_FOLDERS = ("/gcs", "/s3", "/minio", "/kfp-launcher", "/.cache", "/.config", "/.local")


def image_reference(text: str) -> str:
    """ValueError where it is no container image's, by the distribution project's grammar."""
    if not _IMAGE.fullmatch(text):
        example = "registry.example/team/darkroom:1.0"
        raise ValueError(f"expected a reference such as {example}, found {text!r}")
    return text


def _object_name(text: str) -> str:
    if not OBJECT_NAME.fullmatch(text):
        raise ValueError(f"expected a name that Kubernetes takes, found {text!r}")
    return text


class Resources(Section):
    cpu: float | None = Field(None, gt=0)
    """Cores, at most."""
    memory: str | None = Field(None, pattern=MEMORY)
    """Memory, at most, as Kubernetes writes it: 8Gi."""
    accelerator: str | None = None
    """Resource name of an accelerator, such as nvidia.com/gpu."""
    accelerators: int = Field(1, ge=1)
    """How many of it."""
    node_pool: dict[str, str] = {}
    """Labels of the nodes that it may run on."""

    @field_validator("node_pool")
    @classmethod
    def _are_labels(cls, labels: dict[str, str]) -> dict[str, str]:
        for key, value in labels.items():
            if not _LABEL_KEY.fullmatch(key) or (value and not _LABEL.fullmatch(value)):
                raise ValueError(f"expected a label of Kubernetes' nodes, found {key}: {value}")
        return labels

    @model_validator(mode="after")
    def _counts_something(self) -> "Resources":
        if self.accelerators > 1 and self.accelerator is None:
            raise ValueError("accelerators: set accelerator to what there is to be several of")
        return self


class Kubeflow(Section):
    image: Annotated[str, AfterValidator(image_reference)] | None = None
    """Reference of the container image with darkroom and your own code (kubeflow/Dockerfile)."""
    resources: dict[str, Resources] = {}
    """What a node's container gets, by the node's id, such as Trainer; `*`: of all others."""
    environment: dict[str, str] = {}
    """Environment variables of all containers; nothing secret, the spec shows them."""
    secrets: dict[str, str] = {}
    """Environment variables from Kubernetes' secrets: VARIABLE: secret/key."""
    volumes: dict[str, str] = {}
    """Persistent volume claims by the path at which all containers have them: /data: claim."""
    retries: int = Field(0, ge=0)
    """How often a failed task is tried again."""
    experiment: str = "Default"
    """The experiment of Kubeflow Pipelines in which runs are listed."""
    service_account: Annotated[str, AfterValidator(_object_name)] | None = None
    """The service account of Kubernetes as which the containers run."""

    @field_validator("environment", "secrets")
    @classmethod
    def _are_variables(cls, values: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        for variable, value in values.items():
            if not _VARIABLE.fullmatch(variable):
                raise ValueError(f"expected the name of a variable, found {variable!r}")
            if info.field_name == "secrets" and not _SECRET.fullmatch(value):
                raise ValueError(f"{variable}: expected secret/key, found {value!r}")
        return values

    @model_validator(mode="after")
    def _set_once(self) -> "Kubeflow":
        for variable in sorted(set(self.environment) & set(self.secrets)):
            raise ValueError(f"{variable} is in environment and in secrets; take one out")
        return self

    @field_validator("volumes")
    @classmethod
    def _at_a_path(cls, volumes: dict[str, str]) -> dict[str, str]:
        for path, claim in volumes.items():
            if not path.startswith("/") or os.path.normpath(path) != path or path == "/":
                raise ValueError(f"expected a path such as /data, found {path!r}")
            if path in _LAUNCHERS_FOLDERS:
                raise ValueError(f"{path}: Kubeflow Pipelines keeps its own there; take another")
            if not OBJECT_NAME.fullmatch(claim):
                raise ValueError(f"{path}: expected the name of a claim, found {claim!r}")
        return volumes

    def resources_of(self, node: str) -> Resources:
        return self.resources.get(node, self.resources.get("*", Resources()))


class Airflow(Section):
    schedule: str | None = None
    """When a run begins: a cron expression, or a preset such as "@daily"; empty: when triggered."""
    start_date: str = "2026-01-01"
    """The first day, or moment (UTC), that the schedule counts from."""
    catchup: bool = False
    """Begin the runs, too, that the schedule had between `start_date` and now: a backfill."""
    retries: int = Field(2, ge=0)
    """How often a node that failed is tried again."""
    retry_delay: float = Field(60.0, ge=0)
    """Seconds before a failed node is tried again."""
    tags: list[str] = ["darkroom"]
    """Tags of the DAG, by which Airflow's page finds it."""
    python: str | None = None
    """Interpreter of the environment with TFX; empty: the one that Airflow runs in."""

    @field_validator("start_date", mode="before")
    @classmethod
    def _is_a_date(cls, value: object) -> object:
        text = value.isoformat() if isinstance(value, date) else value  # as YAML reads it
        with contextlib.suppress(ValueError):
            if not isinstance(text, str) or datetime.fromisoformat(text):
                return text
        raise ValueError(f"expected a date such as 2026-01-31, found {text!r}")


class Metadata(Section):
    backend: Literal["sqlite", "mysql"] = "sqlite"
    """What ML Metadata keeps its records in; sqlite: a file in the pipeline's folder."""
    host: str | None = None
    """mysql: name or address of the server."""
    port: int = Field(3306, ge=1, le=65535)
    """mysql: its port."""
    database: str | None = Field(None, min_length=1)
    """mysql: its database, which several pipelines may share."""
    user: str | None = None
    """mysql: its user. The password is in no file: it is taken from DARKROOM_METADATA_PASSWORD."""
    ssl: bool = False
    """mysql: encrypt the connection. ML Metadata's client can't check the server's certificate."""

    @field_validator("backend", mode="before")
    @classmethod
    def _not_postgresql(cls, backend: object) -> object:
        if backend in ("postgresql", "postgres"):
            raise ValueError(
                "ML Metadata's client fails with PostgreSQL as soon as a value has a backslash, "
                "which it doesn't escape, and values of TFX's have some; take mysql"
            )
        return backend

    @model_validator(mode="after")
    def _names_a_server(self) -> "Metadata":
        missing = [key for key in ("host", "database", "user") if getattr(self, key) is None]
        if self.backend == "mysql" and missing:
            raise ValueError(f"backend mysql needs {', '.join(missing)} as well")
        for key in ("host", "database", "user") if self.backend == "sqlite" else ():
            if key not in missing:
                raise ValueError(f"{key} is for backend mysql, and backend is sqlite")
        return self
