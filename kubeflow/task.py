"""What a task's container runs: one node's executor, on what Kubeflow Pipelines hands to it.

Unlike TFX's own entry it doesn't import TFMA and kfp for each node, says of a failure what
TensorFlow says, and reads and writes buckets itself. Artifacts in buckets are used where the
launcher, or Vertex, has put them: gs://bucket/x at /gcs/bucket/x. The types of input artifacts
are told beside it, as the open-source back end forgets them.
"""

import argparse
import hashlib
import json
import logging
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from darkroom.components.base.errors import DarkroomError, explain
from darkroom.components.base.settings import Code
from darkroom.kubeflow import protocol
from darkroom.kubeflow.protocol import COPIES, ExecutorInput, ExecutorOutput, RuntimeArtifact
from darkroom.pipeline import fingerprint
from darkroom.serving import imports, logs

if TYPE_CHECKING:
    from tfx.types import Artifact

_LARGEST_ID = 2**63
# The last line of a task's log, for ``darkroom.kubeflow.run_local``.
DONE = re.compile(r"\w+ is done(: (?P<words>.*))?; (?P<seconds>[\d.]+) s, and [\d.]+ s around")
FAILED = re.compile(r"\w+ failed\. ")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the executor; returns the exit code."""
    begin = time.monotonic()
    logs.begin(sys.stdout)
    program, description = "python -m darkroom.kubeflow.task", "Runs a task."
    parser = argparse.ArgumentParser(program, description=description, allow_abbrev=False)
    parser.add_argument("--node", required=True, help="its id")
    parser.add_argument("--executor", required=True, help="dotted path of the class")
    parser.add_argument("--input", required=True, type=json.loads, help="ExecutorInput as JSON")
    parser.add_argument(
        "--types", type=json.loads, default={}, help="titles of the input artifacts' types by key"
    )
    options, beam_arguments = parser.parse_known_args(arguments)
    try:
        _check_code(options.input)
        seconds, words = _run(
            options.node, options.executor, options.input, options.types, beam_arguments
        )
    except Exception as error:
        logging.exception("%s failed", options.node)
        print(f"{options.node} failed. {explain(error)}", file=sys.stderr, flush=True)
        return 1
    around = time.monotonic() - begin - seconds
    result = f": {words}" * bool(words)
    print(f"{options.node} is done{result}; {seconds:.1f} s, and {around:.1f} s around", flush=True)
    return 0


def _check_code(handed: ExecutorInput) -> None:
    """Refuses to run other code than the pipeline's, by whose fingerprint results are cached."""
    settings = handed.get("inputs", {}).get("parameterValues", {}).get("custom_config")
    code = Code.of(str(settings or ""))
    if code.modules and fingerprint.of_modules(*code.modules) != code.fingerprint:
        raise DarkroomError(
            "The image has other code, or other versions of libraries, than the pipeline was "
            f"compiled from (looked at from {', '.join(code.modules)} on), and its results would "
            "be cached as that code's. Build the image of this code, and compile the pipeline "
            "with it."
        )


def _run(
    node: str,
    executor_path: str,
    handed: ExecutorInput,
    titles: Mapping[str, str],
    beam_arguments: list[str],
) -> tuple[float, str]:
    with imports.without_collections():
        from tfx.dsl.components.base import base_beam_executor
        from tfx.dsl.io import fileio
        from tfx.utils import import_utils

        from darkroom.components import nodes
        from darkroom.components.base import remote
        from darkroom.components.base.status import Status
        from darkroom.components.compat.beam import remember_signatures
        from darkroom.components.runs import staging

        executor = import_utils.import_class_by_path(executor_path)
    remember_signatures()
    of_beam = issubclass(executor, base_beam_executor.BaseBeamExecutor)
    # Beam's workers elsewhere see buckets, and not this container's copies.
    elsewhere = of_beam and staging.runs_elsewhere(beam_arguments)
    inputs = read(handed["inputs"].get("artifacts", {}), titles, elsewhere)
    outputs = read(handed["outputs"].get("artifacts", {}), {}, elsewhere)
    values = handed["inputs"].get("parameterValues", {})
    parameters = {key: _whole(value) for key, value in values.items()}
    used = [one.uri for listed in (*inputs.values(), *outputs.values()) for one in listed]
    if "s3://" in json.dumps([parameters, used]):
        remote.plug_in("s3://")
    run = parameters.pop(protocol.RUN_PARAMETER, None)
    parameters.pop(protocol.SEEN_PARAMETER, None)
    output_file = handed["outputs"]["outputFile"]
    beside = used[0] if elsewhere else output_file
    context = {
        "tmp_dir": os.path.join(os.path.dirname(beside), ".temp"),
        "unique_id": node,
        "pipeline_run_id": run,
        **({"beam_pipeline_args": beam_arguments} if of_beam else {}),
    }
    for listed in outputs.values():
        for artifact in listed:
            fileio.makedirs(artifact.uri)
    begin = time.monotonic()
    executor(executor.Context(**context)).Do(inputs, outputs, parameters)
    seconds = time.monotonic() - begin
    described = {key: {"artifacts": list(map(describe, made))} for key, made in outputs.items()}
    write_output(output_file, {"artifacts": described})
    if elsewhere:  # where a summary can't be read from
        return seconds, ""
    records = {key: listed[0].mlmd_artifact for key, listed in outputs.items()}
    return seconds, nodes.read_outputs(Status("", "", ""), node, records)


def write_output(path: str, output: ExecutorOutput) -> None:
    """Writes what a container made, for the launcher."""
    from tfx.dsl.io import fileio

    fileio.makedirs(os.path.dirname(path))
    with fileio.open(path, "w") as file:
        file.write(json.dumps(output))


def read(
    handed: protocol.ArtifactLists, titles: Mapping[str, str], elsewhere: bool = False
) -> "dict[str, list[Artifact]]":
    """TFX's artifacts of a side, by key; ``titles`` are of the types that aren't told with them."""
    return {
        key: [
            read_one(one, titles.get(key) or protocol.title_of(one["type"]), elsewhere)
            for one in listed.get("artifacts", [])
        ]
        for key, listed in handed.items()
    }


def read_one(described: RuntimeArtifact, title: str, elsewhere: bool = False) -> "Artifact":
    """An artifact of a type by its title, used at its copy in this container or ``elsewhere``."""
    artifact, uri = _type(title)(), described["uri"]
    artifact.uri = uri if elsewhere else local_path(uri)
    artifact.id = int(hashlib.sha256(uri.encode()).hexdigest(), 16) % _LARGEST_ID
    for key, value in described.get("metadata", {}).items():
        value = _whole(value)
        if isinstance(value, dict) and list(value) in (["struct"], ["list"]):
            [value] = value.values()  # as the open-source back end keeps what is no plain value
        if key in (artifact.PROPERTIES or {}):
            setattr(artifact, key, value)
            continue
        names = {str: "string", int: "int", bool: "int", float: "float"}
        kind = names.get(type(value), "json_value")
        getattr(artifact, f"set_{kind}_custom_property")(key, value)
    return artifact


def describe(artifact: "Artifact") -> RuntimeArtifact:
    """What is told of an artifact to whoever takes it."""
    record, metadata = artifact.mlmd_artifact, {}
    for key, value in [*record.properties.items(), *record.custom_properties.items()]:
        kind = value.WhichOneof("value")
        if kind in ("int_value", "double_value", "string_value"):
            metadata[key] = _origin(getattr(value, kind))
        elif kind == "struct_value":
            metadata[key] = artifact.get_json_value_custom_property(key)
    return {"uri": str(_origin(artifact.uri)), "metadata": metadata}


def _whole(value: object) -> object:
    """A whole number as one: JSON of protocol buffers has but floats."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _type(title: str) -> "type[Artifact]":
    from tfx.types import standard_artifacts

    space, _, name = title.partition(".")
    if space == "tfx" and hasattr(standard_artifacts, name):
        standard: type[Artifact] = getattr(standard_artifacts, name)
        return standard
    from darkroom.components.report.component import RunReport

    if title == RunReport.TYPE_NAME:
        return RunReport
    raise TypeError(f"Artifacts of type {title} are unknown here: expected TFX's or darkroom's.")


def local_path(uri: str) -> str:
    """Where this container has what a URI names; the URI itself where it has no copies."""
    for scheme, folder in COPIES.items():
        bucket, _, rest = uri.removeprefix(scheme).partition("/")
        if uri.startswith(scheme) and os.path.isdir(folder + bucket):
            return os.path.join(folder + bucket, rest)
    return uri


def _origin(value: object) -> object:
    """A property with the URI in place of this container's copy of it."""
    for scheme, folder in COPIES.items():
        if isinstance(value, str) and value.startswith(folder):
            uri = scheme + value.removeprefix(folder)
            return uri if local_path(uri) == value else value
    return value


if __name__ == "__main__":
    sys.exit(main())
