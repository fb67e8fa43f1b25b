import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from compose_spec import PyCompose
from hypothesis import example, given, settings
from hypothesis import strategies as st

from darkroom.serving import pushed_files
from darkroom.serving.deployment import manifests
from darkroom.serving.deployment.manifests import Model
from darkroom.serving.flags import METRICS_PATH
from tests import model_servers
from tests.conftest import REPOSITORY, Project, darkroom, environment

MODEL = Model("flowers", "/data/runs/flowers/pushed", "2.16.2", 90.0, 700)
UNLIMITED = Model("flowers", "/data/runs/flowers/pushed")
ODD = Model("flowers-", "/data/$HOME/$(USER)/a b/pushed")
MODELS = pytest.mark.parametrize("model", [MODEL, UNLIMITED, ODD])
OLDEST, NEWEST = "1.33", "1.37"  # Kubernetes, of which the package has the schemas

# What KServe's v1beta1 has beside PodSpec and Container, into which it embeds these two:
# PredictorSpec and ComponentExtensionSpec, PredictorExtensionSpec and ModelSpec. No light package
# has the schema of its resources.
OF_PREDICTOR = {"model", "minReplicas", "maxReplicas", "scaleMetric", "scaleTarget"}
OF_MODEL = {"modelFormat", "runtime", "runtimeVersion", "storageUri"}


def docker(model: Model, user: str = "0:0") -> Any:
    return yaml.safe_load(manifests.docker(model, user))


def kubernetes(model: Model) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(manifests.kubernetes(model)))


def kserve(model: Model) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(manifests.kserve(model)))


def by_kind(documents: list[dict[str, Any]]) -> dict[str, Any]:
    found = {document["kind"]: document for document in documents}
    assert len(found) == len(documents)
    return found


def read(compose: dict[str, Any]) -> None:
    PyCompose.from_json(json.dumps(compose))


def container_of(model: Model) -> dict[str, Any]:
    pod = by_kind(kubernetes(model))["Deployment"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    return dict(container)


@MODELS
def test_docker_reads_the_compose_file(model: Model) -> None:
    read(docker(model, "1000:1000"))


@pytest.mark.parametrize("key", ["mem_limits", "healthchecks"])
def test_what_reads_it_refuses_unknown_keys(key: str) -> None:
    made = docker(MODEL, "1000:1000")
    made["services"]["serving"][key] = "1g"
    with pytest.raises(ValueError, match=key):
        read(made)


def test_the_container_of_the_compose_file() -> None:
    made = docker(MODEL, "1000:1001")
    service = made["services"]["serving"]
    assert made["name"] == "flowers"
    assert service["image"] == "tensorflow/serving:2.16.1"
    assert service["ports"] == ["127.0.0.1:8500:8500", "127.0.0.1:8501:8501"]
    [volume] = service["volumes"]
    assert volume["source"] == volume["target"] == "/data/runs/flowers/pushed"
    assert volume["read_only"] is service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["user"] == "1000:1001"
    assert service["mem_limit"] == "2800m"
    assert service["healthcheck"]["start_period"] == "90s"
    assert "mem_limit" not in docker(UNLIMITED, "0:0")["services"]["serving"]


@MODELS
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_kubernetes_takes_the_manifests(model: Model, version: str) -> None:
    for manifest in kubernetes(model):
        kubernetes_validate.validate(manifest, version, strict=True)
        assert re.fullmatch("[a-z]([-a-z0-9]*[a-z0-9])?", manifest["metadata"]["name"])


def test_what_checks_them_refuses_unknown_fields() -> None:
    made = by_kind(kubernetes(MODEL))["Deployment"]
    made["spec"]["template"]["spec"]["containers"][0]["startProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="startProbe"):
        kubernetes_validate.validate(made, NEWEST, strict=True)


def test_the_manifests_belong_together() -> None:
    found = by_kind(kubernetes(MODEL))
    spec = found["Deployment"]["spec"]
    labels = spec["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"] == labels
    assert found["Service"]["spec"]["selector"] == labels
    assert found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    target = found["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == (
        "Deployment",
        found["Deployment"]["metadata"]["name"],
    )
    assert found["HorizontalPodAutoscaler"]["spec"]["minReplicas"] == 2
    pod = spec["template"]["spec"]
    [container] = pod["containers"]
    ports = {port["name"] for port in container["ports"]}
    assert {port["targetPort"] for port in found["Service"]["spec"]["ports"]} == ports
    assert {mount["name"] for mount in container["volumeMounts"]} == {
        volume["name"] for volume in pod["volumes"]
    }
    claim = pod["volumes"][0]["persistentVolumeClaim"]["claimName"]
    assert claim == found["PersistentVolumeClaim"]["metadata"]["name"] == "flowers-models"
    assert container["volumeMounts"][0]["mountPath"] == MODEL.folder
    probe = container["startupProbe"]
    assert probe["failureThreshold"] * probe["periodSeconds"] == 90
    for probed in ("startupProbe", "readinessProbe", "livenessProbe"):
        action = container[probed].get("httpGet") or container[probed]["tcpSocket"]
        assert action["port"] in ports
    [wait] = container["lifecycle"]["preStop"]["exec"]["command"][1:]
    assert int(wait) < pod["terminationGracePeriodSeconds"]
    assert container["resources"] == {
        "requests": {"cpu": "1", "memory": "1400Mi"}, "limits": {"memory": "2800Mi"},
    }  # fmt: skip


@MODELS
def test_kserve_takes_the_manifest(model: Model) -> None:
    claim, made = kserve(model)
    assert claim == by_kind(kubernetes(model))["PersistentVolumeClaim"]
    assert set(made) == {"apiVersion", "kind", "metadata", "spec"}
    assert (made["apiVersion"], made["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    [(part, predictor)] = made["spec"].items()
    assert part == "predictor"
    served = predictor["model"]
    assert set(predictor) >= OF_PREDICTOR
    assert set(served) >= OF_MODEL
    # What remains is Kubernetes'.
    container = {key: value for key, value in served.items() if key not in OF_MODEL}
    pod = {key: value for key, value in predictor.items() if key not in OF_PREDICTOR}
    whole = {
        "apiVersion": "v1", "kind": "Pod", "metadata": made["metadata"],
        "spec": pod | {"containers": [container | {"name": "kserve-container"}]},
    }  # fmt: skip
    kubernetes_validate.validate(whole, NEWEST, strict=True)
    assert (
        predictor["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    )
    assert served["storageUri"] == f"pvc://{claim['metadata']['name']}/{model.name}"
    assert f"tensorflow/serving:{served['runtimeVersion']}" == container_of(model)["image"]


def test_all_three_start_the_server_with_the_same_files() -> None:
    flags = manifests.file_flags(MODEL.folder)
    ports = ["--port=8500", "--rest_api_port=8501"]
    service = docker(MODEL, "0:0")["services"]["serving"]
    container = container_of(MODEL)
    assert service["entrypoint"] == container["command"] == ["/usr/bin/tensorflow_model_server"]
    assert service["command"] == container["args"] == [*ports, *flags]
    # KServe's runtime brings the ports.
    service = by_kind(kserve(MODEL))["InferenceService"]
    assert service["spec"]["predictor"]["model"]["args"] == flags
    assert {flag.partition("=")[2] for flag in flags if "_file=" in flag} == {
        f"{MODEL.folder}/{name}" for name in pushed_files.FILE_FLAGS.values()
    }


def test_a_dollar_in_a_path_is_no_variable() -> None:
    service = docker(ODD, "0:0")["services"]["serving"]
    container = container_of(ODD)
    for flag in (service["command"][2], container["args"][2]):
        assert "/$$HOME/$$(USER)/a b/" in flag
    assert service["volumes"][0]["target"] == "/data/$$HOME/$$(USER)/a b/pushed"
    assert container["volumeMounts"][0]["mountPath"] == ODD.folder  # where nothing is put in


@settings(max_examples=50)
@given(st.text(), st.text())
@example("/a\nb: c", "# {d}: 'e' \"f\" \\ \u2028 \U0001f600 {{ g }}")
def test_any_folder_and_user_are_read_as_they_are(folder: str, user: str) -> None:
    model = Model("flowers", folder)
    assert docker(model, user)["services"]["serving"]["user"] == user
    assert container_of(model)["volumeMounts"][0]["mountPath"] == folder
    [_, service] = kserve(model)
    assert service["spec"]["predictor"]["model"]["volumeMounts"][0]["mountPath"] == folder


@pytest.mark.parametrize(
    ("tensorflow", "tag"),
    [("2.16.2", "2.16.1"), ("2.21.0", "2.21.0"), ("2.21.0-rc1", "2.21.0"), ("3.0.0", "2.21.0"),
     (None, "2.21.0")],
)  # fmt: skip
def test_the_image_is_of_the_tensorflow_that_exports(tensorflow: str | None, tag: str) -> None:
    assert Model("flowers", "/f", tensorflow).tag == tag


def test_each_tensorflow_of_setup_has_an_image() -> None:
    text = (REPOSITORY / "setup.py").read_text(encoding="utf-8")
    [(first, beyond)] = re.findall(r'"tensorflow>=2\.(\d+),<2\.(\d+)"', text)
    for minor in range(int(first), int(beyond)):
        assert Model("flowers", "/f", f"2.{minor}.9").tag.startswith(f"2.{minor}.")


@pytest.mark.parametrize("where", ["docker", "kubernetes", "kserve"])
def test_the_command_writes_it(where: str, tmp_path: Path) -> None:
    def deploy(*arguments: str) -> Any:
        return darkroom("deploy", where, *arguments, cwd=tmp_path)

    result = deploy()
    assert result.returncode == 0, result.stdout
    [path] = (tmp_path / "deploy" / "digits").iterdir()
    written, then = result.stdout.splitlines()
    shown = path.relative_to(tmp_path)
    assert written.split() == ["written", str(shown)]
    assert re.fullmatch(rf"next +(docker compose|kubectl apply) .*{shown}.*", then)
    text = path.read_text(encoding="utf-8")
    assert text.startswith(
        f"# Written by: darkroom deploy {where} --config digits\n# To apply it: "
    )
    assert "&id" not in text  # short for what comes twice, which not every reader knows
    documents = list(yaml.safe_load_all(text))
    folder = tmp_path / "runs" / "digits" / "pushed"
    model = Model("digits", str(folder), metadata.version("tensorflow"))
    if where == "docker":
        [document] = documents
        user = document["services"]["serving"]["user"]
        assert document == docker(model, user)
    elif where == "kubernetes":
        assert documents == kubernetes(model)
    else:
        assert documents == kserve(model)
    assert not folder.exists()

    assert deploy().returncode == 0  # the same once more
    path.write_text(f"{text}# mine\n", encoding="utf-8")
    refused = deploy()
    assert refused.returncode == 1
    assert "--force replaces it" in refused.stdout
    assert path.read_text(encoding="utf-8").endswith("# mine\n")
    assert deploy("--out", "elsewhere").returncode == 0
    assert (tmp_path / "elsewhere" / path.name).read_text(encoding="utf-8") == text
    assert deploy("--force", "--set", "report.limits=one\n\n  two").returncode == 0
    assert list(yaml.safe_load_all(path.read_text(encoding="utf-8"))) == documents


def test_it_is_light() -> None:
    code = (
        "import sys\nfrom darkroom.serving.deployment import manifests\n"
        "manifests.kubernetes(manifests.Model('a', '/a'))\n"
        "print(sorted({'tensorflow', 'tfx', 'numpy', 'pydantic'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, encoding="utf-8"
    )
    assert result.stdout == "[]\n", result.stderr


def test_the_command_in_the_container_serves_what_was_pushed(
    small: Project, tmp_path: Path, digit_images: list[bytes]
) -> None:
    """With darkroom's own server, which has the flags of TensorFlow Serving."""
    result = darkroom(
        "deploy", "docker", "--config", "config.yaml", "--out", str(tmp_path), cwd=small.folder
    )
    assert result.returncode == 0, result.stdout
    compose = yaml.safe_load((tmp_path / "compose.yaml").read_text(encoding="utf-8"))
    service = compose["services"]["serving"]
    ports, flags = service["command"][:2], service["command"][2:]
    assert ports == ["--port=8500", "--rest_api_port=8501"]
    assert flags == manifests.file_flags(str(small.folder / "runs" / "small" / "pushed"))
    with model_servers.running(tmp_path, *flags) as server:
        container = container_of(Model("small", str(small.folder)))
        answer = server.ask(container["readinessProbe"]["httpGet"]["path"])
        assert answer.status == 200
        [version] = answer.json["model_version_status"]
        assert version["state"] == "AVAILABLE"
        metrics = server.ask(METRICS_PATH)
        assert metrics.status == 200
        answers = darkroom(
            "predict", "--config", "config.yaml", "--labels", "stable", "--json",
            "--url", f"http://localhost:{server.rest_port}",
            write(tmp_path / "digit.png", digit_images[0]), cwd=small.folder,
        )  # fmt: skip
        assert answers.returncode == 0, answers.stdout
        assert len(json.loads(answers.stdout)[0]["classes"]) == 10
        check_health(service["healthcheck"]["test"], server.rest_port, 0)
        other = [
            word.replace("models/small", "models/other") for word in service["healthcheck"]["test"]
        ]
        check_health(other, server.rest_port, 1)
    check_health(service["healthcheck"]["test"], model_servers.free_port(), 1)


def write(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


def check_health(test: list[str], port: int, code: int) -> None:
    """Runs a Compose health check as Docker does, only on another port."""
    kind, *words = test
    assert kind == "CMD"
    words = [word.replace("8501", str(port)) for word in words]
    result = subprocess.run(words, capture_output=True, timeout=model_servers.PATIENCE)
    assert result.returncode == code, result.stderr
