"""The compiled specification: as Kubeflow Pipelines reads it, and as it was."""

import copy
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format
from kfp import components
from kfp.kubernetes import kubernetes_executor_config_pb2
from kfp.pipeline_spec import pipeline_spec_pb2

from darkroom.components.base.errors import DarkroomError
from darkroom.components.base.settings import Code
from darkroom.kubeflow import compile as compiler
from darkroom.kubeflow import spec
from darkroom.kubeflow.protocol import Specification, task_name, title_of
from darkroom.pipeline.config import load
from tests.conftest import darkroom

GOLDEN = Path(__file__).with_name("golden") / "kubeflow.yaml"
# Set to write the golden file anew; then read what has changed in it.
WRITE = "DARKROOM_WRITE_GOLDEN"
CONFIG = """
name: cells
training: {recipe: none}
root: gs://bucket/runs
data: {path: /images/cells}
model: {filters: [8], units: [8]}
tuner: {enabled: true, max_trials: 2, space: {training.learning_rate: {min: 1e-3, max: 1e-2}}}
kubeflow:
  image: registry.example/team/darkroom:1.0
  resources:
    Trainer: {cpu: 4, memory: 8Gi, accelerator: nvidia.com/gpu, node_pool: {pool: gpu}}
    "*": {cpu: 0.5, memory: 500M}
  environment: {S3_ENDPOINT: storage.example}
  secrets: {AWS_SECRET_ACCESS_KEY: storage/secret-key}
  volumes: {/images: images}
  retries: 2
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What darkroom compile makes of CONFIG."""
    folder = tmp_path_factory.mktemp("compile")
    (folder / "cells.yaml").write_text(CONFIG)
    arguments = ("compile", "--target", "kubeflow", "--config", "cells.yaml")
    result = darkroom(*arguments, cwd=folder)
    assert result.returncode == 0, result.stdout
    path = folder / "cells-kubeflow.yaml"
    assert result.stdout == f"{path.name}: cells for Kubeflow Pipelines\n"
    assert sorted(folder.iterdir()) == [path, folder / "cells.yaml"]
    return path


@pytest.fixture(scope="module")
def documents(written: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(written.read_text()))


def test_kubeflow_pipelines_reads_it(written: Path, documents: list[dict[str, Any]]) -> None:
    loaded = components.load_component_from_file(str(written))
    assert loaded.name == "cells"
    described, platform = documents
    assert described["schemaVersion"] == "2.1.0"
    assert described["defaultPipelineRoot"] == "gs://bucket/runs/cells/artifacts"
    # Neither knows a key that its protocol doesn't.
    json_format.ParseDict(described, pipeline_spec_pb2.PipelineSpec())
    deployment = pipeline_spec_pb2.PipelineDeploymentConfig()
    json_format.ParseDict(described["deploymentSpec"], deployment)
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(executors) == set(deployment.executors)
    for executor in executors.values():
        message = kubernetes_executor_config_pb2.KubernetesExecutorConfig()
        json_format.ParseDict(executor, message)
        assert message.secret_as_env[0].key_to_env[0].env_var == "AWS_SECRET_ACCESS_KEY"
        assert message.pvc_mount[0].mount_path == "/images"
    trainer = executors["exec-trainer"]
    assert trainer["nodeSelector"] == {"labels": {"pool": "gpu"}}
    assert "nodeSelector" not in executors["exec-transform"]


def test_nothing_is_left_to_the_platform_that_it_can_not_do(
    documents: list[dict[str, Any]],
) -> None:
    described, _ = documents
    for name, executor in described["deploymentSpec"]["executors"].items():
        container = executor["container"]  # neither a resolver nor an importer
        assert container["image"] == "registry.example/team/darkroom:1.0"
        module = "input_digest" if name == "exec-images" else "task"
        assert container["command"] == ["python", "-m", f"darkroom.kubeflow.{module}"]
        assert "lifecycle" not in container, name
        assert container["env"] == [{"name": "S3_ENDPOINT", "value": "storage.example"}]
    resources = described["deploymentSpec"]["executors"]["exec-trainer"]["container"]["resources"]
    assert resources["cpuLimit"] == 4
    assert resources["resourceMemoryLimit"] == "8Gi"
    assert resources["memoryLimit"] == pytest.approx(8 * 2**30 / 1e9)
    assert resources["accelerator"]["resourceType"] == "nvidia.com/gpu"
    others = described["deploymentSpec"]["executors"]["exec-pusher"]["container"]["resources"]
    assert others["cpuLimit"] == 0.5
    assert others["memoryLimit"] == pytest.approx(0.5)


def test_caches_where_inputs_and_code_decide(documents: list[dict[str, Any]]) -> None:
    described, _ = documents
    tasks = described["root"]["dag"]["tasks"]
    for one in tasks.values():
        assert one["retryPolicy"]["maxRetryCount"] == 2
        assert one["retryPolicy"]["backoffMaxDuration"] == "604800s"  # 0 s would mean no retry
    cached = {name for name, task in tasks.items() if task["cachingOptions"].get("enableCache")}
    uncached = set(tasks) - cached
    assert uncached == {"images", "last-statistics", "baseline", "pusher", "report"}
    # What an uncached task makes has another id each time, so that who takes it is not found.
    in_vain = {
        name
        for name in cached
        for source in tasks[name]["inputs"].get("artifacts", {}).values()
        if source["taskOutputArtifact"]["producerTask"] in uncached
    }
    assert in_vain == {"example-validator", "evaluator"}
    seen = tasks["import-example-gen"]["inputs"]["parameters"]["seen"]
    assert seen == {"taskOutputParameter": {"producerTask": "images", "outputParameterKey": "seen"}}
    for name in cached - {"statistics-gen"}:  # whose code is TFX's
        settings = tasks[name]["inputs"]["parameters"]["custom_config"]["runtimeValue"]["constant"]
        assert re.fullmatch(r"[0-9a-f]{16}", Code.of(settings).fingerprint), name


def test_is_what_it_was(documents: list[dict[str, Any]]) -> None:
    described = _steady(documents)
    if WRITE in os.environ:
        GOLDEN.write_text(yaml.safe_dump_all(described, width=100))
    expected = list(yaml.safe_load_all(GOLDEN.read_text()))
    assert described == expected, f"if that was meant: {WRITE}=1 pytest {__file__}"


def _steady(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without what other code or another default changes: hashes, and values of settings."""
    steady = copy.deepcopy(documents)
    steady[0].pop("sdkVersion")
    for described in steady[0]["root"]["dag"]["tasks"].values():
        for parameter in described["inputs"]["parameters"].values():
            value = parameter.get("runtimeValue", {}).get("constant")
            if isinstance(value, str) and value.startswith("{") and not value.startswith("{{"):
                parameter["runtimeValue"]["constant"] = sorted(json.loads(value))
    for component in steady[0]["components"].values():
        for side in ("inputDefinitions", "outputDefinitions"):
            for artifact in component.get(side, {}).get("artifacts", {}).values():
                artifact["artifactType"] = title_of(artifact["artifactType"])
    return steady


def test_tasks_are_in_an_order_in_which_they_can_run(written: Path) -> None:
    name, tasks = spec.load(written)
    assert name == "cells"
    done: set[str] = set()
    for one in tasks:
        assert one.after <= done
        done.add(one.name)
    assert {"tuner", "trainer", "last-statistics", "baseline", "serving-validator"} <= done


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["kubeflow.image=null"], "kubeflow.image: missing. Build the image with"),
        (["kubeflow.image=Not An Image"], "kubeflow.image: expected a reference such as"),
        (["root=runs"], "root: runs is a path of this machine, which containers don't see."),
        (["root=hdfs://name/runs"], "root: expected a bucket of gs:// or s3://"),
        (["data.path=/images/../home"], "data.path: /home is a path of this machine"),
        (["kubeflow.image=registry.example/A/darkroom:1"], "kubeflow.image: expected a reference"),
        (["root=/elsewhere"], "below a path of kubeflow.volumes; kubeflow.volumes has /images."),
        (["data.path=/imagesx"], "data.path: /imagesx is a path of this machine"),
        (["data={bundled: digits}"], "data.bundled: digits is written where darkroom run runs"),
        (["model.weights=/tmp/w.keras"], "model.weights: /tmp/w.keras is a path of this machine"),
        (
            ["root=/images/runs", "training.strategy=multi_worker"],
            "training.strategy: multi_worker trains in several",
        ),
        (["model.build_fn=nowhere.build"], "names the module 'nowhere', which can't be found"),
    ],
)
def test_what_a_cluster_would_say_after_minutes(
    tmp_path: Path, overrides: list[str], sentence: str
) -> None:
    (tmp_path / "cells.yaml").write_text(CONFIG)
    with pytest.raises(DarkroomError) as caught:
        compiler.check(load(tmp_path / "cells.yaml", overrides))
    assert sentence in str(caught.value)


def test_what_is_seen_by_containers(tmp_path: Path) -> None:
    (tmp_path / "cells.yaml").write_text(CONFIG)
    for overrides in (
        *([], ["root=/images/runs"], ["data.path=s3://bucket/cells"]),
        ["kubeflow.image=Registry.example:5000/a__b/c:1.0-x@sha256:" + "0a" * 32],
    ):
        compiler.check(load(tmp_path / "cells.yaml", overrides))


def test_a_node_that_the_graph_does_not_have(tmp_path: Path) -> None:
    (tmp_path / "cells.yaml").write_text(CONFIG)
    config = load(tmp_path / "cells.yaml", ["kubeflow.resources.Trainr.cpu=1"])
    with pytest.raises(DarkroomError, match=r"Trainr is no node.* Did you mean 'Trainer'"):
        compiler.compiled(config)


def test_without_the_extra_there_is_the_line_that_installs_it(tmp_path: Path) -> None:
    (tmp_path / "cells.yaml").write_text(CONFIG)
    (tmp_path / "kfp.py").write_text("raise ModuleNotFoundError('No module', name='kfp')")
    # The folder of the command comes last on the path, so what is installed is hidden by a source.
    result = darkroom("compile", "--config", "cells.yaml", cwd=tmp_path, source=_hiding(tmp_path))
    assert result.returncode == 1
    assert "darkroom compile needs TFX and kfp, and kfp can't be imported: pip install" in (
        result.stdout
    )


def _hiding(folder: Path) -> Any:
    """Both folders on Python's path: one that hides kfp, and the sources."""
    return f"{folder}{os.pathsep}{Path(__file__).resolve().parent.parent}"


def test_names_of_tasks() -> None:
    assert task_name("ImportExampleGen") == "import-example-gen"
    assert task_name("Tuner") == "tuner"


def test_no_file_of_the_users_is_written_over(tmp_path: Path, documents: list[Any]) -> None:
    config = tmp_path / "cells.yaml"
    config.write_text(CONFIG)
    with pytest.raises(DarkroomError, match=r"cells\.yaml is there already, and darkroom compile"):
        compiler.write(Specification.of_documents(*documents), config)
    assert config.read_text() == CONFIG
    made = tmp_path / "made" / "pipeline.yaml"
    for _ in range(2):  # its own it replaces
        compiler.write(Specification.of_documents(*documents), made)
    assert list(yaml.safe_load_all(made.read_text())) == documents
