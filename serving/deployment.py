"""TensorFlow Serving on the pushed versions: files for Docker, Kubernetes and KServe.

All three read the files that the Pusher writes beside the versions, from a folder at the same
absolute path as where it was pushed to, because ``models.config`` has absolute paths. So
``darkroom promote`` and ``rollback`` work everywhere without another tool.

Light to import: neither TensorFlow nor TFX.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import yaml

from darkroom.serving import pushed_files
from darkroom.serving.flags import GRPC_PORT, METRICS_PATH, REST_PORT

# The tags of the image tensorflow/serving by TensorFlow's minor version: they come later than
# TensorFlow, with patch numbers of their own.
_TAGS = {
    "2.16": "2.16.1",
    "2.17": "2.17.0",
    "2.18": "2.18.0",
    "2.19": "2.19.1",
    "2.20": "2.20.0",
    "2.21": "2.21.0",
}
_IMAGE = "tensorflow/serving"
# Instead of the image's own entry point: that is a script of bash, which passes no signal on.
_BINARY = "/usr/bin/tensorflow_model_server"

# Versions that a server has in memory at most: the stable one, that before it, the canary, and one
# that comes while they still answer. The first two always.
_MOST_VERSIONS, _USUAL_VERSIONS = 4, 2
# Of a server with one version, where the configuration sets no limit.
_MEMORY_MIB = 1024
_STORAGE = "10Gi"

_REPLICAS, _MOST_REPLICAS = 2, 10
_CPU, _CPU_PERCENT = "1", 70
# The image's user is root. Any other can read what was pushed with the usual umask.
_USER = 1000
# For load balancers to hear that a pod goes, and for requests under way: 30 s is the REST API's own
# timeout. The server has no handler for SIGTERM and, as process 1, ignores it: it answers until
# the grace period is over.
_LEAVE_SECONDS, _REQUEST_SECONDS = 10, 30
_STARTUP_PERIOD = 2

_KSERVE_RUNTIME = "kserve-tensorflow-serving"  # comes with KServe


@dataclass(frozen=True)
class Model:
    """What is served, and with what."""

    name: str
    folder: str  # of the model's folder and the files beside it; absolute
    tensorflow: str | None = None  # version that exports the model; None where it isn't known
    load_seconds: float = 120.0
    memory_mib: int | None = None  # of a server with one version

    @property
    def tag(self) -> str:
        """The image's tag; of an unknown TensorFlow the newest, as that reads older models too."""
        minor = ".".join((self.tensorflow or "").split(".")[:2])
        return _TAGS.get(minor, list(_TAGS.values())[-1])

    @property
    def resource(self) -> str:
        """The name in Kubernetes, where none ends in a dash."""
        return self.name.rstrip("-")

    @property
    def claim(self) -> str:
        """The name of the claim of the volume with the pushed versions."""
        return f"{self.resource}-models"

    @property
    def status_path(self) -> str:
        """The REST API's path that says which versions are there."""
        return f"/v1/models/{self.name}"


def file_flags(folder: str) -> list[str]:
    """The server's flags for the files that the Pusher writes.

    Args:
      folder: with these files; absolute.
    """
    return [
        *(f"--{flag}={folder}/{name}" for flag, name in pushed_files.FILE_FLAGS.items()),
        *pushed_files.SERVER_FLAGS,
        # Else a server that starts refuses a file with labels.
        "--allow_version_labels_for_unavailable_models",
    ]


def docker(model: Model, user: str) -> dict[str, Any]:
    """A Compose file.

    Args:
      model: what is served.
      user: ``UID:GID`` of whoever pushes: without capabilities not even root can read another
        user's private files.
    """
    health = (
        f"exec 3<>/dev/tcp/127.0.0.1/{REST_PORT}"
        f" && printf 'GET {model.status_path} HTTP/1.0\\r\\n\\r\\n' >&3"
        " && grep -q '\"AVAILABLE\"' <&3"
    )
    service: dict[str, Any] = {
        "image": f"{_IMAGE}:{model.tag}",
        "entrypoint": [_BINARY],
        "command": list(map(_escaped, _flags(model))),
        "init": True,  # else the server ignores to be stopped, and is killed after a while
        "restart": "unless-stopped",
        "ports": [f"127.0.0.1:{port}:{port}" for port in (GRPC_PORT, REST_PORT)],
        "volumes": [
            {
                "type": "bind",
                "source": _escaped(model.folder),
                "target": _escaped(model.folder),
                "read_only": True,
                "bind": {"create_host_path": False},  # else Docker makes it, as root's
            }
        ],
        "healthcheck": {
            "test": ["CMD", "bash", "-c", health],  # the image has no curl
            "interval": "10s",
            "timeout": "5s",
            "retries": 3,
            "start_period": f"{math.ceil(model.load_seconds)}s",
        },
        "user": user,
        "read_only": True,
        "tmpfs": ["/tmp"],
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
    }
    if model.memory_mib is not None:
        service["mem_limit"] = f"{_MOST_VERSIONS * model.memory_mib}m"
    return {"name": model.name, "services": {"serving": service}}


def kubernetes(model: Model) -> list[dict[str, Any]]:
    """The manifests: volume claim, deployment, service, autoscaler and disruption budget."""
    name = model.resource
    ports = {"grpc": GRPC_PORT, "http": REST_PORT}
    status = {"path": model.status_path, "port": "http"}
    container = {
        "name": "tensorflow-serving",
        "image": f"{_IMAGE}:{model.tag}",
        "command": [_BINARY],
        "args": list(map(_escaped, _flags(model))),
        "ports": [{"name": key, "containerPort": port} for key, port in ports.items()],
        # The ports open when the first versions are loaded.
        "startupProbe": {
            "httpGet": dict(status),
            "periodSeconds": _STARTUP_PERIOD,
            "failureThreshold": math.ceil(model.load_seconds / _STARTUP_PERIOD),
        },
        "readinessProbe": {"httpGet": dict(status), "periodSeconds": 5, "timeoutSeconds": 2},
        # By TCP, as a server under load answers late and must not be killed for it.
        "livenessProbe": {
            "tcpSocket": {"port": "grpc"},
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
        # Not the newer sleep action: it works with any version of Kubernetes.
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(_LEAVE_SECONDS)]}}},
        "resources": _resources(model),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [_mount(model), {"name": "tmp", "mountPath": "/tmp"}],
    }
    pod = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _LEAVE_SECONDS + _REQUEST_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": _labels(model)},
            }
        ],
        "containers": [container],
        "volumes": [_volume(model), {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}],
    }
    scraped = {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(REST_PORT),
        "prometheus.io/path": METRICS_PATH,
    }
    deployment = _manifest(model, "apps/v1", "Deployment", name) | {
        "spec": {
            # How many replicas is the autoscaler's: a number here would undo its own with each
            # kubectl apply.
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
            },
            "selector": {"matchLabels": _labels(model)},
            "template": {
                "metadata": {"labels": _labels(model), "annotations": scraped},
                "spec": pod,
            },
        },
    }
    service = _manifest(model, "v1", "Service", name) | {
        "spec": {
            "selector": _labels(model),
            "ports": [
                {"name": key, "port": port, "targetPort": key} for key, port in ports.items()
            ],
        },
    }
    utilization = {"type": "Utilization", "averageUtilization": _CPU_PERCENT}
    autoscaler = _manifest(model, "autoscaling/v2", "HorizontalPodAutoscaler", name) | {
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": _REPLICAS,
            "maxReplicas": _MOST_REPLICAS,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": utilization}}],
        },
    }
    budget = _manifest(model, "policy/v1", "PodDisruptionBudget", name) | {
        "spec": {"minAvailable": 1, "selector": {"matchLabels": _labels(model)}},
    }
    return [claim(model), deployment, service, autoscaler, budget]


def claim(model: Model) -> dict[str, Any]:
    """The claim of the volume that the pipeline pushes to and the servers read."""
    return _manifest(model, "v1", "PersistentVolumeClaim", model.claim) | {
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": _STORAGE}},
        },
    }


def kserve(model: Model) -> dict[str, Any]:
    """KServe's InferenceService; its volume is that of ``claim``.

    KServe's runtime alone would serve the newest version, also where that is a canary or was rolled
    back from. So it gets the model config file, which goes before the runtime's own
    ``--model_base_path``, at the path that is in it. The mode is that of plain deployments: there
    is no ``canaryTrafficPercent``, which shares requests between two states of this manifest and
    not between two versions of one server.
    """
    made = _manifest(model, "serving.kserve.io/v1beta1", "InferenceService", model.resource)
    made["metadata"]["annotations"] = {"serving.kserve.io/deploymentMode": "RawDeployment"}
    served = {
        "modelFormat": {"name": "tensorflow"},
        "runtime": _KSERVE_RUNTIME,
        "runtimeVersion": model.tag,
        "storageUri": f"pvc://{model.claim}/{model.name}",
        # KServe appends them to the runtime's, which have the ports.
        "args": list(map(_escaped, file_flags(model.folder))),
        "resources": _resources(model),
        "volumeMounts": [_mount(model)],
    }
    predictor = {
        "minReplicas": _REPLICAS,
        "maxReplicas": _MOST_REPLICAS,
        "scaleMetric": "cpu",
        "scaleTarget": _CPU_PERCENT,
        "model": served,
        "volumes": [_volume(model)],
    }
    return made | {"spec": {"predictor": predictor}}


def render(documents: Iterable[dict[str, Any]], made_by: str, applied_by: str) -> str:
    """Writes YAML with a head that says what made it.

    Args:
      documents: as the functions above give them.
      made_by: the command that wrote the file.
      applied_by: the command that makes it run.
    """
    text = yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True, width=1000)
    made_by = " ".join(made_by.split())  # a comment is one line
    return f"# Written by: {made_by}\n# To apply it: {applied_by}\n{text}"


def _flags(model: Model) -> list[str]:
    return [f"--port={GRPC_PORT}", f"--rest_api_port={REST_PORT}", *file_flags(model.folder)]


def _escaped(text: str) -> str:
    """Compose and Kubernetes put variables in for what follows a dollar sign."""
    return text.replace("$", "$$")


def _labels(model: Model) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "tensorflow-serving",
        "app.kubernetes.io/instance": model.resource,
    }


def _manifest(model: Model, version: str, kind: str, name: str) -> dict[str, Any]:
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name, "labels": _labels(model)},
    }


def _resources(model: Model) -> dict[str, Any]:
    """Memory for all versions at once. No limit of CPU: it would make answers late at random."""
    memory = _MEMORY_MIB if model.memory_mib is None else model.memory_mib
    return {
        "requests": {"cpu": _CPU, "memory": f"{_USUAL_VERSIONS * memory}Mi"},
        "limits": {"memory": f"{_MOST_VERSIONS * memory}Mi"},
    }


def _mount(model: Model) -> dict[str, Any]:
    return {"name": "models", "mountPath": model.folder, "readOnly": True}


def _volume(model: Model) -> dict[str, Any]:
    return {
        "name": "models",
        "persistentVolumeClaim": {"claimName": model.claim, "readOnly": True},
    }
