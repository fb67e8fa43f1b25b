"""Files that make others run the pipeline, or what it has pushed."""

import os
import shlex
import sys
from pathlib import Path

import click

from darkroom.components.base.errors import DarkroomError
from darkroom.pipeline.command_line import ConfigOptions, configured

_TARGETS = ("docker", "kubernetes", "kserve", "training", "search")
_force = click.option("--force", is_flag=True, help="replace a file that is another")


@click.command("deploy", short_help="Write the files that run TensorFlow Serving elsewhere")
@configured
@click.argument("where", type=click.Choice(_TARGETS))
@click.option("--image", default="", metavar="IMAGE", help="with darkroom in it (kubeflow.image)")
@click.option(
    "--claim", default="", metavar="NAME", help="PersistentVolumeClaim that all pods share"
)
@click.option("--workers", type=int, default=1, metavar="N", help="machines beside the chief (1)")
@click.option(
    "--mount", default="/darkroom", metavar="PATH",
    help="where the volume is in the pods, and what relative paths begin with (/darkroom)",
)  # fmt: skip
@click.option("--cpu", default="2", metavar="N", help="of each pod (2)")
@click.option("--memory", default="4Gi", metavar="SIZE", help="of each pod (4Gi)")
@click.option("--gpus", type=int, default=0, metavar="N", help="of each pod (0)")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FOLDER",
    help="for the file (default: deploy/NAME)",
)  # fmt: skip
@_force
def deploy(
    options: ConfigOptions, where: str, out: Path | None, force: bool, **of_pods: object
) -> None:
    """Writes the files that run TensorFlow Serving on the pushed versions.

    A compose.yaml for Docker, manifests for Kubernetes, or an InferenceService for KServe. Or those
    of a run on several machines of a cluster: a TFJob for its training, or Jobs for its search; the
    options from --image to --gpus are for these.
    """
    if where == "training":
        options.overrides.append("training.strategy=multi_worker")
    config = options.load()
    from darkroom.components.runs import environment
    from darkroom.serving.deployment import manifests

    model = manifests.Model(
        name=config.name,
        folder=str(config.push_path.parent),
        tensorflow=environment.versions().get("tensorflow"),
        load_seconds=config.serving.validation.load_seconds,
        memory_mib=config.serving.validation.max_memory_mib,
    )
    settings = ["--config", options.config, *(f"--set={each}" for each in options.overrides)]
    words = ["darkroom", "deploy", where, *settings]
    name, command = f"{where}.yaml", "kubectl apply --filename {}"
    if where in ("training", "search"):
        from darkroom.pipeline import kubernetes

        of_pods["image"] = of_pods["image"] or config.kubeflow.image or ""
        pods = kubernetes.Pods.model_validate(of_pods)
        text = manifests.dump(kubernetes.manifests(where, config, pods, settings))
        for key, value in pods:
            words += [f"--{key}", str(value)]
    elif where == "docker":
        name, command = "compose.yaml", "docker compose --file {} up --detach"
        text = manifests.docker(model, f"{os.getuid()}:{os.getgid()}")
    else:
        text = manifests.kserve(model) if where == "kserve" else manifests.kubernetes(model)
    text = manifests.headed(text, shlex.join(words), command.format(name))
    path = (out or Path("deploy") / config.name) / name
    _write(path, text, force)
    print(f"written      {path}\nnext         {command.format(shlex.quote(str(path)))}")


@click.command("airflow", short_help="Write the file that makes the pipeline a DAG of Airflow")
@configured
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="FILE", help="write it there")
@_force
def write_dag(options: ConfigOptions, out: Path | None, force: bool) -> None:
    """Prints a file for Airflow's folder of DAGs, or writes it.

    It has a task per node, on the schedule that the configuration's section airflow sets.
    """
    config = options.load()
    from darkroom.pipeline.airflow import graph
    from darkroom.pipeline.config import find

    path, folder = find(options.config).absolute(), Path.cwd()
    # Airflow would be the first to see what is wrong with it; and finds it made.
    words = [word for override in options.overrides for word in ("--set", override)]
    python = config.airflow.python or sys.executable
    graph.shape(config, ["--config", str(path), *words], folder, python)
    text = graph.dag_file(config.name, path, options.overrides, folder)
    if out is None:
        print(text, end="")
        return
    _write(out, text, force)
    print(f"written      {out}")


def _write(path: Path, text: str, force: bool) -> None:
    from darkroom.serving import files

    if path.exists() and path.read_bytes() != text.encode() and not force:
        raise DarkroomError(
            f"{path} is there already, and not as it would be written now. --force replaces it; "
            "--out writes elsewhere."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace(path, text)
