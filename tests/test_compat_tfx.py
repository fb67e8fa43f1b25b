"""What is private of TFX does what ``components.compat.tfx`` says."""

from pathlib import Path

from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.beam import beam_dag_runner

from darkroom.components.compat import tfx as private


@component
def First() -> None:  # noqa: N802
    """Never runs: it is launched by the test."""


@component
def Second() -> None:  # noqa: N802
    """Never runs: it is launched by the test."""


def test_beams_runner_has_each_node_launched_here(tmp_path: Path) -> None:
    assert (
        beam_dag_runner.BeamDagRunner._PIPELINE_NODE_DO_FN_CLS is beam_dag_runner.PipelineNodeAsDoFn
    ), "TFX's BeamDagRunner has no _PIPELINE_NODE_DO_FN_CLS any more: darkroom sees no nodes of it."
    second, first = Second(), First()
    second.add_upstream_node(first)
    graph = pipeline.Pipeline(
        pipeline_name="two",
        pipeline_root=str(tmp_path),
        components=[second, first],
        metadata_connection_config=metadata.sqlite_metadata_connection_config(
            str(tmp_path / "metadata.sqlite")
        ),
    )
    seen = []  # in this process, or it would stay empty

    def launch(compiled: object, node: object) -> None:
        seen.append((compiled.pipeline_info.id, node.node_info.id))  # type: ignore[attr-defined]

    private.beam_runner(launch).run(graph)
    assert seen == [("two", "First"), ("two", "Second")]
