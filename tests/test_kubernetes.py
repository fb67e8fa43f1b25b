import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from darkroom.components.base.errors import DarkroomError
from darkroom.pipeline import kubernetes
from darkroom.pipeline.config import Config, load
from darkroom.pipeline.kubernetes import Pods
from tests.conftest import darkroom

OLDEST, NEWEST = "1.33", "1.37"  # Kubernetes, of which the package has the schemas
PODS = Pods(image="registry.example/darkroom:0.1", claim="runs", workers=3, gpus=2)
OPTIONS = ["--config", "mine.yaml", "--set", "report.limits=$5"]

# The Training Operator's kubeflow.org/v1: TFJobSpec, RunPolicy and ReplicaSpec. No light package
# has the schema of its resources.
OF_JOB = {"runPolicy", "successPolicy", "tfReplicaSpecs", "enableDynamicWorker"}
OF_RUN_POLICY = {
    "cleanPodPolicy", "ttlSecondsAfterFinished", "activeDeadlineSeconds", "backoffLimit",
    "schedulingPolicy", "suspend", "managedBy",
}  # fmt: skip
OF_REPLICAS = {"replicas", "template", "restartPolicy"}
RESTART_POLICIES = {"Always", "OnFailure", "Never", "ExitCode"}


def config(*overrides: str) -> Config:
    return load("digits", ["name=flowers", *overrides])


def check_pods(template: dict[str, Any], version: str) -> dict[str, Any]:
    """Has Kubernetes' schema look at them; returns the container."""
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": template["spec"]}
    kubernetes_validate.validate(pod, version, strict=True)
    [container] = template["spec"]["containers"]
    [volume] = template["spec"]["volumes"]
    [mount] = container["volumeMounts"]
    assert volume["persistentVolumeClaim"] == {"claimName": "runs"}
    assert (mount["name"], mount["mountPath"]) == (volume["name"], container["workingDir"])
    assert container["image"] == PODS.image
    assert container["resources"]["limits"] == {"memory": "4Gi", "nvidia.com/gpu": 2}
    return dict(container)


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_the_training_operator_takes_the_tfjob(version: str) -> None:
    [job] = kubernetes.manifests("training", config(), PODS, OPTIONS)
    assert set(job) == {"apiVersion", "kind", "metadata", "spec"}
    assert (job["apiVersion"], job["kind"]) == ("kubeflow.org/v1", "TFJob")
    assert re.fullmatch("[a-z]([-a-z0-9]*[a-z0-9])?", job["metadata"]["name"])
    spec = job["spec"]
    assert set(spec) <= OF_JOB
    assert set(spec["runPolicy"]) <= OF_RUN_POLICY
    assert spec["runPolicy"]["cleanPodPolicy"] in ("All", "Running", "None")
    assert list(spec["tfReplicaSpecs"]) == ["Chief", "Worker"]
    for (kind, replicas), verb, count in zip(
        spec["tfReplicaSpecs"].items(), ("run", "worker"), (1, 3), strict=True
    ):
        assert set(replicas) == OF_REPLICAS
        assert replicas["restartPolicy"] in RESTART_POLICIES
        assert replicas["replicas"] == count, kind
        container = check_pods(replicas["template"], version)
        # Where the operator looks for them.
        assert container["name"] == "tensorflow"
        assert container["ports"] == [{"name": "tfjob-port", "containerPort": 2222}]
        assert container["command"] == [
            "darkroom", verb, "--config", "mine.yaml", "--set", "report.limits=$$5",
        ]  # fmt: skip


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_kubernetes_takes_the_search(version: str) -> None:
    made = kubernetes.manifests("search", config("tuner.enabled=true"), PODS, OPTIONS)
    for manifest in made:
        kubernetes_validate.validate(manifest, version, strict=True)
        assert re.fullmatch("[a-z]([-a-z0-9]*[a-z0-9])?", manifest["metadata"]["name"])
    service, chief, workers = made
    assert [m["kind"] for m in made] == ["Service", "Job", "Job"]
    labels = [job["spec"]["template"]["metadata"]["labels"] for job in (chief, workers)]
    assert service["spec"]["selector"] == labels[0] != labels[1]
    [of_chief, of_worker] = (
        check_pods(job["spec"]["template"], version) for job in (chief, workers)
    )
    env = {e["name"]: e.get("value") for e in of_chief["env"]}
    assert env == {
        "KERASTUNER_TUNER_ID": "chief", "KERASTUNER_ORACLE_IP": "0.0.0.0",
        "KERASTUNER_ORACLE_PORT": "8000",
    }  # fmt: skip
    [port] = service["spec"]["ports"]
    assert str(port["port"]) == env["KERASTUNER_ORACLE_PORT"]
    names = [e["name"] for e in of_worker["env"]]
    assert names[0] == "WORKER"  # before what is made of it
    env = {e["name"]: e.get("value") for e in of_worker["env"]}
    assert env["KERASTUNER_TUNER_ID"] == "worker-$(WORKER)"
    assert env["KERASTUNER_ORACLE_IP"] == service["metadata"]["name"]
    assert workers["spec"]["completions"] == workers["spec"]["parallelism"] == 3
    assert workers["spec"]["completionMode"] == "Indexed"
    assert of_chief["command"][:2] == ["darkroom", "run"]
    assert of_worker["command"][:2] == ["darkroom", "worker"]


@pytest.mark.parametrize(
    ("overrides", "changed", "expected"),
    [
        ([], {"image": ""}, "--image: missing; give the reference .*or set kubeflow.image"),
        ([], {"image": "my image"}, "--image: .*found 'my image'"),
        ([], {"claim": ""}, "--claim: .* found none"),
        ([], {"claim": "My Claim"}, "--claim: .* found My Claim"),
        ([], {"cpu": "two"}, "--cpu: expected cores, such as 2 or 500m, found two"),
        ([], {"memory": "4GB"}, "--memory: expected a size such as 4Gi, found 4GB"),
        ([], {"gpus": -1}, "--gpus: expected 0 or more, found -1"),
        (["root=gs://bucket/runs"], {}, "root: gs://bucket/runs is in a bucket, and pods"),
        (["data={path: /images}"], {}, "data.path is /images, outside of the volume at /darkroom"),
        (
            ["metadata={backend: mysql, host: a, database: b, user: c}"],
            {},
            "would not know its password: set kubeflow.secrets.DARKROOM_METADATA_PASSWORD",
        ),
        ([], {"workers": 0}, "--workers: expected at least 1"),
        ([], {"mount": "data"}, "--mount: expected an absolute path, found data"),
        (["root=/data/runs"], {}, "root is /data/runs, outside of the volume at /darkroom"),
        ([f"name={'a' * 50}"], {}, "too long for Kubernetes.*shorten it by"),
    ],
)
def test_what_a_cluster_would_refuse_is_said(
    overrides: list[str], changed: dict[str, Any], expected: str
) -> None:
    pods = Pods(**{**vars(PODS), **changed})
    for purpose in ("training", "search"):
        with pytest.raises(DarkroomError, match=expected):
            kubernetes.manifests(purpose, config("tuner.enabled=true", *overrides), pods, OPTIONS)


def test_a_search_that_is_off_needs_no_pods() -> None:
    with pytest.raises(DarkroomError, match=r"tuner\.enabled is false"):
        kubernetes.manifests("search", config("tuner.enabled=false"), PODS, OPTIONS)


def test_names_that_fit_are_taken() -> None:
    name = "a" * (63 - len("-training-workers-2"))
    for root in ("runs", "/darkroom/runs"):
        [job] = kubernetes.manifests(
            "training", config(f"name={name}", f"root={root}"), PODS, OPTIONS
        )
        assert job["metadata"]["name"] == f"{name}-training"


@pytest.mark.parametrize("what", ["training", "search"])
def test_the_command_writes_it(what: str, tmp_path: Path) -> None:
    options = ["--image", PODS.image, "--claim", "runs", "--workers", "3", "--gpus", "2"]
    result = darkroom("deploy", what, *options, cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    path = tmp_path / "deploy" / "digits" / f"{what}.yaml"
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"# Written by: darkroom deploy {what} --config digits ")
    assert "&id" not in text
    given = ["--config", "digits"]
    if what == "training":
        given.append("--set=training.strategy=multi_worker")
    assert list(yaml.safe_load_all(text)) == kubernetes.manifests(what, load("digits"), PODS, given)
    refused = darkroom("deploy", what, cwd=tmp_path)
    assert refused.returncode == 1
    assert refused.stdout.startswith("darkroom: --image: missing; give the reference of an image")
    if what == "training":  # as the pods would refuse it, one after the other
        refused = darkroom(
            "deploy", what, *options, "--set", "training.jit_compile=true", cwd=tmp_path
        )
        assert "XLA can't compile what several machines add up" in refused.stdout


def test_any_text_comes_through_as_it_is() -> None:
    text = 'it\'s "true": {{ pods }} {% x %} # & <é😀\x7f\x85>\n- next:\t\\ '
    options = [*OPTIONS, "--set", f"report.note={text}"]
    section = yaml.safe_dump({"environment": {"NOTE": text}})
    made = config("tuner.enabled=true", f"kubeflow={section}")
    for manifest in [*kubernetes.manifests("training", made, PODS, options),
                     *kubernetes.manifests("search", made, PODS, options)[1:]]:  # fmt: skip
        spec = manifest["spec"]
        for part in spec.get("tfReplicaSpecs", {"": spec}).values():
            [container] = part["template"]["spec"]["containers"]
            assert container["command"][-1] == f"report.note={text}"
            assert container["env"][-1] == {"name": "NOTE", "value": text}


def test_pods_have_the_environment_that_nodes_have_on_kubeflow() -> None:
    section = (
        "kubeflow={environment: {AWS_REGION: eu}, secrets: {DARKROOM_METADATA_PASSWORD: db/key}, "
        "service_account: runner}"
    )
    database = "metadata={backend: mysql, host: a, database: b, user: c}"
    made = config("tuner.enabled=true", section, database)
    password = {"secretKeyRef": {"name": "db", "key": "key"}}
    expected = [
        {"name": "AWS_REGION", "value": "eu"},
        {"name": "DARKROOM_METADATA_PASSWORD", "valueFrom": password},
    ]
    [job] = kubernetes.manifests("training", made, PODS, OPTIONS)
    templates = [part["template"] for part in job["spec"]["tfReplicaSpecs"].values()]
    for of_search in kubernetes.manifests("search", made, PODS, OPTIONS)[1:]:
        kubernetes_validate.validate(of_search, NEWEST, strict=True)
        templates.append(of_search["spec"]["template"])
    for template in templates:
        container = check_pods(template, NEWEST)
        assert container["env"][-2:] == expected
        assert template["spec"]["serviceAccountName"] == "runner"
