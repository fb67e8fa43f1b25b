"""Executors that work on files, for nodes whose artifacts are in a bucket."""

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence

from ml_metadata.proto import metadata_store_pb2
from tfx import types
from tfx.orchestration.portable import (
    base_executor_operator,
    beam_executor_operator,
    data_types,
    python_executor_operator,
)
from tfx.proto.orchestration import executable_spec_pb2, execution_result_pb2

from darkroom.components.base import remote

Artifacts = Mapping[str, Sequence[types.Artifact]]
# Beam's runners that work in the executor's own process, or on its machine.
_LOCAL_RUNNERS = ("DirectRunner", "BundleBasedDirectRunner", "FnApiRunner")


class _Operator(base_executor_operator.BaseExecutorOperator):
    def run_executor(
        self, execution_info: data_types.ExecutionInfo
    ) -> execution_result_pb2.ExecutorOutput:
        arguments = getattr(self, "beam_pipeline_args", [])
        if runs_elsewhere([argument.value.string_value for argument in arguments]):
            return super().run_executor(execution_info)  # Beam there reads and writes buckets
        in_bucket = execution_info.tmp_dir
        with (
            staged(execution_info.input_dict, execution_info.output_dict),
            tempfile.TemporaryDirectory() as temporary,
        ):
            if remote.is_remote(in_bucket):
                execution_info.tmp_dir = os.path.join(temporary, "")
            try:
                output = super().run_executor(execution_info)
            finally:
                execution_info.tmp_dir = in_bucket
        for listed in output.output_artifacts.values():
            for artifact in listed.artifacts:
                _name_origins(artifact)
        return output


class PythonOperator(_Operator, python_executor_operator.PythonExecutorOperator):
    """Runs executors without a Beam pipeline."""


class BeamOperator(_Operator, beam_executor_operator.BeamExecutorOperator):
    """Runs executors with a Beam pipeline."""


# What TFX's launcher runs executors with, by the type of their specification.
OPERATORS = {
    executable_spec_pb2.PythonClassExecutableSpec: PythonOperator,
    executable_spec_pb2.BeamExecutableSpec: BeamOperator,
}


@contextlib.contextmanager
def staged(inputs: Artifacts, outputs: Artifacts) -> Iterator[None]:
    """Artifacts with folders on this machine in place of URIs; then their URIs again.

    Inputs are copied here; outputs to their URIs in the end, unless there was an exception.
    """
    remote_inputs, remote_outputs = _remote(inputs), _remote(outputs)
    try:
        with contextlib.ExitStack() as stack:
            for artifact, uri in remote_inputs:
                artifact.uri = str(remote.fetch(uri))
            for artifact, uri in remote_outputs:
                artifact.uri = str(stack.enter_context(remote.written(uri)))
            yield
    finally:
        for artifact, uri in [*remote_inputs, *remote_outputs]:
            artifact.uri = uri
            _name_origins(artifact.mlmd_artifact)


def _remote(artifacts: Artifacts) -> list[tuple[types.Artifact, str]]:
    unique = {id(artifact): artifact for listed in artifacts.values() for artifact in listed}
    return [(one, one.uri) for one in unique.values() if remote.is_remote(one.uri)]


def _name_origins(artifact: metadata_store_pb2.Artifact) -> None:
    """Puts URIs in place of what an executor knew as folders, also in properties."""
    artifact.uri = remote.origin(artifact.uri)
    for value in artifact.custom_properties.values():
        if value.HasField("string_value"):
            value.string_value = remote.origin(value.string_value)


def runs_elsewhere(arguments: Sequence[str]) -> bool:
    """Whether Beam works on other machines, by its options; of several runners the last counts."""
    runners = [a.removeprefix("--runner=") for a in arguments if a.startswith("--runner=")]
    return bool(runners) and runners[-1] not in _LOCAL_RUNNERS
