"""From a configuration to the specification that Kubeflow Pipelines and Vertex AI run.

TFX compiles the graph; names, commands, resources and caching are mended on the plain dict.
"""

import json
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from pydantic import ByteSize, TypeAdapter

from darkroom.components import nodes
from darkroom.components.base import user_code
from darkroom.components.base.errors import DarkroomError, closest, not_installed
from darkroom.components.base.remote import is_remote
from darkroom.components.runs import environment
from darkroom.kubeflow import protocol
from darkroom.kubeflow.protocol import EXECUTOR_INPUT, SEEN_PARAMETER, Specification, task_name
from darkroom.pipeline import beam
from darkroom.pipeline.config import Config
from darkroom.pipeline.platforms import Kubeflow, Resources
from darkroom.pipeline.running import preflight
from darkroom.serving import files, imports

if TYPE_CHECKING:
    from tfx.dsl.components.base.base_node import BaseNode

_MADE_BY = "made by darkroom compile"
_MODULE = ["python", "-m"]
_IMAGES = "images"  # a task before ImportExampleGen, which takes part of its cache's key from it
# Between tries, doubling; all of them within a week from the first's start: trainings take days.
_BACKOFF: dict[str, int | float | str] = {
    "backoffDuration": "10s",
    "backoffFactor": 2.0,
    "backoffMaxDuration": "604800s",
}
_BUCKETS = ("gs", "s3")  # that the launcher of Kubeflow Pipelines knows, and TensorFlow


def check(config: Config) -> None:
    """DarkroomError for what a cluster would only say after minutes; light, but for user code."""
    if config.kubeflow.image is None:
        raise DarkroomError(
            "kubeflow.image: missing. Build the image with kubeflow/Dockerfile, push it to a "
            "registry that the cluster can read, and set kubeflow.image to its reference."
        )
    if config.data.bundled is not None:
        raise DarkroomError(
            f"data.bundled: {config.data.bundled} is written where darkroom run runs, and "
            "containers don't see that. Set data.path to a folder of TFRecords that they see."
        )
    paths = {"root": config.root, "data.path": config.data_path}
    if config.model.weights not in (None, "imagenet"):
        paths["model.weights"] = config.model.weights or ""
    volumes = sorted(config.kubeflow.volumes)
    for key, path in paths.items():
        scheme, remote, _ = path.partition("://")
        if remote and scheme not in _BUCKETS:
            raise DarkroomError(
                f"{key}: expected a bucket of gs:// or s3://, or a path below kubeflow.volumes, as "
                f"Kubeflow Pipelines knows no other; found {path}."
            )
        inside = Path(os.path.normpath(path))
        if not remote and not any(inside.is_relative_to(volume) for volume in volumes):
            choices = f"; kubeflow.volumes has {', '.join(volumes)}" if volumes else ""
            raise DarkroomError(
                f"{key}: {path} is a path of this machine, which containers don't see. Set it to a "
                f"bucket, such as gs://bucket/folder, or below a path of kubeflow.volumes{choices}."
            )
    if config.training.strategy == "multi_worker":
        raise DarkroomError(
            "training.strategy: multi_worker trains in several pods, and a task of Kubeflow "
            "Pipelines is one. Set it to mirrored, or run the pipeline in a TFJob instead: "
            "darkroom deploy training."
        )
    for key, path in config.user_code.items():
        user_code.resolve(path, key)


def compiled(config: Config) -> Specification:
    """The pipeline's specification; raises DarkroomError as ``check`` does, or if TFX fails."""
    check(config)
    by_tfx, graph = _compiled_by_tfx(config)
    spec = _renamed(by_tfx)
    if is_remote(config.root):
        spec.pipeline["defaultPipelineRoot"] = config.pipeline_root
    ids = {task_name(node.id): node.id for node in graph}
    for node in graph:
        _finish(spec, node)
    _add_images(spec)
    settings = config.kubeflow
    for name, task in spec.tasks.items():
        resources = settings.resources_of(ids.get(name, ""))
        container = spec.container(name)
        if limits := _limits(resources):
            container["resources"] = limits
        if settings.environment:
            variables = sorted(settings.environment.items())
            container["env"] = [{"name": key, "value": value} for key, value in variables]
        if settings.retries:
            task["retryPolicy"] = {"maxRetryCount": settings.retries, **_BACKOFF}
        if of_kubernetes := _of_kubernetes(settings, resources):
            spec.kubernetes[spec.component(name)["executorLabel"]] = of_kubernetes
    return spec


def _compiled_by_tfx(config: Config) -> "tuple[protocol.PipelineSpec, list[BaseNode]]":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Of which day Google's libraries stop to support this Python.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\.api_core")
    try:
        with imports.without_collections():
            from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner as tfx_runner
    except ImportError as error:
        raise not_installed("darkroom compile needs TFX and kfp", error, "kubeflow") from error
    from darkroom.pipeline.pipeline import create_pipeline

    preflight.rehearse(config)
    # How much there is to read isn't known here.
    options = beam.arguments(config.beam, data_bytes=0, cores=1)
    pipeline = create_pipeline(config, options, in_containers=True)
    ids = [node.id for node in pipeline.components]
    for node in config.kubeflow.resources:
        if node != "*" and node not in ids:
            choices = f"there are {', '.join(ids)}.{closest(node, ids)}"
            raise DarkroomError(f"kubeflow.resources: {node} is no node of the graph, {choices}")
    settings = tfx_runner.KubeflowV2DagRunnerConfig(
        default_image=config.kubeflow.image,
        default_commands=[*_MODULE, "darkroom.kubeflow.task"],
        use_pipeline_spec_2_1=True,
    )
    job = tfx_runner.KubeflowV2DagRunner(settings).run(pipeline, write_out=False)
    return job["pipelineSpec"], pipeline.components


def write(spec: Specification, path: Path) -> None:
    """Writes a specification as YAML, whole or not at all; raises DarkroomError where it can't."""
    title = f"{spec.pipeline['pipelineInfo']['name']}: {_MADE_BY}"
    heading = f"# {title}, darkroom {environment.versions().get('darkroom', '')}\n"
    documents = yaml.safe_dump_all(spec.documents(), sort_keys=True, width=100, allow_unicode=True)
    try:
        before = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else _MADE_BY
        if _MADE_BY not in before.partition("\n")[0]:
            message = f"{path} is there already, and darkroom compile didn't make it."
            raise DarkroomError(f"{message} Name another file with -o.")
        path.parent.mkdir(parents=True, exist_ok=True)
        files.replace(path, heading + documents)
    except OSError as error:
        raise DarkroomError(f"{path} can't be written: {error.strerror}.") from error


def _renamed(by_tfx: protocol.PipelineSpec) -> Specification:
    """The specification with the names that kfp's own compiler gives."""
    before = Specification(by_tfx, {})
    empty: protocol.PipelineSpec = {
        **by_tfx,
        "root": {"dag": {"tasks": {}}},
        "components": {},
        "deploymentSpec": {"executors": {}},
    }
    spec = Specification(empty, {})
    for node, task in before.tasks.items():
        task["dependentTasks"] = sorted(map(task_name, task.get("dependentTasks", [])))
        for artifact in task.get("inputs", {}).get("artifacts", {}).values():
            source = artifact["taskOutputArtifact"]
            source["producerTask"] = task_name(source["producerTask"])
        spec.add(task_name(node), task, before.component(node), before.container(node))
    return spec


def _finish(spec: Specification, node: "BaseNode") -> None:
    """Adds to a node's task what TFX doesn't say of it, and takes out what only Vertex would do."""
    from tfx.utils import name_utils

    name = task_name(node.id)
    container = spec.container(name)
    container.pop("lifecycle", None)  # the driver of ExampleGen, whose work our executor does
    inputs = spec.component(name)["inputDefinitions"].get("artifacts", {})
    titles = {key: protocol.title_of(of["artifactType"]) for key, of in inputs.items()}
    executor = node.executor_spec
    container["args"] = [
        *("--node", node.id),
        *("--executor", name_utils.get_full_name(executor.executor_class)),
        *("--input", EXECUTOR_INPUT),
        *(("--types", json.dumps(titles, sort_keys=True)) if titles else ()),
        *getattr(executor, "beam_pipeline_args", []),
    ]
    described = nodes.BY_ID[node.id]
    spec.tasks[name]["cachingOptions"] = {"enableCache": True} if described.determined else {}
    if described.notes_run:  # that alone makes each run's call another
        run: protocol.Parameter = {"runtimeValue": {"constant": protocol.RUN_ID}}
        spec.hand_over(name, protocol.RUN_PARAMETER, run)


def _add_images(spec: Specification) -> None:
    example_gen = task_name("ImportExampleGen")
    container: protocol.Container = {
        "image": spec.container(example_gen)["image"],
        "command": [*_MODULE, "darkroom.kubeflow.input_digest"],
        "args": ["--input", EXECUTOR_INPUT],
    }
    outputs: protocol.Definitions = {"parameters": {SEEN_PARAMETER: {"parameterType": "STRING"}}}
    spec.add(_IMAGES, {"cachingOptions": {}}, {"outputDefinitions": outputs}, container)
    parameters = spec.tasks[example_gen]["inputs"]["parameters"]
    for key in ("input_base", "input_config"):
        spec.hand_over(_IMAGES, key, parameters[key])
    spec.tasks[example_gen]["dependentTasks"] = [_IMAGES]
    source = {"producerTask": _IMAGES, "outputParameterKey": SEEN_PARAMETER}
    spec.hand_over(example_gen, SEEN_PARAMETER, {"taskOutputParameter": source})


def _limits(resources: Resources) -> dict[str, object]:
    """What a container gets, in the words of newer back ends and in those of older ones."""
    limits: dict[str, object] = {}
    if resources.cpu is not None:
        limits |= {"cpuLimit": resources.cpu, "resourceCpuLimit": f"{resources.cpu:g}"}
    if resources.memory is not None:
        size = TypeAdapter(ByteSize).validate_python(f"{resources.memory}B")
        limits |= {"memoryLimit": size / 1e9, "resourceMemoryLimit": resources.memory}
    if resources.accelerator is not None:
        kind, count = resources.accelerator, str(resources.accelerators)
        newer = {"resourceType": kind, "resourceCount": count}
        limits["accelerator"] = {"type": kind, "count": count, **newer}
    return limits


def _of_kubernetes(kubeflow: Kubeflow, resources: Resources) -> protocol.KubernetesExecutor:
    """What only Kubernetes knows of a container: secrets, volumes, the nodes that it may run on."""
    described: protocol.KubernetesExecutor = {}
    if kubeflow.secrets:
        described["secretAsEnv"] = [
            {"secretName": name, "keyToEnv": [{"secretKey": key, "envVar": variable}]}
            for variable, source in sorted(kubeflow.secrets.items())
            for name, _, key in [source.partition("/")]
        ]
    if kubeflow.volumes:
        volumes = sorted(kubeflow.volumes.items())
        described["pvcMount"] = [{"constant": claim, "mountPath": path} for path, claim in volumes]
    if resources.node_pool:
        described["nodeSelector"] = {"labels": dict(sorted(resources.node_pool.items()))}
    return described
