"""Runs a compiled specification here, before a cluster is paid for.

``python -m darkroom.kubeflow.run_local pipeline.yaml --root DIR`` runs each task's own container
command as a process of its own, in the order of the graph, with the input and output files that the
driver and the launcher of Kubeflow Pipelines hand to it. DIR plays the cluster: gs://bucket/x is
DIR/gcs/bucket/x and /data/x of a volume is DIR/data/x, where ``--mount`` doesn't say otherwise.
darkroom's own commands are forked from one process that has imported TensorFlow and TFX.
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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from darkroom.components.base.errors import DarkroomError
from darkroom.components.base.processes import Forked, ForkServer, end_with_parent
from darkroom.kubeflow import protocol, spec
from darkroom.kubeflow.task import DONE, FAILED
from darkroom.serving.interrupts import INTERRUPTED

_PYTHON = ("python", "python3")  # in the image; here it is the one that runs this
# Modules whose commands are forked, and what is imported once for them.
_FORKED = ("darkroom.kubeflow.task", "darkroom.kubeflow.input_digest")
_IMPORTED = ("darkroom.pipeline.pipeline", *_FORKED)
_OUTPUT_FILE = "executor_output.json"
# What is left of an artifact's type when the open-source back end hands it on.
_FORGOTTEN: protocol.ArtifactType = {"instanceSchema": ""}
_SHOWN_LINES = 5  # of a failed task's log


class Ran(NamedTuple):
    """A task that is done."""

    name: str
    seconds: float
    own_seconds: float | None  # of its executor, without imports; None where it didn't say
    words: str  # the one number that matters


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the specification; returns the exit code."""
    program = "python -m darkroom.kubeflow.run_local"
    parser = argparse.ArgumentParser(prog=program, description=__doc__)
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
        print("run_local: interrupted. The next run begins anew.", file=sys.stderr)
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
    """Runs all tasks of a specification, and yields each; raises DarkroomError at one that fails.

    ``root`` plays the cluster's buckets and volumes, ``mounts`` stand for paths or URIs of it.
    """
    pipeline, tasks = spec.load(path)
    volumes = {mount["mountPath"] for t in tasks for mount in t.kubernetes.get("pvcMount", [])}
    for task in tasks:
        _check(task)
    with contextlib.ExitStack() as servers:
        here = _Run(pipeline, Places(root.absolute(), volumes, mounts or {}), servers)
        yield from map(here.run, tasks)


class Places:
    """Where the paths and URIs of the cluster are on this machine."""

    def __init__(self, root: Path, volumes: Iterable[str], mounts: Mapping[str, Path]):
        """Volumes and buckets are folders of ``root``, where ``mounts`` doesn't say otherwise."""
        self.root = root
        places = {volume: root / volume.lstrip("/") for volume in volumes} | dict(mounts)
        # The longest first: a mount may lie in a volume.
        longest = sorted(places.items(), key=lambda place: -len(place[0]))
        rules = [(rf"{re.escape(place)}(?=[/\"']|$)", str(folder)) for place, folder in longest]
        copies = protocol.COPIES.items()
        rules += [(re.escape(scheme), f"{root}{folder}") for scheme, folder in copies]
        self._folders = [folder for _, folder in rules]
        # All at once: what was put in is not looked at again.
        either = "|".join(f"({pattern})" for pattern, _ in rules)
        self._pattern = re.compile(rf"(?<![\w./:-])(?:{either})")

    def here(self, text: str) -> str:
        return self._pattern.sub(lambda match: self._folders[(match.lastindex or 1) - 1], text)


class _Run:
    """A run of the pipeline: what its tasks have made until now."""

    def __init__(self, pipeline: str, places: Places, servers: contextlib.ExitStack):
        self._pipeline, self._places, self._servers = pipeline, places, servers
        self._id = str(uuid.uuid4())
        self._artifacts: dict[spec.Source, protocol.RuntimeArtifact] = {}
        self._parameters: dict[spec.Source, object] = {}
        self._server: ForkServer | None = None

    def run(self, task: spec.Task) -> Ran:
        folder = self._places.root / "runs" / self._pipeline / self._id / task.name
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise DarkroomError(f"--root: {folder} can't be made: {error.strerror}.") from error
        handed = self._executor_input(task, folder)
        (folder / "executor_input.json").write_text(json.dumps(handed, indent=2), encoding="utf-8")
        log = folder / "log.txt"
        begin = time.monotonic()
        with log.open("wb") as file, tempfile.TemporaryDirectory() as temporary:
            try:
                process = self._start(task, handed, temporary, file.fileno())
            except OSError as error:
                raise _failed(task, f"can't be started: {error.strerror}", folder) from error
            code = _wait(process)
        seconds = time.monotonic() - begin
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        if code:
            how = f"was killed by signal {-code}" if code < 0 else f"failed with exit code {code}"
            raise _failed(task, how, folder, _last_words(lines))
        self._take(task, handed, folder)
        for said in filter(None, map(DONE.fullmatch, reversed(lines))):
            return Ran(task.name, seconds, float(said["seconds"]), said["words"] or "")
        return Ran(task.name, seconds, None, "")

    def _executor_input(self, task: spec.Task, folder: Path) -> protocol.ExecutorInput:
        parameters = {key: self._parameters[source] for key, source in task.parameters.items()}
        for key, value in task.constants.items():
            if isinstance(value, str):
                value = self._places.here(value.replace(protocol.RUN_ID, self._id))
            parameters[key] = value
        # The launcher makes the folders around an output, and the task the output.
        outputs = self._places.root / "artifacts" / self._pipeline / self._id / task.name
        outputs.mkdir(parents=True)
        taken: protocol.ArtifactLists = {
            key: {"artifacts": [self._artifacts[source]]} for key, source in task.inputs.items()
        }
        made: protocol.ArtifactLists = {
            key: {"artifacts": [{"name": key, "uri": str(outputs / key), "type": kind}]}
            for key, kind in task.outputs.items()
        }
        files = {key: {"outputFile": str(folder / key)} for key in task.output_parameters}
        output_file = str(folder / _OUTPUT_FILE)
        return {
            "inputs": {"parameterValues": parameters, "artifacts": taken},
            "outputs": {"artifacts": made, "parameters": files, "outputFile": output_file},
        }

    def _start(
        self, task: spec.Task, handed: protocol.ExecutorInput, temporary: str, output: int
    ) -> subprocess.Popen[bytes] | Forked:
        program, *words = (
            json.dumps(handed) if word == protocol.EXECUTOR_INPUT else self._places.here(word)
            for word in task.command
        )
        environment = self._environment(task)
        in_task = {**environment, "TMPDIR": temporary}
        if program in _PYTHON and words[:1] == ["-m"] and words[1] in _FORKED:
            with contextlib.suppress(OSError):
                if self._server is None:
                    self._server = ForkServer.importing(_IMPORTED, environment, output)
                    self._servers.callback(self._server.close)
                # What is imported may depend on the environment.
                if self._server.environment == environment:
                    return self._server.start(
                        words[1], words[2:], environment=in_task, folder=temporary, stdout=output
                    )
        return subprocess.Popen(
            [sys.executable if program in _PYTHON else program, *words],
            cwd=temporary,
            env=in_task,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=end_with_parent if sys.platform == "linux" else None,
        )

    def _environment(self, task: spec.Task) -> dict[str, str]:
        variables = task.container.get("env", [])
        declared = {entry["name"]: self._places.here(entry["value"]) for entry in variables}
        # Your own code, in /opt/code of the image, is where you are; last, to shadow nothing.
        path = [*filter(None, [os.environ.get("PYTHONPATH")]), os.getcwd()]
        return {**os.environ, "PYTHONPATH": os.pathsep.join(path), **declared}

    def _take(self, task: spec.Task, handed: protocol.ExecutorInput, folder: Path) -> None:
        try:
            output = json.loads((folder / _OUTPUT_FILE).read_text(encoding="utf-8"))
            artifacts = {key: of["artifacts"][0] for key, of in output.get("artifacts", {}).items()}
            for key in task.output_parameters:
                self._parameters[spec.Source(task.name, key)] = output["parameterValues"][key]
        except (OSError, ValueError, LookupError, AttributeError, TypeError) as error:
            message = f"wrote no executor output that can be read ({error})"
            raise _failed(task, message, folder) from error
        for key, listed in handed["outputs"]["artifacts"].items():
            [declared] = listed["artifacts"]
            metadata = artifacts.get(key, {}).get("metadata", {})
            kept: protocol.RuntimeArtifact = {**declared, "type": _FORGOTTEN, "metadata": metadata}
            self._artifacts[spec.Source(task.name, key)] = kept
            if not os.path.isdir(declared["uri"]) or not os.listdir(declared["uri"]):
                message = f"did not write its output {key}, expected in {declared['uri']}"
                raise _failed(task, message, folder)


def _check(task: spec.Task) -> None:
    for word in task.command:
        if "{{$" in word and word != protocol.EXECUTOR_INPUT:
            message = f"task {task.name}: can't fill in the placeholder of {word!r} here."
            raise DarkroomError(message)
    for secret in task.kubernetes.get("secretAsEnv", []):
        for key in secret["keyToEnv"]:
            if key["envVar"] not in os.environ:
                raise DarkroomError(
                    f"task {task.name}: {key['envVar']} comes from the secret "
                    f"{secret['secretName']} on the cluster. Set it here in the environment."
                )


def _wait(process: subprocess.Popen[bytes] | Forked) -> int:
    try:
        return process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _failed(task: spec.Task, how: str, folder: Path, last_words: str = "") -> DarkroomError:
    return DarkroomError(
        f"task {task.name} {how}.\n"
        + (f"  {last_words}\n" if last_words else "")
        + f"Its command: {shlex.join(task.command)}\n"
        f"Its input:   {folder / 'executor_input.json'}\n"
        f"Its log:     {folder / 'log.txt'}"
    )


def _last_words(lines: Sequence[str]) -> str:
    sentences = [number for number, line in enumerate(lines) if FAILED.match(line)]
    shown = lines[sentences[-1] :] if sentences else lines[-_SHOWN_LINES:]
    return "\n  ".join(line for line in shown if line.strip())


if __name__ == "__main__":
    sys.exit(main())
