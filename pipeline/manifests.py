"""A run on several machines of a Kubernetes cluster: a TFJob to train, Jobs to search.

All pods have the same image and the same volume, on which are the data, the configuration file and
all that is written. Light to import.
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from components.errors import DarkroomError
from pipeline.config import Config

ORACLE_PORT = 8000
# The Training Operator's: only of a container of this name it sets TF_CONFIG and finds the port.
_CONTAINER, _PORT_NAME, _PORT = "tensorflow", "tfjob-port", 2222
_LONGEST_NAME = 63  # of a Kubernetes service, and of a pod's host name
# What darkroom ends with where trying again would end the same; a kill is another code.
_FINAL_EXIT_CODES = (1, 2, 3)
_RETRIES = 20
# An image's name, perhaps with registry, tag and digest.
_IMAGE = re.compile(r"[a-zA-Z0-9][\w.:/-]*(@sha256:[0-9a-f]{64})?")


@dataclass(frozen=True)
class Pods:
    """What all pods of a run have."""

    image: str
    claim: str  # of the volume, for reading and writing from many nodes
    workers: int = 1  # beside the chief
    mount: str = "/darkroom"  # where the volume is, and the current folder
    cpu: str = "2"
    memory: str = "4Gi"
    gpus: int = 0


def training(config: Config, pods: Pods, options: list[str]) -> list[dict[str, Any]]:
    """The Training Operator's TFJob, kubeflow.org/v1.

    Args:
      config: of the run.
      pods: its pods.
      options: of ``darkroom run`` and ``darkroom worker``, such as ``--config``.

    Raises:
      DarkroomError: Kubernetes would refuse it, or pods would not find what they need.
    """
    name = _checked(config, pods, "training")
    if config.training.strategy != "multi_worker":
        options = [*options, "--set", "training.strategy=multi_worker"]

    def replicas(count: int, verb: str) -> dict[str, Any]:
        container = _container(_CONTAINER, pods, verb, options)
        container["ports"] = [{"name": _PORT_NAME, "containerPort": _PORT}]
        template = _template(pods, container)
        # Exit codes from 128 on, such as a kill's, are tried again, lower ones are final.
        return {"replicas": count, "restartPolicy": "ExitCode", "template": template}

    made = _manifest("kubeflow.org/v1", "TFJob", name, config) | {
        "spec": {
            # A worker that has nothing to do waits, and is not needed when the chief is done.
            "runPolicy": {"cleanPodPolicy": "Running", "backoffLimit": _RETRIES},
            "tfReplicaSpecs": {
                "Chief": replicas(1, "run"),
                "Worker": replicas(pods.workers, "worker"),
            },
        }
    }
    return [made]


def search(config: Config, pods: Pods, options: list[str]) -> list[dict[str, Any]]:
    """A Job for the chief, at which a Service finds it, and an indexed Job for the workers.

    Args, Raises: as of ``training``.
    """
    name = _checked(config, pods, "search")
    if not config.tuner.enabled:
        raise DarkroomError("tuner.enabled is false: there is no search to help with.")

    def environment(tuner_id: dict[str, Any] | str, address: str) -> list[dict[str, Any]]:
        index = {"fieldPath": "metadata.annotations['batch.kubernetes.io/job-completion-index']"}
        given: list[dict[str, Any]] = [
            {"name": "KERASTUNER_TUNER_ID", "value": tuner_id},
            {"name": "KERASTUNER_ORACLE_IP", "value": address},
            {"name": "KERASTUNER_ORACLE_PORT", "value": str(ORACLE_PORT)},
        ]
        if tuner_id != "chief":  # the same when it is started again
            given.insert(0, {"name": "WORKER", "valueFrom": {"fieldRef": index}})
        return given

    def job(role: str, verb: str, env: list[dict[str, Any]], more: dict[str, Any]) -> Any:
        container = _container("darkroom", pods, verb, options) | {"env": env}
        template = _template(pods, container)
        template["metadata"] = {"labels": {**_labels(config), _ROLE: role}}
        template["spec"]["restartPolicy"] = "Never"  # a new pod, as the policy below wants
        final = {"operator": "In", "values": list(_FINAL_EXIT_CODES)}
        suffix = "" if role == "chief" else "-workers"
        return _manifest("batch/v1", "Job", name + suffix, config) | {
            "spec": {
                "backoffLimit": _RETRIES,
                "podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": final}]},
                **more,
                "template": template,
            }
        }

    indexed = {"completionMode": "Indexed", "completions": pods.workers}
    port = {"name": "oracle", "port": ORACLE_PORT, "targetPort": ORACLE_PORT}
    service = _manifest("v1", "Service", name, config) | {
        "spec": {"selector": {**_labels(config), _ROLE: "chief"}, "ports": [port]}
    }
    return [
        service,
        job("chief", "run", environment("chief", "0.0.0.0"), {}),
        job("worker", "worker", environment("worker-$(WORKER)", name),
            {**indexed, "parallelism": pods.workers}),
    ]  # fmt: skip


_ROLE = "app.kubernetes.io/component"


def _checked(config: Config, pods: Pods, what: str) -> str:
    """The name in Kubernetes."""
    if not _IMAGE.fullmatch(pods.image):
        raise DarkroomError(
            f"--image: expected an image with darkroom in it, such as registry/darkroom:0.1, found "
            f"{pods.image or 'none'!r}."
        )
    if not pods.claim:
        raise DarkroomError(
            "--claim: expected the name of a PersistentVolumeClaim that all pods can write to, "
            "found none."
        )
    if pods.workers < 1:
        raise DarkroomError(
            f"--workers: expected at least 1 beside the chief, found {pods.workers}."
        )
    root, mount = PurePosixPath(config.root), PurePosixPath(pods.mount)
    if not mount.is_absolute():
        raise DarkroomError(f"--mount: expected an absolute path, found {pods.mount}.")
    if root.is_absolute() and not root.is_relative_to(mount):
        raise DarkroomError(
            f"root is {config.root}, outside of the volume at {pods.mount}, where pods would not "
            "find what the others write. Set it to a path below, or --mount to a path above it."
        )
    name = f"{config.name.rstrip('-')}-{what}"
    longest = f"{name}-workers-{pods.workers - 1}"
    if len(longest) > _LONGEST_NAME:
        raise DarkroomError(
            f"name: {config.name} is too long for Kubernetes, which would have to call a pod "
            f"{longest}: shorten it by {len(longest) - _LONGEST_NAME} characters."
        )
    return name


def _container(name: str, pods: Pods, verb: str, options: list[str]) -> dict[str, Any]:
    resources = {"cpu": pods.cpu, "memory": pods.memory}
    limits: dict[str, Any] = {"memory": pods.memory}
    if pods.gpus:
        limits["nvidia.com/gpu"] = pods.gpus
    words = ["darkroom", verb, *options]
    return {
        "name": name,
        "image": pods.image,
        # Kubernetes puts variables in for what follows a dollar sign.
        "command": [word.replace("$", "$$") for word in words],
        "workingDir": pods.mount,
        "resources": {"requests": resources, "limits": limits},
        "volumeMounts": [{"name": "runs", "mountPath": pods.mount}],
    }


def _template(pods: Pods, container: dict[str, Any]) -> dict[str, Any]:
    return {
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "containers": [container],
            "volumes": [{"name": "runs", "persistentVolumeClaim": {"claimName": pods.claim}}],
        }
    }


def _labels(config: Config) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "darkroom",
        "app.kubernetes.io/instance": config.name.rstrip("-"),
    }


def _manifest(version: str, kind: str, name: str, config: Config) -> dict[str, Any]:
    metadata = {"name": name, "labels": _labels(config)}
    return {"apiVersion": version, "kind": kind, "metadata": metadata}
