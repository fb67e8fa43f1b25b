"""Nodes one after the other; what a run shows of them is in test_pipeline.py and test_node.py."""

from pathlib import Path

import pytest
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration import metadata, pipeline

from darkroom.pipeline.running.launcher import SequentialRunner


@component
def First() -> None:  # noqa: N802
    """Never runs: it is launched by the test."""


@component
def Second() -> None:  # noqa: N802
    """Never runs: it is launched by the test."""


@pytest.mark.parametrize(
    ("run", "node", "launched"), [("", "", ["First", "Second"]), ("by hand", "Second", ["Second"])]
)
def test_nodes_are_launched_in_the_order_of_the_graph(
    tmp_path: Path, run: str, node: str, launched: list[str]
) -> None:
    second, first = Second(), First()
    second.add_upstream_node(first)
    store = metadata.sqlite_metadata_connection_config(str(tmp_path / "metadata.sqlite"))
    graph = pipeline.Pipeline("two", str(tmp_path), store, [second, first])
    nodes, names, contexts = [], set(), []

    def launch(compiled: object, one: object) -> None:
        nodes.append(one.node_info.id)  # type: ignore[attr-defined]
        names.add(compiled.runtime_spec.pipeline_run_id.field_value.string_value)  # type: ignore[attr-defined]
        contexts.append([c.type.name for c in one.contexts.contexts])  # type: ignore[attr-defined]

    SequentialRunner(launch, run, node).run(graph)
    assert nodes == launched
    assert len(names) == 1
    assert "" not in names
    if node:  # which may be tried again in the same run
        assert names == {run}
        assert contexts == [["pipeline", "pipeline_run", "node", "try"]]
