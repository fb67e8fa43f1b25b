import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from darkroom.components.base.errors import DarkroomError
from darkroom.kubeflow import spec


def component(inputs: dict[str, str], outputs: dict[str, str], label: str) -> dict[str, Any]:
    def types(of: dict[str, str]) -> dict[str, Any]:
        return {key: {"artifactType": {"schemaTitle": title}} for key, title in of.items()}

    return {
        "executorLabel": label,
        "inputDefinitions": {
            "artifacts": types(inputs),
            "parameters": {"size": {"parameterType": "NUMBER_INTEGER"}},
        },
        "outputDefinitions": {"artifacts": types(outputs)},
    }


def graph() -> dict[str, Any]:
    """Two tasks: one makes what the other takes."""
    container = {"image": "image", "command": ["python"]}

    def task(name: str, inputs: dict[str, str]) -> dict[str, Any]:
        return {
            "componentRef": {"name": f"comp-{name}"},
            "inputs": {
                "artifacts": {
                    key: {"taskOutputArtifact": {"producerTask": of, "outputArtifactKey": key}}
                    for key, of in inputs.items()
                },
                "parameters": {"size": {"runtimeValue": {"constant": 3}}},
            },
        }

    return {
        "pipelineInfo": {"name": "two"},
        "schemaVersion": "2.1.0",
        # The second comes first, and nobody says but by its input that it waits.
        "root": {"dag": {"tasks": {"b": task("b", {"made": "a"}), "a": task("a", {})}}},
        "components": {
            "comp-a": component({}, {"made": "tfx.Examples"}, "exec-a"),
            "comp-b": component({"made": "tfx.Examples"}, {}, "exec-b"),
        },
        "deploymentSpec": {
            "executors": {f"exec-{n}": {"container": dict(container)} for n in "ab"}
        },
    }


def load(tmp_path: Path, described: Any) -> tuple[str, list[spec.Task]]:
    path = tmp_path / "two.yaml"
    path.write_text(described if isinstance(described, str) else yaml.safe_dump(described))
    return spec.load(path)


def test_who_makes_an_artifact_comes_first(tmp_path: Path) -> None:
    name, tasks = load(tmp_path, graph())
    assert name == "two"
    assert [task.name for task in tasks] == ["a", "b"]
    assert tasks[1].inputs == {"made": ("a", "made")}
    assert tasks[1].after == {"a"}
    assert tasks[0].constants == {"size": 3}


def changed(*path: str, to: Any) -> dict[str, Any]:
    described = copy.deepcopy(graph())
    branch: Any = described
    for key in path[:-1]:
        branch = branch[key]
    branch[path[-1]] = to
    return described


TASKS = ("root", "dag", "tasks")
SIZE = (*TASKS, "a", "inputs", "parameters", "size")
TOLD = {"producerTask": "b", "outputParameterKey": "size"}
MADE = ("artifacts", "made", "artifactType", "schemaTitle")


@pytest.mark.parametrize(
    ("described", "sentence"),
    [
        ("a: [", "not valid YAML"),
        ("a: 1", "expected the specification of a pipeline, with root, components and"),
        ("", "expected the specification of a pipeline"),
        (changed("schemaVersion", to="2.0.0"), "expected schemaVersion 2.1.0, found 2.0.0"),
        (
            changed(*TASKS, "b", "dependentTasks", to=["aa"]),
            "task b: waits for aa, which is no task. Did you mean 'a'?",
        ),
        (
            changed("components", "comp-b", "inputDefinitions", *MADE, to="tfx.Model"),
            "task b: expects tfx.Model as made, and a makes tfx.Examples.",
        ),
        (
            changed("components", "comp-a", "outputDefinitions", "artifacts", to={}),
            "task b: wants made of a, which makes nothing.",
        ),
        (
            changed(*TASKS, "a", "dependentTasks", to=["b"]),
            "these tasks wait for each other: a → b → a.",
        ),
        (
            changed("deploymentSpec", "executors", "exec-a", "container", "image", to=""),
            "task a: no image.",
        ),
        (
            changed("deploymentSpec", "executors", "exec-a", "container", to={"image": "image"}),
            "task a: no command",
        ),
        (
            changed("deploymentSpec", "executors", "exec-a", to={"importer": {}}),
            "task a: 'container' is missing, or of a kind that can't run here",
        ),
        (
            changed(
                *TASKS, "a", "inputs", "parameters", "size", "runtimeValue", to={"constant": "x"}
            ),
            "task a: parameter size is to be NUMBER_INTEGER, found 'x'.",
        ),
        (
            changed(*SIZE, "runtimeValue", to={"constant": True}),
            "task a: parameter size is to be NUMBER_INTEGER, found True.",
        ),
        (
            changed(*SIZE, to={"taskOutputParameter": TOLD}),
            "task a: parameter size is to be NUMBER_INTEGER, and b tells none.",
        ),
        (changed("root", to={}), "not a specification that can run: KeyError 'dag'"),
        (changed("pipelineInfo", to={}), "not a specification that can run: KeyError 'name'"),
        (changed(*TASKS, to=None), "not a specification that can run: AttributeError"),
        (
            changed("components", "comp-b", "inputDefinitions", "artifacts", to={}),
            "not a specification that can run: KeyError 'made'",
        ),
        (
            changed(*TASKS, to={"My_Task": graph()["root"]["dag"]["tasks"]["a"]}),
            "task My_Task: Kubernetes takes names of lower-case letters",
        ),
    ],
)
def test_a_graph_that_can_not_run(tmp_path: Path, described: Any, sentence: str) -> None:
    with pytest.raises(DarkroomError) as caught:
        load(tmp_path, described)
    assert str(caught.value).startswith(f"{tmp_path / 'two.yaml'}: ")
    assert sentence in str(caught.value)


def test_names_are_unique(tmp_path: Path) -> None:
    text = yaml.safe_dump(graph())
    twice = text.replace("      a:\n", "      b: {}\n      a:\n")
    assert twice != text
    with pytest.raises(DarkroomError, match=r"line \d+: b is there twice, and names must be"):
        load(tmp_path, twice)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DarkroomError, match="can't be read: No such file"):
        spec.load(tmp_path / "none.yaml")
