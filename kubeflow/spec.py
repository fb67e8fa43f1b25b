"""A compiled specification, read from its file and checked before anything runs of it."""

import re
from collections.abc import Hashable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import yaml

from darkroom.components.base.errors import DarkroomError, closest
from darkroom.kubeflow import protocol
from darkroom.kubeflow.protocol import SCHEMA_VERSION, Specification, title_of

_AGAIN = "Compile the pipeline again, with darkroom compile."
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")  # as Kubernetes has them
_PARAMETERS = {
    "STRING": (str,),
    "NUMBER_INTEGER": (int, float),
    "NUMBER_DOUBLE": (int, float),
    "BOOLEAN": (bool,),
    "LIST": (list,),
    "STRUCT": (dict,),
}


class Source(NamedTuple):
    """Where an input comes from."""

    task: str
    key: str  # of its output


class Task(NamedTuple):
    """A task of the graph; its inputs and outputs by key."""

    name: str
    container: protocol.Container
    kubernetes: protocol.KubernetesExecutor
    inputs: dict[str, Source]  # artifacts
    parameters: dict[str, Source]
    constants: dict[str, object]
    outputs: dict[str, protocol.ArtifactType]
    output_parameters: dict[str, str]  # their parameterType
    after: set[str]  # tasks that must be done before

    @property
    def command(self) -> list[str]:
        return [*self.container["command"], *self.container.get("args", [])]


class _Loader(yaml.SafeLoader):
    """YAML in which a name that is there twice is an error, not the last one that counts."""

    def construct_mapping(
        self, node: yaml.MappingNode, deep: bool = False
    ) -> dict[Hashable, object]:
        keys: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in keys:
                raise DarkroomError(
                    f"{node.start_mark.name}, line {key_node.start_mark.line + 1}: {key} is there "
                    "twice, and names must be unique. Compile the pipeline again."
                )
            keys.add(key)
        mapping: dict[Hashable, object] = super().construct_mapping(node, deep)
        return mapping


def load(path: Path) -> tuple[str, list[Task]]:
    """The pipeline's name, and its tasks in an order in which they can run; or DarkroomError."""
    try:
        with open(path, encoding="utf-8") as file:
            documents = list(yaml.load_all(file, _Loader))
    except OSError as error:
        raise DarkroomError(f"{path}: can't be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DarkroomError(f"{path}: not valid YAML. darkroom compile makes one.") from error
    first = documents[0] if documents else None
    if not isinstance(first, dict) or not {"root", "components", "deploymentSpec"} <= set(first):
        keys = "root, components and deploymentSpec. darkroom compile makes one."
        raise DarkroomError(f"{path}: expected the specification of a pipeline, with {keys}")
    if first.get("schemaVersion") != SCHEMA_VERSION:
        versions = f"{SCHEMA_VERSION}, found {first.get('schemaVersion')}"
        raise DarkroomError(f"{path}: expected schemaVersion {versions}. {_AGAIN}")
    try:
        spec = Specification.of_documents(*documents[:2])
        pipeline = spec.pipeline["pipelineInfo"]["name"]
        tasks = {name: _task(path, spec, name, task) for name, task in spec.tasks.items()}
        for task in tasks.values():
            for problem in _problems(spec, task, tasks):
                raise DarkroomError(f"{path}: task {task.name}: {problem}")
    except (KeyError, AttributeError, TypeError) as error:
        reason = f"{type(error).__name__} {error}"
        message = f"{path}: not a specification that can run: {reason}. {_AGAIN}"
        raise DarkroomError(message) from error
    sorter = TopologicalSorter({task.name: sorted(task.after) for task in tasks.values()})
    try:
        return pipeline, [tasks[name] for name in sorter.static_order()]
    except CycleError as error:
        message = f"{path}: these tasks wait for each other: {' → '.join(error.args[1])}."
        raise DarkroomError(message) from None


def _task(path: Path, spec: Specification, name: str, described: protocol.TaskSpec) -> Task:
    try:
        component, container = spec.component(name), spec.container(name)
        taken = described.get("inputs", {})
        inputs = {
            key: Source(output["producerTask"], output["outputArtifactKey"])
            for key, of in taken.get("artifacts", {}).items()
            for output in [of["taskOutputArtifact"]]
        }
        parameters, constants = {}, {}
        for key, of in taken.get("parameters", {}).items():
            if output := of.get("taskOutputParameter"):
                parameters[key] = Source(output["producerTask"], output["outputParameterKey"])
            else:
                constants[key] = of["runtimeValue"]["constant"]
    except KeyError as error:
        raise DarkroomError(
            f"{path}: task {name}: {error.args[0]!r} is missing, or of a kind that can't run here: "
            "expected a container with artifacts and parameters of other tasks, and constants."
        ) from None
    outputs = component.get("outputDefinitions", {})
    sources = [*inputs.values(), *parameters.values()]
    return Task(
        name,
        container,
        spec.kubernetes.get(component["executorLabel"], {}),
        inputs,
        parameters,
        constants,
        {key: output["artifactType"] for key, output in outputs.get("artifacts", {}).items()},
        {key: output["parameterType"] for key, output in outputs.get("parameters", {}).items()},
        # Who makes an input is waited for also where nobody says so.
        {*described.get("dependentTasks", []), *(task for task, _ in sources)},
    )


def _problems(spec: Specification, task: Task, tasks: dict[str, Task]) -> Iterator[str]:
    if not _NAME.fullmatch(task.name):
        yield "Kubernetes takes names of lower-case letters, digits and dashes only."
    if not task.container.get("image"):
        yield "no image. Set kubeflow.image, and compile again."
    if not task.container.get("command"):
        yield "no command: what the image does by itself can't be run here."
    for other in sorted(task.after - set(tasks)):
        yield f"waits for {other}, which is no task.{closest(other, list(tasks))}"
    expected = spec.component(task.name).get("inputDefinitions", {})
    for key, (producer, output) in task.inputs.items():
        outputs = tasks[producer].outputs
        if output not in outputs:
            yield f"wants {output} of {producer}, which makes {', '.join(outputs) or 'nothing'}."
            continue
        title = title_of(expected["artifacts"][key]["artifactType"])
        if title != title_of(outputs[output]):
            yield f"expects {title} as {key}, and {producer} makes {title_of(outputs[output])}."
    for key, value in task.constants.items():
        kind = expected["parameters"][key]["parameterType"]
        fits = isinstance(value, _PARAMETERS[kind])
        if not fits or isinstance(value, bool) != (kind == "BOOLEAN"):
            yield f"parameter {key} is to be {kind}, found {value!r}."
    for key, (teller, output) in task.parameters.items():
        kind = expected["parameters"][key]["parameterType"]
        output_kind = tasks[teller].output_parameters.get(output)
        if kind != output_kind:
            yield f"parameter {key} is to be {kind}, and {teller} tells {output_kind or 'none'}."
