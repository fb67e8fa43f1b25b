"""A compiled specification, read from its file and checked before anything runs of it."""

import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from darkroom.components.base.errors import DarkroomError, closest
from darkroom.kubeflow.task import title_of

SCHEMA_VERSION = "2.1.0"
# As Kubernetes has the names of what it makes for a task.
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_PARAMETERS = {
    "STRING": (str,),
    "NUMBER_INTEGER": (int, float),
    "NUMBER_DOUBLE": (int, float),
    "BOOLEAN": (bool,),
    "LIST": (list,),
    "STRUCT": (dict,),
}


class Task(NamedTuple):
    """A task of the graph."""

    name: str
    container: dict[str, Any]  # image, command, args, env
    inputs: dict[str, tuple[str, str]]  # key → the task and the key that it comes from
    outputs: dict[str, dict[str, Any]]  # key → artifactType
    parameters: dict[str, Any]  # constants
    told: dict[str, tuple[str, str]]  # parameters that are other tasks': as inputs
    tells: dict[str, str]  # output parameters: key → parameterType
    after: set[str]  # tasks that must be done before
    platform: dict[str, Any]  # what kfp-kubernetes says of the container


class _Loader(yaml.SafeLoader):
    """YAML in which a name that is there twice is an error, not the last one that counts."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise DarkroomError(
                    f"{node.start_mark.name}, line {key_node.start_mark.line + 1}: {key} is there "
                    "twice, and names must be unique. Compile the pipeline again."
                )
            seen.add(key)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


def load(path: Path) -> tuple[str, list[Task]]:
    """The pipeline's name, and its tasks in an order in which they can run.

    Raises:
      DarkroomError: not such a file, another schema, or a graph that can't run: a missing image, an
        unknown task, an artifact of another type than is wanted, tasks that wait for each other.
    """
    try:
        with open(path, encoding="utf-8") as file:
            documents = list(yaml.load_all(file, _Loader))
    except OSError as error:
        raise DarkroomError(f"{path}: can't be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DarkroomError(f"{path}: not valid YAML. darkroom compile makes one.") from error
    first = documents[0] if documents else None
    if not isinstance(first, dict) or not {"root", "components", "deploymentSpec"} <= set(first):
        raise DarkroomError(
            f"{path}: expected the specification of a pipeline, with root, components and "
            "deploymentSpec. darkroom compile makes one."
        )
    if first.get("schemaVersion") != SCHEMA_VERSION:
        raise DarkroomError(
            f"{path}: expected schemaVersion {SCHEMA_VERSION}, found {first.get('schemaVersion')}. "
            "Compile the pipeline again, with darkroom compile."
        )
    try:
        pipeline = first["pipelineInfo"]["name"]
        platforms = (documents[1] or {}).get("platforms", {}) if len(documents) > 1 else {}
        kubernetes = platforms.get("kubernetes", {}).get("deploymentSpec", {})
        tasks = {
            name: _task(path, first, name, task, kubernetes.get("executors", {}))
            for name, task in first["root"]["dag"]["tasks"].items()
        }
        for task in tasks.values():
            for problem in _problems(first, task, tasks):
                raise DarkroomError(f"{path}: task {task.name}: {problem}")
    except (KeyError, AttributeError, TypeError) as error:
        raise DarkroomError(
            f"{path}: not a specification that can run: {type(error).__name__} {error}. "
            "Compile the pipeline again, with darkroom compile."
        ) from error
    try:
        order = list(
            TopologicalSorter({t.name: sorted(t.after) for t in tasks.values()}).static_order()
        )
    except CycleError as error:
        raise DarkroomError(
            f"{path}: these tasks wait for each other: {' → '.join(error.args[1])}."
        ) from None
    return pipeline, [tasks[name] for name in order]


def _task(
    path: Path, spec: dict[str, Any], name: str, task: dict[str, Any], platform: dict[str, Any]
) -> Task:
    try:
        component = spec["components"][task["componentRef"]["name"]]
        label = component["executorLabel"]
        container = spec["deploymentSpec"]["executors"][label]["container"]
        given = task.get("inputs", {})
        inputs = {
            key: (
                source["taskOutputArtifact"]["producerTask"],
                source["taskOutputArtifact"]["outputArtifactKey"],
            )
            for key, source in given.get("artifacts", {}).items()
        }
        values = given.get("parameters", {})
        told = {
            key: (
                value["taskOutputParameter"]["producerTask"],
                value["taskOutputParameter"]["outputParameterKey"],
            )
            for key, value in values.items()
            if "taskOutputParameter" in value
        }
        constants = {
            key: value["runtimeValue"]["constant"]
            for key, value in values.items()
            if key not in told
        }
    except KeyError as error:
        raise DarkroomError(
            f"{path}: task {name}: {error.args[0]!r} is missing, or of a kind that can't run here: "
            "expected a container with artifacts and parameters of other tasks, and constants."
        ) from None
    defined = component.get("outputDefinitions", {})
    return Task(
        name,
        container,
        inputs,
        {key: output["artifactType"] for key, output in defined.get("artifacts", {}).items()},
        constants,
        told,
        {key: output["parameterType"] for key, output in defined.get("parameters", {}).items()},
        # Who makes an artifact or tells a parameter is waited for also where nobody says so.
        {*task.get("dependentTasks", []), *(of for of, _ in (*inputs.values(), *told.values()))},
        platform.get(label, {}),
    )


def _problems(spec: dict[str, Any], task: Task, tasks: dict[str, Task]) -> Iterator[str]:
    """What would stop it on a cluster, in sentences."""
    if not _NAME.fullmatch(task.name):
        yield "Kubernetes takes names of lower-case letters, digits and dashes only."
    if not task.container.get("image"):
        yield "no image. Set kubeflow.image, and compile again."
    if not task.container.get("command"):
        yield "no command: what the image does by itself can't be run here."
    for other in sorted(task.after - set(tasks)):
        yield f"waits for {other}, which is no task.{closest(other, list(tasks))}"
    component = spec["components"][spec["root"]["dag"]["tasks"][task.name]["componentRef"]["name"]]
    wanted = component.get("inputDefinitions", {})
    for key, (producer, output) in task.inputs.items():
        made = tasks[producer].outputs
        if output not in made:
            yield f"wants {output} of {producer}, which makes {', '.join(made) or 'nothing'}."
            continue
        expected, found = title_of(wanted["artifacts"][key]["artifactType"]), title_of(made[output])
        if expected != found:
            yield f"expects {expected} as {key}, and {producer} makes {found}."
    for key, value in task.parameters.items():
        kind = wanted["parameters"][key]["parameterType"]
        fits = isinstance(value, _PARAMETERS[kind])
        if not fits or isinstance(value, bool) != (kind == "BOOLEAN"):
            yield f"parameter {key} is to be {kind}, found {value!r}."
    for key, (teller, told) in task.told.items():
        kind, tells = wanted["parameters"][key]["parameterType"], tasks[teller].tells.get(told)
        if kind != tells:
            yield f"parameter {key} is to be {kind}, and {teller} tells {tells or 'none'}."
