"""Runs a compiled specification here, before a cluster is paid for.

``python -m darkroom.kubeflow.run_local pipeline.yaml --root DIR`` runs each task's own container
command as a process of its own, in the order of the graph, with the input and output files that the
driver and the launcher of Kubeflow Pipelines hand to it. DIR plays the cluster: gs://bucket/x is
DIR/gcs/bucket/x and /data/x of a volume is DIR/data/x, where ``--mount`` doesn't say otherwise.
"""

import argparse
import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from darkroom.components.base.errors import INTERRUPTED, DarkroomError
from darkroom.components.training.distribution.shared_work import end_with_parent
from darkroom.kubeflow import spec
from darkroom.kubeflow.task import DONE, FAILED

# As the launcher of Kubeflow Pipelines names its copies of buckets.
_BUCKETS = {"gs://": "gcs", "s3://": "s3"}
_INPUT = "{{$}}"
_RUN_ID = "{{$.pipeline_job_uuid}}"
_OUTPUT_FILE = "executor_output.json"
# What is left of an artifact's type when the open-source back end hands it on.
_FORGOTTEN = {"type": {"instanceSchema": ""}}
# Lines of a failed task's log that are shown.
_SHOWN_LINES = 5


class Ran(NamedTuple):
    """A task that is done."""

    name: str
    seconds: float
    own_seconds: float | None  # of its executor, without imports; None where it didn't say
    words: str  # the one number that matters


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the specification; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m darkroom.kubeflow.run_local", description=__doc__
    )
    parser.add_argument("spec", type=Path, metavar="SPEC", help="YAML that darkroom compile made")
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="plays the cluster")
    parser.add_argument(
        "--mount", action="append", default=[], metavar="PATH=FOLDER", type=_mount,
        help="what stands for a path or URI of the cluster, as in /data/mnist=mnist or gs://b=dir; "
        "can be repeated",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    try:
        for ran in run(options.spec, options.root, dict(options.mount)):
            print(f"✓ {ran.name:20} {ran.seconds:6.1f} s  {ran.words}".rstrip(), flush=True)
    except DarkroomError as error:
        print(f"run_local: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _mount(text: str) -> tuple[str, Path]:
    place, equals, folder = text.rpartition("=")
    if not equals or not place or not folder:
        raise argparse.ArgumentTypeError(f"expected PATH=FOLDER, found {text}")
    if not Path(folder).exists():
        raise argparse.ArgumentTypeError(f"there is no {folder}, which is to be {place}")
    return place.rstrip("/"), Path(folder).absolute()


def run(path: Path, root: Path, mounts: dict[str, Path] | None = None) -> Iterator[Ran]:
    """Runs all tasks; yields each when it is done.

    Args:
      path: of the specification.
      root: folder that plays the cluster's buckets and volumes.
      mounts: folders that stand for paths or URIs of the cluster.

    Raises:
      DarkroomError: the specification can't run, or a task failed: which, its command, its log.
    """
    pipeline, tasks = spec.load(path)
    here = _Places(root.absolute(), mounts or {}, tasks)
    for task in tasks:
        _check(task)
    run_id = str(uuid.uuid4())
    folder = root.absolute() / "runs" / pipeline / run_id
    made: dict[tuple[str, str], Any] = {}  # artifacts and parameters by task and key
    for task in tasks:
        yield _run(task, pipeline, run_id, folder / task.name, here, made)


class _Places:
    """Where the paths and URIs of the cluster are on this machine."""

    def __init__(self, root: Path, mounts: dict[str, Path], tasks: Sequence[spec.Task]):
        """Takes the volumes from what the tasks mount."""
        volumes = {v["mountPath"] for task in tasks for v in task.platform.get("pvcMount", [])}
        self.root = root
        places = {volume: root / volume.lstrip("/") for volume in volumes} | mounts
        # The longest first: a mount may lie in a volume.
        longest = sorted(places.items(), key=lambda place: -len(place[0]))
        rules = [(rf"{re.escape(place)}(?=[/\"']|$)", str(folder)) for place, folder in longest]
        rules += [(re.escape(scheme), f"{root / name}/") for scheme, name in _BUCKETS.items()]
        self._folders = [folder for _, folder in rules]
        # All at once: what was put in is not looked at again.
        either = "|".join(f"({pattern})" for pattern, _ in rules)
        self._pattern = re.compile(rf"(?<![\w./:-])(?:{either})")

    def here(self, value: Any) -> Any:
        """A parameter with paths of this machine in place of the cluster's."""
        if not isinstance(value, str):
            return value
        return self._pattern.sub(lambda found: self._folders[(found.lastindex or 1) - 1], value)


def _run(
    task: spec.Task,
    pipeline: str,
    run_id: str,
    folder: Path,
    here: _Places,
    made: dict[tuple[str, str], dict[str, Any]],
) -> Ran:
    """Runs a task; adds what it made to ``made``."""
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise DarkroomError(f"--root: {folder} can't be made: {error.strerror}.") from error
    given = _executor_input(task, pipeline, run_id, folder, here, made)
    (folder / "executor_input.json").write_text(json.dumps(given, indent=2), encoding="utf-8")
    command = _command(task, given, here)
    log = folder / "log.txt"
    begin = time.monotonic()
    with log.open("wb") as file, tempfile.TemporaryDirectory() as temporary:
        try:
            process = subprocess.Popen(
                command,
                cwd=temporary,
                env={**_environment(task, here), "TMPDIR": temporary},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_parent if sys.platform == "linux" else None,
            )
        except OSError as error:
            raise _failed(task, f"can't be started: {error.strerror}", folder) from error
        code = _wait(process)
    seconds = time.monotonic() - begin
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    if code:
        how = f"was killed by signal {-code}" if code < 0 else f"failed with exit code {code}"
        raise _failed(task, how, folder, _last_words(lines))
    for key, value in _executor_output(task, given, folder).items():
        made[task.name, key] = value
    return Ran(task.name, seconds, *_told(lines))


def _executor_input(
    task: spec.Task,
    pipeline: str,
    run_id: str,
    folder: Path,
    here: _Places,
    made: dict[tuple[str, str], dict[str, Any]],
) -> dict[str, Any]:
    """What the driver of Kubeflow Pipelines would hand to it."""
    parameters = {
        key: run_id if value == _RUN_ID else here.here(value)
        for key, value in task.parameters.items()
    } | {key: made[source] for key, source in task.told.items()}
    # The launcher makes the folders around an output, and the task the output.
    outputs = here.root / "artifacts" / pipeline / run_id / task.name
    outputs.mkdir(parents=True)
    return {
        "inputs": {
            "parameterValues": parameters,
            "artifacts": {key: {"artifacts": [made[task.inputs[key]]]} for key in task.inputs},
        },
        "outputs": {
            "artifacts": {
                key: {"artifacts": [{"name": key, "uri": str(outputs / key), "type": kind}]}
                for key, kind in task.outputs.items()
            },
            "parameters": {key: {"outputFile": str(folder / key)} for key in task.tells},
            "outputFile": str(folder / _OUTPUT_FILE),
        },
    }


def _check(task: spec.Task) -> None:
    """What would stop it here, before the first task runs."""
    for word in [*task.container["command"], *task.container.get("args", [])]:
        if "{{$" in word and word != _INPUT:
            raise DarkroomError(
                f"task {task.name}: can't fill in the placeholder of {word!r} here."
            )
    for secret in task.platform.get("secretAsEnv", []):
        for key in secret["keyToEnv"]:
            if key["envVar"] not in os.environ:
                raise DarkroomError(
                    f"task {task.name}: {key['envVar']} comes from the secret "
                    f"{secret['secretName']} on the cluster. Set it here in the environment."
                )


def _command(task: spec.Task, given: dict[str, Any], here: _Places) -> list[str]:
    container = task.container
    words = [*container["command"], *container.get("args", [])]
    words = [json.dumps(given) if word == _INPUT else here.here(word) for word in words]
    # The image's Python is the one that runs this.
    return [sys.executable, *words[1:]] if words[0] in ("python", "python3") else words


def _environment(task: spec.Task, here: _Places) -> dict[str, str]:
    """That of this process, with what the task's container has beyond it."""
    given = task.container.get("env", [])
    declared = {entry["name"]: here.here(entry["value"]) for entry in given}
    # Your own code, which is in /opt/code of the image, is where you are; last, to shadow nothing.
    path = [*filter(None, [os.environ.get("PYTHONPATH")]), os.getcwd()]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), **declared}


def _wait(process: subprocess.Popen[bytes]) -> int:
    """Waits for the end; takes the task with it where this process is interrupted."""
    try:
        return process.wait()
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _executor_output(task: spec.Task, given: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Parameters, and artifacts as tasks after it get them: without their type, as on a cluster."""
    try:
        output = json.loads((folder / _OUTPUT_FILE).read_text(encoding="utf-8"))
        written = {key: of["artifacts"][0] for key, of in output.get("artifacts", {}).items()}
        made = {key: output["parameterValues"][key] for key in task.tells}
    except (OSError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise _failed(
            task, f"wrote no executor output that can be read ({error})", folder
        ) from error
    for key, listed in given["outputs"]["artifacts"].items():
        [declared] = listed["artifacts"]
        metadata = written.get(key, {}).get("metadata", {})
        made[key] = {**declared, **_FORGOTTEN, "metadata": metadata}
        if not os.path.isdir(declared["uri"]) or not os.listdir(declared["uri"]):
            raise _failed(
                task,
                f"did not write its output {key}, expected in {declared['uri']}",
                folder,
            )
    return made


def _failed(task: spec.Task, how: str, folder: Path, said: str = "") -> DarkroomError:
    container = task.container
    words = [*container["command"], *container.get("args", [])]
    return DarkroomError(
        f"task {task.name} {how}.\n"
        + (f"  {said}\n" if said else "")
        + f"Its command: {shlex.join(words)}\n"
        f"Its input:   {folder / 'executor_input.json'}\n"
        f"Its log:     {folder / 'log.txt'}"
    )


def _last_words(lines: Sequence[str]) -> str:
    """What a failed task said at its end: its sentence, else its last lines."""
    sentences = [number for number, line in enumerate(lines) if FAILED.match(line)]
    shown = lines[sentences[-1] :] if sentences else lines[-_SHOWN_LINES:]
    return "\n  ".join(line for line in shown if line.strip())


def _told(lines: Sequence[str]) -> tuple[float | None, str]:
    """The seconds of its own work, and the one number that matters, as a task says."""
    said = [found for line in lines if (found := DONE.fullmatch(line))]
    return (float(said[-1]["seconds"]), said[-1]["words"] or "") if said else (None, "")


if __name__ == "__main__":
    sys.exit(main())
