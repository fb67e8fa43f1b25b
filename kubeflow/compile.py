"""From a configuration to the specification that Kubeflow Pipelines and Vertex AI run.

TFX compiles the graph; what it leaves to do is done on the plain dict that comes of it: names as
Kubernetes takes them, our command in place of TFX's, what each container gets, and no cache for
tasks whose result depends on more than their inputs.
"""

import json
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from darkroom.components.base import user_code
from darkroom.components.base.errors import DarkroomError, closest
from darkroom.components.base.remote import is_remote
from darkroom.components.runs import environment
from darkroom.kubeflow.task import RUN_PARAMETER, SEEN_PARAMETER, title_of
from darkroom.pipeline import beam
from darkroom.pipeline.config import Config
from darkroom.pipeline.platforms import Kubeflow, Resources
from darkroom.pipeline.running import preflight

# What they look at can change without their inputs: earlier runs, what is pushed.
_UNCACHED = ("LastStatistics", "Baseline", "Pusher", "Report")
# These note on what they make which run made it; that alone makes each run's call another.
_NOTE_THE_RUN = ("Pusher", "Report")
_RUN_ID = "{{$.pipeline_job_uuid}}"
_MADE_BY = "made by darkroom compile"
_COMMAND = ("python", "-m", "darkroom.kubeflow.task")
# A task before ImportExampleGen, which takes part of its cache's key from it.
_FIRST, _BEFORE = "import-example-gen", "images"
_BEFORE_COMMAND = ("python", "-m", "darkroom.kubeflow.input_digest")
# Between tries, doubling; all of them within a week from the first's start: trainings take days.
_BACKOFF = {"backoffDuration": "10s", "backoffFactor": 2.0, "backoffMaxDuration": "604800s"}
# Buckets that the launcher of Kubeflow Pipelines knows, and TensorFlow.
_BUCKETS = ("gs", "s3")


def check(config: Config) -> None:
    """Checks what a cluster would only say after minutes; light, but for the user's own code.

    Raises:
      DarkroomError: no image; a path that containers don't see; what has no place there.
    """
    settings = config.kubeflow
    if settings.image is None:
        raise DarkroomError(
            "kubeflow.image: missing. Build the image with kubeflow/Dockerfile, push it to a "
            "registry that the cluster can read, and set kubeflow.image to its reference."
        )
    if config.data.bundled is not None:
        raise DarkroomError(
            f"data.bundled: {config.data.bundled} is written where darkroom run runs, and "
            "containers don't see that. Set data.path to a folder of TFRecords that they see."
        )
    _seen_by_containers(config, "root", config.root)
    _seen_by_containers(config, "data.path", config.data_path)
    weights = config.model.weights
    if weights not in (None, "imagenet"):
        _seen_by_containers(config, "model.weights", weights or "")
    if config.training.strategy == "multi_worker":
        raise DarkroomError(
            "training.strategy: multi_worker trains in several pods, and a task of Kubeflow "
            "Pipelines is one. Set it to mirrored, or run the pipeline in a TFJob instead: "
            "darkroom deploy training."
        )
    for key, path in config.user_code.items():
        user_code.resolve(path, key)


def _seen_by_containers(config: Config, key: str, path: str) -> None:
    volumes = sorted(config.kubeflow.volumes)
    scheme, remote, _ = path.partition("://")
    if remote and scheme not in _BUCKETS:
        raise DarkroomError(
            f"{key}: expected a bucket of gs:// or s3://, or a path below kubeflow.volumes, as "
            f"Kubeflow Pipelines knows no other; found {path}."
        )
    inside = Path(os.path.normpath(path))
    if remote or any(inside.is_relative_to(volume) for volume in volumes):
        return
    there = f"; kubeflow.volumes has {', '.join(volumes)}" if volumes else ""
    raise DarkroomError(
        f"{key}: {path} is a path of this machine, which containers don't see. Set it to a bucket, "
        f"such as gs://bucket/folder, or below a path of kubeflow.volumes{there}."
    )


def compiled(config: Config) -> list[dict[str, Any]]:
    """The pipeline's specification, and after it, where there is one, that of the platform.

    Raises:
      DarkroomError: as ``check``; also where what compiles is not installed, or a node is named
        that the graph doesn't have.
    """
    check(config)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import keras  # noqa: F401  # before tensorflow_transform, which would choose tf_keras
        from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner as tfx_runner
    except ImportError as error:
        raise DarkroomError(
            f"darkroom compile needs TFX and kfp, and {error.name} can't be imported: "
            "pip install 'darkroom-tfx[kubeflow]', with locks/ as constraints."
        ) from error
    from darkroom.pipeline.pipeline import create_pipeline

    preflight.rehearse(config)
    # How much there is to read isn't known here.
    options = beam.arguments(config.beam, data_bytes=0, cores=1)
    pipeline = create_pipeline(config, options, in_containers=True)
    known = [node.id for node in pipeline.components]
    for node in config.kubeflow.resources:
        if node != "*" and node not in known:
            raise DarkroomError(
                f"kubeflow.resources: {node} is no node of the graph, there are "
                f"{', '.join(known)}.{closest(node, known)}"
            )
    settings = tfx_runner.KubeflowV2DagRunnerConfig(
        default_image=config.kubeflow.image,
        default_commands=list(_COMMAND),
        use_pipeline_spec_2_1=True,
    )
    made = tfx_runner.KubeflowV2DagRunner(settings).run(pipeline, write_out=False)
    spec = _renamed(made["pipelineSpec"])
    if is_remote(config.root):
        spec["defaultPipelineRoot"] = config.pipeline_root
    nodes = {task_name(node.id): node for node in pipeline.components}
    for node in nodes.values():
        _finish(spec, node)
    _look_before(spec)
    on_kubernetes = {}
    for name, task in spec["root"]["dag"]["tasks"].items():
        wanted = config.kubeflow.resources_of(nodes[name].id if name in nodes else "")
        container = spec["deploymentSpec"]["executors"][f"exec-{name}"]["container"]
        container |= _resources(wanted)
        if config.kubeflow.environment:
            variables = sorted(config.kubeflow.environment.items())
            container["env"] = [{"name": key, "value": value} for key, value in variables]
        if config.kubeflow.retries:
            task["retryPolicy"] = {"maxRetryCount": config.kubeflow.retries, **_BACKOFF}
        if described := _on_kubernetes(config.kubeflow, wanted):
            on_kubernetes[f"exec-{name}"] = described
    if not on_kubernetes:
        return [spec]
    deployment = {"deploymentSpec": {"executors": on_kubernetes}}
    return [spec, {"platforms": {"kubernetes": deployment}}]


def write(documents: Sequence[dict[str, Any]], path: Path) -> None:
    """Writes the documents as YAML, whole or not at all.

    Raises:
      DarkroomError: the file can't be written.
    """
    spec = documents[0]
    heading = (
        f"# {spec['pipelineInfo']['name']}: {_MADE_BY}, "
        f"darkroom {environment.versions().get('darkroom', '')}\n"
    )
    text = yaml.safe_dump_all(documents, sort_keys=True, width=100, allow_unicode=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        if path.is_file() and not _is_ours(path):
            raise DarkroomError(
                f"{path} is there already, and darkroom compile didn't make it. Name another file "
                "with -o."
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(heading + text, encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        raise DarkroomError(f"{path} can't be written: {error.strerror}.") from error


def _is_ours(path: Path) -> bool:
    with open(path, encoding="utf-8", errors="replace") as file:
        return _MADE_BY in file.readline()


def task_name(node: str) -> str:
    """A node's id as Kubernetes and kfp write it: import-example-gen."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", node).lower()


def _renamed(spec: dict[str, Any]) -> dict[str, Any]:
    """With the names that kfp's own compiler gives: task, comp-task and exec-task."""
    tasks = {}
    for node, task in spec["root"]["dag"]["tasks"].items():
        name = task_name(node)
        task["taskInfo"]["name"] = name
        task["componentRef"]["name"] = f"comp-{name}"
        task["dependentTasks"] = sorted(map(task_name, task.get("dependentTasks", [])))
        for given in task.get("inputs", {}).get("artifacts", {}).values():
            source = given["taskOutputArtifact"]
            source["producerTask"] = task_name(source["producerTask"])
        tasks[name] = task
    components = {}
    for node, component in spec["components"].items():
        component["executorLabel"] = f"exec-{task_name(node)}"
        components[f"comp-{task_name(node)}"] = component
    executors = {
        f"exec-{task_name(label.removesuffix('_executor'))}": executor
        for label, executor in spec["deploymentSpec"]["executors"].items()
    }
    spec["root"]["dag"]["tasks"] = tasks
    return {**spec, "components": components, "deploymentSpec": {"executors": executors}}


def _finish(spec: dict[str, Any], node: Any) -> None:
    """Adds to a node's task what TFX doesn't say of it, and takes out what only Vertex would do."""
    from tfx.utils import name_utils

    name = task_name(node.id)
    task = spec["root"]["dag"]["tasks"][name]
    container = spec["deploymentSpec"]["executors"][f"exec-{name}"]["container"]
    container.pop("lifecycle", None)  # the driver of ExampleGen, whose work our executor does
    inputs = spec["components"][f"comp-{name}"]["inputDefinitions"]
    types = {key: title_of(one["artifactType"]) for key, one in inputs.get("artifacts", {}).items()}
    executor = node.executor_spec
    container["args"] = [
        *("--node", node.id),
        *("--executor", name_utils.get_full_name(executor.executor_class)),
        *("--input", "{{$}}"),
        *(("--types", json.dumps(types, sort_keys=True)) if types else ()),
        # The code's fingerprint, part of the cache's key as on the laptop, and options of Beam.
        *executor.extra_flags,
        *getattr(executor, "beam_pipeline_args", []),
    ]
    task["cachingOptions"] = {} if node.id in _UNCACHED else {"enableCache": True}
    if node.id in _NOTE_THE_RUN:
        inputs["parameters"][RUN_PARAMETER] = {"parameterType": "STRING"}
        task["inputs"]["parameters"][RUN_PARAMETER] = {"runtimeValue": {"constant": _RUN_ID}}


def _look_before(spec: dict[str, Any]) -> None:
    """Adds the task that looks at the images' files, for ImportExampleGen to be cached by."""
    tasks, executors = spec["root"]["dag"]["tasks"], spec["deploymentSpec"]["executors"]
    first, component = tasks[_FIRST], spec["components"][f"comp-{_FIRST}"]
    string = {"parameterType": "STRING"}
    taken = ("input_base", "input_config")
    given = {key: first["inputs"]["parameters"][key] for key in taken}
    tasks[_BEFORE] = {
        "taskInfo": {"name": _BEFORE},
        "componentRef": {"name": f"comp-{_BEFORE}"},
        "inputs": {"parameters": given},
        "cachingOptions": {},
    }
    spec["components"][f"comp-{_BEFORE}"] = {
        "executorLabel": f"exec-{_BEFORE}",
        "inputDefinitions": {"parameters": dict.fromkeys(taken, string)},
        "outputDefinitions": {"parameters": {SEEN_PARAMETER: string}},
    }
    image = executors[f"exec-{_FIRST}"]["container"]["image"]
    executors[f"exec-{_BEFORE}"] = {
        "container": {
            "image": image,
            "command": list(_BEFORE_COMMAND),
            "args": ["--input", "{{$}}"],
        }
    }
    first["dependentTasks"] = [_BEFORE]
    source = {"producerTask": _BEFORE, "outputParameterKey": SEEN_PARAMETER}
    first["inputs"]["parameters"][SEEN_PARAMETER] = {"taskOutputParameter": source}
    component["inputDefinitions"]["parameters"][SEEN_PARAMETER] = string


def _resources(wanted: Resources) -> dict[str, Any]:
    """What a container gets, in the words of newer back ends and in those of older ones."""
    described: dict[str, Any] = {}
    if wanted.cpu is not None:
        described |= {"cpuLimit": wanted.cpu, "resourceCpuLimit": f"{wanted.cpu:g}"}
    if wanted.memory is not None:
        gigabytes = _bytes(wanted.memory) / 1e9
        described |= {"memoryLimit": gigabytes, "resourceMemoryLimit": wanted.memory}
    if wanted.accelerator is not None:
        count = str(wanted.accelerators)
        described["accelerator"] = {
            "type": wanted.accelerator,
            "count": count,
            "resourceType": wanted.accelerator,
            "resourceCount": count,
        }
    return {"resources": described} if described else {}


def _bytes(quantity: str) -> float:
    """A quantity as Kubernetes writes it: 8Gi, 500M."""
    number = quantity.rstrip("kKMGTPEi")
    unit = quantity.removeprefix(number).upper()
    base = 1024.0 if unit.endswith("I") else 1000.0
    return float(number) * math.pow(base, " KMGTPE".index(unit[0]) if unit else 0)


def _on_kubernetes(kubeflow: Kubeflow, wanted: Resources) -> dict[str, Any]:
    """What only Kubernetes knows of a container, as kfp-kubernetes says it: secrets, volumes."""
    described: dict[str, Any] = {}
    if kubeflow.secrets:
        described["secretAsEnv"] = [
            {"secretName": name, "keyToEnv": [{"secretKey": key, "envVar": variable}]}
            for variable, source in sorted(kubeflow.secrets.items())
            for name, _, key in [source.partition("/")]
        ]
    if kubeflow.volumes:
        described["pvcMount"] = [
            {"constant": claim, "mountPath": path}
            for path, claim in sorted(kubeflow.volumes.items())
        ]
    if wanted.node_pool:
        described["nodeSelector"] = {"labels": dict(sorted(wanted.node_pool.items()))}
    return described
