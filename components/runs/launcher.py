"""The launcher of nodes whose artifacts are in a bucket and whose executors work on files."""

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tfx import types
from tfx.orchestration.portable import launcher

from darkroom.components.base import remote

Artifacts = Mapping[str, Sequence[types.Artifact]]
# Beam's runners that work in the executor's own process, or on its machine.
_LOCAL_RUNNERS = ("DirectRunner", "BundleBasedDirectRunner", "FnApiRunner")


class Launcher(launcher.Launcher):  # type: ignore[misc]  # TFX's base has no types
    """TFX's launcher of one node, with the staging below where it is needed."""

    def launch(self) -> Any:
        remote.plug_in(self._pipeline_runtime_spec.pipeline_root.field_value.string_value)
        return super().launch()

    def _run_executor(self, execution_info: Any) -> Any:
        placeholders = getattr(self._executor_spec, "beam_pipeline_args_placeholders", [])
        if runs_elsewhere([one.value.string_value for one in placeholders]):
            # Where it reads and writes the bucket itself.
            return super()._run_executor(execution_info)
        in_bucket = execution_info.tmp_dir
        with (
            staged(execution_info.input_dict, execution_info.output_dict),
            tempfile.TemporaryDirectory() as temporary,
        ):
            if remote.is_remote(in_bucket):
                execution_info.tmp_dir = os.path.join(temporary, "")
            try:
                output = super()._run_executor(execution_info)
            finally:
                execution_info.tmp_dir = in_bucket
        for listed in output.output_artifacts.values():
            for artifact in listed.artifacts:
                _name_origins(artifact)
        return output


@contextlib.contextmanager
def staged(inputs: Artifacts, outputs: Artifacts) -> Iterator[None]:
    """Artifacts with folders on this machine in place of URIs; then their URIs again.

    Inputs are copied here. Outputs are copied to their URIs in the end, unless there was an
    exception.
    """
    taken, made = _remote(inputs), _remote(outputs)
    try:
        with contextlib.ExitStack() as stack:
            for artifact, uri in taken:
                artifact.uri = str(remote.fetch(uri))
            for artifact, uri in made:
                artifact.uri = str(stack.enter_context(remote.written(uri)))
            yield
    finally:
        for artifact, uri in [*taken, *made]:
            artifact.uri = uri
            _name_origins(artifact.mlmd_artifact)


def _remote(artifacts: Artifacts) -> list[tuple[types.Artifact, str]]:
    found = {id(one): one for listed in artifacts.values() for one in listed}
    return [
        (artifact, artifact.uri) for artifact in found.values() if remote.is_remote(artifact.uri)
    ]


def _name_origins(artifact: Any) -> None:
    """Puts URIs in place of what an executor knew as folders, also in properties."""
    artifact.uri = remote.origin(artifact.uri)
    for value in artifact.custom_properties.values():
        if value.HasField("string_value"):
            value.string_value = remote.origin(value.string_value)


def runs_elsewhere(arguments: Sequence[str]) -> bool:
    """Whether Beam works on other machines, by its options; of several runners the last counts."""
    runners = [a.removeprefix("--runner=") for a in arguments if a.startswith("--runner=")]
    return bool(runners) and runners[-1] not in _LOCAL_RUNNERS
