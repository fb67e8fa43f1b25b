"""TensorFlow Serving's manifests, filled in for a model.

All of them read the files that the Pusher writes beside the versions, from a folder at the same
absolute path: so ``darkroom promote`` and ``rollback`` work everywhere. Light to import.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import jinja2
import yaml

from darkroom.serving import pushed_files
from darkroom.serving.flags import GRPC_PORT, METRICS_PATH, REST_PORT

# The tags of the image tensorflow/serving by TensorFlow's minor version: they come later than
# TensorFlow, with patch numbers of their own.
_TAGS = ("2.16.1", "2.17.0", "2.18.0", "2.19.1", "2.20.0", "2.21.0")
# Versions that a server has in memory at most: the stable one, that before it, the canary, and one
# that comes while they still answer. The first two always.
_MOST_VERSIONS, _USUAL_VERSIONS = 4, 2
_STATUS_PATH = "/v1/models/{}"  # of the REST API, that says which versions are there
_MEMORY_MIB = 1024  # of a server with one version, where the configuration sets no limit

_SHARED = {
    # Instead of the image's own entry point: that is a script of bash, which passes no signal on.
    "binary": "/usr/bin/tensorflow_model_server",
    "grpc_port": GRPC_PORT,
    "rest_port": REST_PORT,
    "metrics_path": METRICS_PATH,
    "replicas": 2,
    "most_replicas": 10,
    "cpu": "1",
    "cpu_percent": 70,
}


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
        minor = (self.tensorflow or "").split(".")[:2]
        return next((tag for tag in _TAGS if tag.split(".")[:2] == minor), _TAGS[-1])


def file_flags(folder: str) -> list[str]:
    """The server's flags for the files that the Pusher writes into an absolute folder."""
    return [
        *(f"--{flag}={folder}/{name}" for flag, name in pushed_files.FILE_FLAGS.items()),
        *pushed_files.SERVER_FLAGS,
        # Else a server that starts refuses a file with labels.
        "--allow_version_labels_for_unavailable_models",
    ]


def docker(model: Model, user: str) -> str:
    """A Compose file; ``user`` is ``UID:GID`` of whoever pushes."""
    health = (
        f"exec 3<>/dev/tcp/127.0.0.1/{REST_PORT}"
        f" && printf 'GET {_STATUS_PATH.format(model.name)} HTTP/1.0\\r\\n\\r\\n' >&3"
        " && grep -q '\"AVAILABLE\"' <&3"
    )
    return _filled(model, "compose", user=user, health=health)


def kubernetes(model: Model) -> str:
    """The manifests: volume claim, deployment, service, autoscaler and disruption budget."""
    return _filled(model, "claim", "deployment", "service", "autoscaler", "disruption_budget")


def kserve(model: Model) -> str:
    """The volume claim and KServe's InferenceService."""
    return _filled(model, "claim", "inference_service")


def dump(documents: Iterable[Mapping[str, object]]) -> str:
    """Manifests that are data, as YAML."""
    return yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True, width=math.inf)


def headed(text: str, made_by: str, applied_by: str) -> str:
    """Puts a head above manifests: the commands that wrote them, and that make them run."""
    made_by = " ".join(made_by.split())  # a comment is one line
    return f"# Written by: {made_by}\n# To apply it: {applied_by}\n{text}"


def _filled(model: Model, *names: str, **values: str) -> str:
    own = file_flags(model.folder)
    memory_mib, resource = model.memory_mib or _MEMORY_MIB, model.name.rstrip("-")
    context = {
        **_SHARED,
        "model": model,
        "resource": resource,  # the name in Kubernetes, where none ends in a dash
        "claim": f"{resource}-models",  # of the volume with the pushed versions
        "status_path": _STATUS_PATH.format(model.name),
        "usual_memory_mib": _USUAL_VERSIONS * memory_mib,
        "most_memory_mib": _MOST_VERSIONS * memory_mib,
        "flags": [f"--port={GRPC_PORT}", f"--rest_api_port={REST_PORT}", *own],
        "file_flags": own,
        **values,
    }
    environment = templates(Path(__file__).parent, finalize=_scalar)
    # Compose and Kubernetes put variables in for what follows a dollar sign.
    environment.filters["without_variables"] = lambda text: text.replace("$", "$$")
    texts = [environment.get_template(f"{name}.yaml.jinja").render(context) for name in names]
    return "---\n".join(texts)


def templates(folder: Path, finalize: Callable[[object], str] | None = None) -> jinja2.Environment:
    """Jinja's environment for the templates of manifests in a folder."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=finalize,
    )


def _scalar(value: object) -> str:
    """A value on one line of YAML, quoted where it has to be."""
    for style in (None, '"'):  # with the second no text needs several lines
        item = yaml.safe_dump([value], default_style=style, allow_unicode=True, width=math.inf)
        if len(item.splitlines()) == 1:
            break
    return item.removeprefix("- ").removesuffix("\n")
