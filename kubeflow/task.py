"""What a task's container runs: one node's executor, on what Kubeflow Pipelines hands to it.

``python -m darkroom.kubeflow.task --node ID --executor PATH --input JSON`` in place of TFX's own
entry, which imports TFMA and kfp for each node, says of a failure what TensorFlow says, and reads
and writes buckets itself. The JSON is an ExecutorInput and the file that is written an
ExecutorOutput, as in pipeline_spec.proto of Kubeflow Pipelines. Artifacts in buckets are used where
the launcher that comes before us in the container, or Vertex, has put them: gs://bucket/x at
/gcs/bucket/x. The types of input artifacts are told beside it, as the open-source back end forgets
them.
"""

import argparse
import hashlib
import json
import logging
import os
import re
import sys
import time
from collections.abc import Sequence
from typing import Any

import yaml

from darkroom.components.base.errors import DarkroomError, explain
from darkroom.pipeline import fingerprint

# Where the launcher of Kubeflow Pipelines keeps copies of buckets: LocalPathForURI in its source.
_COPIES = {"gs://": "/gcs/", "s3://": "/s3/", "minio://": "/minio/"}
# Parameters that are none of the executor's: the run, and what was seen of the images' files.
RUN_PARAMETER = "pipeline_run_id"
SEEN_PARAMETER = "seen"
_LARGEST_ID = 2**63
# The last line of a task's log, for ``darkroom.kubeflow.run_local``.
DONE = re.compile(r"\w+ is done(: (?P<words>.*))?; (?P<seconds>[\d.]+) s, and [\d.]+ s around")
FAILED = re.compile(r"\w+ failed\. ")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the executor; returns the exit code."""
    begin = time.monotonic()
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout
    )
    parser = argparse.ArgumentParser(
        prog="python -m darkroom.kubeflow.task", description="Runs a task.", allow_abbrev=False
    )
    parser.add_argument("--node", required=True, help="its id")
    parser.add_argument("--executor", required=True, help="dotted path of the class")
    parser.add_argument("--input", required=True, type=json.loads, help="ExecutorInput as JSON")
    parser.add_argument(
        "--types", type=json.loads, default={}, help="titles of the input artifacts' types by key"
    )
    parser.add_argument(
        "--source", help="the code's fingerprint, for the cache's key, and to be checked"
    )
    parser.add_argument("--modules", default="", help="the modules that it was taken from")
    options, beam_arguments = parser.parse_known_args(arguments)
    try:
        if options.source is not None:
            _check_source(options.source, options.modules.split(","))
        seconds, words = _run(options, beam_arguments)
    except Exception as error:
        logging.exception("%s failed", options.node)
        print(f"{options.node} failed. {explain(error)}", file=sys.stderr, flush=True)
        return 1
    around = time.monotonic() - begin - seconds
    said = f": {words}" * bool(words)
    print(f"{options.node} is done{said}; {seconds:.1f} s, and {around:.1f} s around", flush=True)
    return 0


def _check_source(source: str, modules: Sequence[str]) -> None:
    """What this code makes is kept under the fingerprint of that which the pipeline came from."""
    if fingerprint.of_modules(*modules) != source:
        raise DarkroomError(
            "The image has other code, or other versions of libraries, than the pipeline was "
            f"compiled from (looked at from {', '.join(modules)} on), and its results would be "
            "cached as that code's. Build the image of this code, and compile the pipeline with it."
        )


def _run(options: argparse.Namespace, beam_arguments: list[str]) -> tuple[float, str]:
    """Runs the executor and writes what it made.

    Returns:
      The seconds of its own work, and the one number that matters, in words as on the laptop.
    """
    import keras  # noqa: F401  # before tensorflow_transform, which would choose tf_keras
    from tfx.dsl.components.base import base_beam_executor, base_executor
    from tfx.dsl.io import fileio
    from tfx.utils import import_utils

    from darkroom.components import nodes
    from darkroom.components.base import remote
    from darkroom.components.base.status import Status
    from darkroom.components.runs import staging

    executor = import_utils.import_class_by_path(options.executor)
    of_beam = issubclass(executor, base_beam_executor.BaseBeamExecutor)
    # Beam's workers elsewhere see buckets, and not this container's copies.
    elsewhere = of_beam and staging.runs_elsewhere(beam_arguments)
    inputs, outputs = options.input.get("inputs", {}), options.input["outputs"]
    uris: dict[int, str] = {}
    artifacts = {
        kind: {
            key: [
                _artifact(one, types.get(key) or title_of(one["type"]), elsewhere, uris)
                for one in listed.get("artifacts", [])
            ]
            for key, listed in side.get("artifacts", {}).items()
        }
        for kind, side, types in (("inputs", inputs, options.types), ("outputs", outputs, {}))
    }
    parameters = {
        key: int(value) if isinstance(value, float) and value.is_integer() else value
        for key, value in inputs.get("parameterValues", {}).items()
    }
    used = [one.uri for side in artifacts.values() for listed in side.values() for one in listed]
    if "s3://" in json.dumps([parameters, used]):
        remote.plug_in("s3://")
    run = parameters.pop(RUN_PARAMETER, None)
    parameters.pop(SEEN_PARAMETER, None)
    output_file = outputs["outputFile"]
    around = next(iter(uris.values())) if elsewhere else output_file
    shared = {
        "tmp_dir": os.path.join(os.path.dirname(around), ".temp"),
        "unique_id": options.node,
        "pipeline_run_id": run,
    }
    context: Any
    if of_beam:
        context = base_beam_executor.BaseBeamExecutor.Context(
            beam_pipeline_args=beam_arguments, **shared
        )
    else:
        context = base_executor.BaseExecutor.Context(**shared)
    for listed in artifacts["outputs"].values():
        for artifact in listed:
            fileio.makedirs(artifact.uri)
    begin = time.monotonic()
    executor(context).Do(artifacts["inputs"], artifacts["outputs"], parameters)
    seconds = time.monotonic() - begin
    written = {
        key: {"artifacts": [_described(artifact, uris) for artifact in listed]}
        for key, listed in artifacts["outputs"].items()
    }
    fileio.makedirs(os.path.dirname(output_file))
    with fileio.open(output_file, "w") as file:
        file.write(json.dumps({"artifacts": written}))
    if elsewhere:  # where a summary can't be read from
        return seconds, ""
    made = {key: listed[0].mlmd_artifact for key, listed in artifacts["outputs"].items()}
    return seconds, nodes.read_outputs(Status("", "", ""), options.node, made)


def _artifact(given: dict[str, Any], title: str, elsewhere: bool, uris: dict[int, str]) -> Any:
    """TFX's artifact of a RuntimeArtifact; notes in ``uris`` what it is called elsewhere."""
    artifact = _type(title)()
    uri = given["uri"]
    artifact.uri = uri if elsewhere else local_path(uri)
    uris[id(artifact)] = uri
    artifact.id = int(hashlib.sha256(uri.encode()).hexdigest(), 16) % _LARGEST_ID
    for key, value in given.get("metadata", {}).items():
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        elif isinstance(value, dict) and list(value) in (["struct"], ["list"]):
            [value] = value.values()  # as the open-source back end keeps what is no plain value
        if key in (artifact.PROPERTIES or {}):
            setattr(artifact, key, value)
        elif isinstance(value, str):
            artifact.set_string_custom_property(key, value)
        elif isinstance(value, int):
            artifact.set_int_custom_property(key, value)
        elif isinstance(value, float):
            artifact.set_float_custom_property(key, value)
        else:
            artifact.set_json_value_custom_property(key, value)
    return artifact


def title_of(artifact_type: dict[str, Any]) -> str:
    """The name of an artifact's type, such as tfx.Examples."""
    if artifact_type.get("schemaTitle"):
        return str(artifact_type["schemaTitle"])
    return str(yaml.safe_load(artifact_type["instanceSchema"])["title"])


def _type(title: str) -> Any:
    from tfx.types import standard_artifacts

    space, _, name = title.partition(".")
    if space == "tfx" and hasattr(standard_artifacts, name):
        return getattr(standard_artifacts, name)
    from darkroom.components.report.component import RunReport

    if title == RunReport.TYPE_NAME:
        return RunReport
    raise TypeError(f"Artifacts of type {title} are unknown here: expected TFX's or darkroom's.")


def local_path(uri: str) -> str:
    """Where this container has what a URI names; the URI itself where it has no copies."""
    for scheme, folder in _COPIES.items():
        bucket, _, rest = uri.removeprefix(scheme).partition("/")
        if uri.startswith(scheme) and os.path.isdir(folder + bucket):
            return os.path.join(folder + bucket, rest)
    return uri


def _origin(value: Any) -> Any:
    """A property with the URI in place of this container's copy of it."""
    for scheme, folder in _COPIES.items():
        if isinstance(value, str) and value.startswith(folder):
            uri = scheme + value.removeprefix(folder)
            return uri if local_path(uri) == value else value
    return value


def _described(artifact: Any, uris: dict[int, str]) -> dict[str, Any]:
    """A RuntimeArtifact of TFX's artifact."""
    made = artifact.mlmd_artifact
    metadata = {
        key: _origin(getattr(value, kind))
        for properties in (made.properties, made.custom_properties)
        for key, value in properties.items()
        for kind in [value.WhichOneof("value")]
        if kind in ("int_value", "double_value", "string_value")
    }
    structured = {
        key: artifact.get_json_value_custom_property(key)
        for key, value in made.custom_properties.items()
        if value.WhichOneof("value") == "struct_value"
    }
    return {"uri": uris[id(artifact)], "metadata": {**metadata, **structured}}


if __name__ == "__main__":
    sys.exit(main())
