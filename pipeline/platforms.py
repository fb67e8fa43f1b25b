"""The sections of the configuration that say where nodes run: engines, clusters and databases.

They change nothing of what a model is; the defaults are those of one machine.
"""

import os
import re
from datetime import date, datetime
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from darkroom.components.base.sections import Section
from darkroom.pipeline import beam


class Beam(Section):
    runner: Literal["direct", "portable", "flink", "spark", "dataflow"] = "direct"
    """direct: Beam itself on this machine; the others: engines (docs/platforms/beam.md)."""
    direct_running_mode: Literal["auto", "in_memory", "multi_threading", "multi_processing"] = (
        "auto"
    )
    """Of Beam's direct runner; auto: in_memory up to `multi_processing_from_gib` of data."""
    direct_num_workers: int = Field(0, ge=0)
    """Workers of the direct runner where the mode has several; 0: one per core."""
    multi_processing_from_gib: float = Field(1.0, gt=0)
    """GiB of TFRecords from which `auto` starts worker processes (docs/benchmarks.md: why)."""
    job_endpoint: str | None = Field(None, pattern=beam.ADDRESS)
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
    """flink: so many parts of a step run at once; empty: as Flink is set up."""
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
        beam.check(self)
        return self


_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?:[\w.-]+(?::\d+)?/)?{_PART}(?:/{_PART})*"
    r"(?::\w[\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?",
    re.ASCII,
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Kubernetes' names of most things, and a label's key and value.
_DNS_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
OBJECT_NAME = re.compile(rf"{_DNS_LABEL}(?:\.{_DNS_LABEL})*")
_LABEL = re.compile(r"[A-Za-z0-9](?:[-\w.]{0,61}[A-Za-z0-9])?", re.ASCII)
_LABEL_KEY = re.compile(rf"(?:{OBJECT_NAME.pattern}/)?{_LABEL.pattern}", re.ASCII)
MEMORY = r"^\d+(\.\d+)?(k|[MGTPE]|[KMGTPE]i)?$"

# Where the launcher of Kubeflow Pipelines puts copies of buckets, and what it needs itself.
_LAUNCHERS_FOLDERS = ("/gcs", "/s3", "/minio", "/kfp-launcher", "/.cache", "/.config", "/.local")


def image_reference(text: str) -> str:
    """The reference of a container image, as the distribution project's grammar has it.

    Raises:
      ValueError: it is none.
    """
    if not _IMAGE.fullmatch(text):
        example = "registry.example/team/darkroom:1.0"
        raise ValueError(f"expected a reference such as {example}, found {text!r}")
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
    image: str | None = None
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
    """Of Kubeflow Pipelines, in which runs are listed."""
    service_account: str | None = None
    """Of Kubernetes, as which the containers run."""

    @field_validator("image")
    @classmethod
    def _is_an_image(cls, image: str | None) -> str | None:
        return image and image_reference(image)

    @field_validator("service_account")
    @classmethod
    def _is_a_name(cls, name: str | None) -> str | None:
        if name is not None and not OBJECT_NAME.fullmatch(name):
            raise ValueError(f"expected a name that Kubernetes takes, found {name!r}")
        return name

    @field_validator("environment", "secrets")
    @classmethod
    def _name_variables(cls, variables: dict[str, str]) -> dict[str, str]:
        for variable in variables:
            if not _VARIABLE.fullmatch(variable):
                raise ValueError(f"expected the name of a variable, found {variable!r}")
        return variables

    @model_validator(mode="after")
    def _set_once(self) -> "Kubeflow":
        if twice := sorted(set(self.environment) & set(self.secrets)):
            raise ValueError(f"{twice[0]} is in environment and in secrets; take one out")
        return self

    @field_validator("secrets")
    @classmethod
    def _name_a_key(cls, secrets: dict[str, str]) -> dict[str, str]:
        for variable, source in secrets.items():
            if not re.fullmatch(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?/[-._a-zA-Z0-9]+", source):
                raise ValueError(f"{variable}: expected secret/key, found {source!r}")
        return secrets

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
        """Those of a node, by its id."""
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
    """Seconds before it is."""
    tags: list[str] = ["darkroom"]
    """Of the DAG, by which Airflow's page finds it."""
    python: str | None = None
    """Interpreter of the environment with TFX; empty: the one that Airflow runs in."""

    @field_validator("start_date", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return value.isoformat() if isinstance(value, date) else value  # as YAML reads it

    @field_validator("start_date")
    @classmethod
    def _is_a_date(cls, text: str) -> str:
        try:
            datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(f"expected a date such as 2026-01-31, found {text!r}") from None
        return text


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
    def _not_postgresql(cls, backend: Any) -> Any:
        if backend in ("postgresql", "postgres"):
            raise ValueError(
                "ML Metadata's client fails with PostgreSQL as soon as a value has a backslash, "
                "which it doesn't escape, and values of TFX's have some; take mysql"
            )
        return backend

    @model_validator(mode="after")
    def _names_a_server(self) -> "Metadata":
        server = {"host": self.host, "database": self.database, "user": self.user}
        missing = [name for name, value in server.items() if value is None]
        given = [name for name in server if name not in missing]
        if self.backend == "sqlite" and given:
            raise ValueError(f"{given[0]} is for backend mysql, and backend is sqlite")
        if self.backend == "mysql" and missing:
            raise ValueError(f"backend mysql needs {', '.join(missing)} as well")
        return self
