"""A run on several machines of a Kubernetes cluster: a TFJob to train, Jobs to search.

All pods have the same image and the same volume, on which are the data, the configuration file and
all that is written. Light to import.
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from darkroom.components.base.errors import DarkroomError
from darkroom.components.base.remote import is_remote
from darkroom.components.runs.metadata import PASSWORD
from darkroom.pipeline.config import Config
from darkroom.pipeline.platforms import MEMORY, OBJECT_NAME, image_reference

ORACLE_PORT = 8000
# The Training Operator's: only of a container of this name it sets TF_CONFIG and finds the port.
_CONTAINER, _PORT_NAME, _PORT = "tensorflow", "tfjob-port", 2222
_LONGEST_NAME = 63  # of a Kubernetes service, and of a pod's host name
# What darkroom ends with where trying again would end the same; a kill is another code.
_FINAL_EXIT_CODES = (1, 2, 3)
_RETRIES = 20
_CPU = re.compile(r"\d+(\.\d+)?m?")


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
      config: of the run; its section ``kubeflow`` says what the pods' environment has.
      pods: its pods.
      options: of ``darkroom run`` and ``darkroom worker``, such as ``--config``.

    Raises:
      DarkroomError: Kubernetes would refuse it, or pods would not find what they need.
    """
    name = _checked(config, pods, "training", options)

    def replicas(count: int, verb: str) -> dict[str, Any]:
        container = _container(_CONTAINER, config, pods, verb, options)
        container["ports"] = [{"name": _PORT_NAME, "containerPort": _PORT}]
        template = _template(config, pods, container)
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
    name = _checked(config, pods, "search", options)
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
        container = _container("darkroom", config, pods, verb, options)
        container["env"] = [*env, *container.get("env", [])]
        template = _template(config, pods, container)
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


def _checked(config: Config, pods: Pods, what: str, options: list[str]) -> str:
    """The name in Kubernetes."""
    if not pods.image:
        raise DarkroomError(
            "--image: missing; give the reference of an image with darkroom in it (or set "
            "kubeflow.image)."
        )
    try:
        image_reference(pods.image)
    except ValueError as error:
        raise DarkroomError(f"--image: {error}.") from None
    if not OBJECT_NAME.fullmatch(pods.claim):
        raise DarkroomError(
            "--claim: expected the name of a PersistentVolumeClaim that all pods can write to, "
            f"found {pods.claim or 'none'}."
        )
    if not _CPU.fullmatch(pods.cpu):
        raise DarkroomError(f"--cpu: expected cores, such as 2 or 500m, found {pods.cpu}.")
    if not re.fullmatch(MEMORY, pods.memory):
        raise DarkroomError(f"--memory: expected a size such as 4Gi, found {pods.memory}.")
    if pods.gpus < 0:
        raise DarkroomError(f"--gpus: expected 0 or more, found {pods.gpus}.")
    if config.metadata.backend == "mysql" and PASSWORD not in config.kubeflow.secrets:
        raise DarkroomError(
            f"metadata.backend is mysql, and pods would not know its password: set "
            f"kubeflow.secrets.{PASSWORD} to secret/key."
        )
    if pods.workers < 1:
        raise DarkroomError(
            f"--workers: expected at least 1 beside the chief, found {pods.workers}."
        )
    mount = PurePosixPath(pods.mount)
    if not mount.is_absolute():
        raise DarkroomError(f"--mount: expected an absolute path, found {pods.mount}.")
    if is_remote(config.root):
        raise DarkroomError(
            f"root: {config.root} is in a bucket, and pods that work together need a folder of "
            f"the volume at {pods.mount}."
        )
    file = options[options.index("--config") + 1]
    for key, path in (("root", config.root), ("data.path", config.data.path), ("--config", file)):
        inside = PurePosixPath(path or "")
        if inside.is_absolute() and not inside.is_relative_to(mount):
            raise DarkroomError(
                f"{key} is {path}, outside of the volume at {pods.mount}, where pods would not "
                "find it. Set it to a path below, or --mount to a path above it."
            )
    name = f"{config.name}-{what}"
    longest = f"{name}-workers-{pods.workers - 1}"
    if len(longest) > _LONGEST_NAME:
        raise DarkroomError(
            f"name: {config.name} is too long for Kubernetes, which would have to call a pod "
            f"{longest}: shorten it by {len(longest) - _LONGEST_NAME} characters."
        )
    return name


def _container(
    name: str, config: Config, pods: Pods, verb: str, options: list[str]
) -> dict[str, Any]:
    resources = {"cpu": pods.cpu, "memory": pods.memory}
    limits: dict[str, Any] = {"memory": pods.memory}
    if pods.gpus:
        limits["nvidia.com/gpu"] = pods.gpus
    words = ["darkroom", verb, *options]
    env: list[dict[str, Any]] = [
        {"name": key, "value": value} for key, value in sorted(config.kubeflow.environment.items())
    ]
    for variable, source in sorted(config.kubeflow.secrets.items()):
        secret, _, key = source.partition("/")
        reference = {"secretKeyRef": {"name": secret, "key": key}}
        env.append({"name": variable, "valueFrom": reference})
    return {
        "name": name,
        "image": pods.image,
        **({"env": env} if env else {}),
        # Kubernetes puts variables in for what follows a dollar sign.
        "command": [word.replace("$", "$$") for word in words],
        "workingDir": pods.mount,
        "resources": {"requests": resources, "limits": limits},
        "volumeMounts": [{"name": "runs", "mountPath": pods.mount}],
    }


def _template(config: Config, pods: Pods, container: dict[str, Any]) -> dict[str, Any]:
    account = config.kubeflow.service_account
    return {
        "spec": {
            **({"serviceAccountName": account} if account else {}),
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "containers": [container],
            "volumes": [{"name": "runs", "persistentVolumeClaim": {"claimName": pods.claim}}],
        }
    }


def _labels(config: Config) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "darkroom",
        "app.kubernetes.io/instance": config.name,
    }


def _manifest(version: str, kind: str, name: str, config: Config) -> dict[str, Any]:
    metadata = {"name": name, "labels": _labels(config)}
    return {"apiVersion": version, "kind": kind, "metadata": metadata}
