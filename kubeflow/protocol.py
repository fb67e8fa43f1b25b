"""What Kubeflow Pipelines and darkroom hand to each other, as pipeline_spec.proto has it, in JSON.

A compiled pipeline is a PipelineSpec, and beside it what only Kubernetes knows of its containers.
"""

import re
from typing import Any, Literal, NamedTuple, TypedDict

import yaml
from typing_extensions import Required

SCHEMA_VERSION = "2.1.0"
# Placeholders in commands and parameters: the ExecutorInput, and the run's id.
EXECUTOR_INPUT = "{{$}}"
RUN_ID = "{{$.pipeline_job_uuid}}"
# Parameters that are none of an executor's: the run, and what was seen of the images' files.
RUN_PARAMETER = "pipeline_run_id"
SEEN_PARAMETER = "seen"
# Where the launcher keeps a container's copies of buckets: LocalPathForURI in its source.
COPIES = {"gs://": "/gcs/", "s3://": "/s3/", "minio://": "/minio/"}


def task_name(node: str) -> str:
    """A node's id as Kubernetes and kfp write it: import-example-gen."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", node).lower()


# Either schemaTitle, or instanceSchema: YAML with the title; empty where the open-source back end
# forgot it.
ArtifactType = dict[str, str]


def title_of(artifact_type: ArtifactType) -> str:
    """The name of an artifact's type, such as tfx.Examples."""
    if title := artifact_type.get("schemaTitle"):
        return title
    return str(yaml.safe_load(artifact_type["instanceSchema"])["title"])


class Definitions(TypedDict, total=False):
    """What a component takes, or what it makes, by key."""

    artifacts: dict[str, dict[str, ArtifactType]]  # artifactType
    parameters: dict[str, dict[str, str]]  # parameterType


class ComponentSpec(TypedDict, total=False):
    """What a task takes, makes and runs."""

    executorLabel: str
    inputDefinitions: Definitions
    outputDefinitions: Definitions


class Parameter(TypedDict, total=False):
    """A parameter of a task: one of the two keys is there."""

    runtimeValue: dict[str, object]  # constant
    taskOutputParameter: dict[str, str]  # producerTask, outputParameterKey


class TaskInputs(TypedDict, total=False):
    """Where a task's inputs come from, by key."""

    artifacts: dict[str, dict[str, dict[str, str]]]  # taskOutputArtifact
    parameters: dict[str, Parameter]


class TaskSpec(TypedDict, total=False):
    """A task of the graph."""

    taskInfo: dict[str, str]
    componentRef: dict[str, str]
    inputs: TaskInputs
    dependentTasks: list[str]
    cachingOptions: dict[str, bool]
    retryPolicy: dict[str, int | float | str]


class Container(TypedDict, total=False):
    """What a task runs."""

    image: str
    command: list[str]
    args: list[str]
    env: list[dict[str, str]]
    resources: dict[str, object]
    lifecycle: dict[str, object]


class Secret(TypedDict):
    """A secret of Kubernetes as environment variables."""

    secretName: str
    keyToEnv: list[dict[str, str]]


class KubernetesExecutor(TypedDict, total=False):
    """What only Kubernetes knows of a container, as kfp-kubernetes has it."""

    secretAsEnv: list[Secret]
    pvcMount: list[dict[str, str]]
    nodeSelector: dict[str, dict[str, str]]


class PipelineSpec(TypedDict, total=False):
    """The first document of a compiled pipeline."""

    pipelineInfo: Required[dict[str, str]]
    schemaVersion: str
    defaultPipelineRoot: str
    root: Required[dict[str, dict[str, dict[str, TaskSpec]]]]  # dag, tasks
    components: Required[dict[str, ComponentSpec]]
    deploymentSpec: Required[dict[str, dict[str, dict[str, Container]]]]  # executors; container


class Specification(NamedTuple):
    """A compiled pipeline."""

    pipeline: PipelineSpec
    kubernetes: dict[str, KubernetesExecutor]  # by the label of the executor

    @property
    def tasks(self) -> dict[str, TaskSpec]:
        return self.pipeline["root"]["dag"]["tasks"]

    def component(self, task: str) -> ComponentSpec:
        return self.pipeline["components"][self.tasks[task]["componentRef"]["name"]]

    def container(self, task: str) -> Container:
        label = self.component(task)["executorLabel"]
        return self.pipeline["deploymentSpec"]["executors"][label]["container"]

    def add(
        self, name: str, task: TaskSpec, component: ComponentSpec, container: Container
    ) -> None:
        """Adds a task, with the names that kfp's own compiler gives."""
        task |= {"taskInfo": {"name": name}, "componentRef": {"name": f"comp-{name}"}}
        self.tasks[name] = task
        self.pipeline["components"][f"comp-{name}"] = component
        component["executorLabel"] = f"exec-{name}"
        self.pipeline["deploymentSpec"]["executors"][f"exec-{name}"] = {"container": container}

    def hand_over(self, task: str, key: str, parameter: Parameter) -> None:
        taken = self.component(task).setdefault("inputDefinitions", {})
        taken.setdefault("parameters", {})[key] = {"parameterType": "STRING"}
        self.tasks[task].setdefault("inputs", {}).setdefault("parameters", {})[key] = parameter

    def documents(self) -> list[dict[str, object]]:
        platforms = {"kubernetes": {"deploymentSpec": {"executors": self.kubernetes}}}
        platform: list[dict[str, object]] = [{"platforms": platforms}] if self.kubernetes else []
        return [{**self.pipeline}, *platform]

    @classmethod
    def of_documents(cls, pipeline: PipelineSpec, platform: Any = None) -> "Specification":
        """Reads what ``documents`` gives; ``platform`` is as YAML has it, and may be missing."""
        kubernetes = (platform or {}).get("platforms", {}).get("kubernetes", {})
        return cls(pipeline, kubernetes.get("deploymentSpec", {}).get("executors", {}))


class RuntimeArtifact(TypedDict, total=False):
    """An artifact as containers are told of it."""

    name: str
    uri: Required[str]
    type: ArtifactType
    metadata: dict[str, object]


ArtifactLists = dict[str, dict[str, list[RuntimeArtifact]]]  # by key; below that: artifacts


class ExecutorOutput(TypedDict, total=False):
    """What a container made; also what it takes, and where it is to write what it makes."""

    parameterValues: dict[str, object]
    parameters: dict[str, dict[str, str]]  # outputFile
    artifacts: ArtifactLists
    outputFile: str  # of the ExecutorOutput


ExecutorInput = dict[Literal["inputs", "outputs"], ExecutorOutput]
