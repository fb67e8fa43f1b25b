"""A run on several machines of a Kubernetes cluster: a TFJob to train, Jobs to search.

All pods share an image and a volume, which has everything. Light to import.
"""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import yaml
from pydantic import BaseModel

from darkroom.components.base.errors import DarkroomError
from darkroom.components.base.remote import is_remote
from darkroom.components.runs.metadata import PASSWORD
from darkroom.pipeline.config import Config
from darkroom.pipeline.platforms import MEMORY, OBJECT_NAME, image_reference

Manifest = dict[str, object]  # a document of YAML, as Kubernetes reads it

# By purpose, the role and the template of each manifest.
_KINDS = {
    "training": [("", "tfjob")],
    # The workers find the chief at the service.
    "search": [("", "service"), ("chief", "job"), ("worker", "job")],
}
_ORACLE_PORT = 8000
_LONGEST_NAME = 63  # of a Kubernetes service, and of a pod's host name
_RETRIES = 20
_CPU = re.compile(r"\d+(\.\d+)?m?")


class Pods(BaseModel):
    """What all pods of a run have."""

    image: str
    claim: str  # of the volume, for reading and writing from many nodes
    workers: int = 1  # beside the chief
    mount: str = "/darkroom"  # where the volume is, and the current folder
    cpu: str = "2"
    memory: str = "4Gi"
    gpus: int = 0


def manifests(purpose: str, config: Config, pods: Pods, options: list[str]) -> list[Manifest]:
    """Manifests of pods that run darkroom with ``options``; raises DarkroomError at bad ones."""
    name = f"{config.name}-{purpose}"
    for problem in filter(None, _problems(config, pods, options, name)):
        raise DarkroomError(str(problem))
    if purpose == "search" and not config.tuner.enabled:
        raise DarkroomError("tuner.enabled is false: there is no search to help with.")
    from darkroom.serving.deployment.manifests import templates

    environment = templates(Path(__file__).parent / "manifests")
    environment.filters["quoted"] = _quoted
    environment.globals |= {"oracle_port": _ORACLE_PORT, "retries": _RETRIES, "suffix": ""}
    environment.globals |= {"name": name, "pipeline": config.name, "kubeflow": config.kubeflow}
    # Kubernetes puts variables in for what follows a dollar sign.
    values = {"pods": pods, "options": [word.replace("$", "$$") for word in options]}
    return [
        yaml.safe_load(environment.get_template(f"{kind}.yaml.jinja").render(values, role=role))
        for role, kind in _KINDS[purpose]
    ]


def _quoted(value: str | list[str]) -> str:
    return yaml.safe_dump(
        value, default_style='"', default_flow_style=True, allow_unicode=True, width=float("inf")
    ).strip()


def _problems(config: Config, pods: Pods, options: list[str], name: str) -> Iterator[object]:
    """Yields a sentence for each problem, and something false for what is well."""
    yield not pods.image and (
        "--image: missing; give the reference of an image with darkroom in it (or set "
        "kubeflow.image)."
    )
    try:
        image_reference(pods.image)
    except ValueError as error:
        yield f"--image: {error}."
    yield not OBJECT_NAME.fullmatch(pods.claim) and (
        "--claim: expected the name of a PersistentVolumeClaim that all pods can write to, found "
        f"{pods.claim or 'none'}."
    )
    cpu, size, workers = pods.cpu, pods.memory, pods.workers
    yield not _CPU.fullmatch(cpu) and f"--cpu: expected cores, such as 2 or 500m, found {cpu}."
    yield not re.fullmatch(MEMORY, size) and f"--memory: expected a size such as 4Gi, found {size}."
    yield pods.gpus < 0 and f"--gpus: expected 0 or more, found {pods.gpus}."
    yield (config.metadata.backend == "mysql" and PASSWORD not in config.kubeflow.secrets) and (
        f"metadata.backend is mysql, and pods would not know its password: set "
        f"kubeflow.secrets.{PASSWORD} to secret/key."
    )
    yield workers < 1 and f"--workers: expected at least 1 beside the chief, found {workers}."
    is_absolute = PurePosixPath(pods.mount).is_absolute()
    yield not is_absolute and f"--mount: expected an absolute path, found {pods.mount}."
    yield is_remote(config.root) and (
        f"root: {config.root} is in a bucket, and pods that work together need a folder of the "
        f"volume at {pods.mount}."
    )
    file = options[options.index("--config") + 1]
    for key, path in (("root", config.root), ("data.path", config.data.path), ("--config", file)):
        inside = PurePosixPath(path or "")
        yield (inside.is_absolute() and not inside.is_relative_to(pods.mount)) and (
            f"{key} is {path}, outside of the volume at {pods.mount}, where pods would not find "
            "it. Set it to a path below, or --mount to a path above it."
        )
    longest = f"{name}-workers-{workers - 1}"
    yield len(longest) > _LONGEST_NAME and (
        f"name: {config.name} is too long for Kubernetes, which would have to call a pod "
        f"{longest}: shorten it by {len(longest) - _LONGEST_NAME} characters."
    )
