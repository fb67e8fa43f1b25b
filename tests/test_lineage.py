from pathlib import Path

from darkroom.components.runs import lineage
from darkroom.pipeline.config import Config
from darkroom.pipeline.history import status
from tests.conftest import Project


def test_a_run_is_read_with_what_its_nodes_took_and_made(
    small: Project, small_config: Config
) -> None:
    store = status.open_store(small_config)
    [run] = lineage.runs(store, "small")
    assert run.name == small.status()["run"]
    nodes = {node.id: node for node in lineage.nodes(store, "small", run)}
    assert {node.state for node in nodes.values()} == {"complete"}
    assert [id_ for id_, node in nodes.items() if node.is_resolver] == [
        "LastStatistics",
        "Resolver",
    ]
    trainer = nodes["Trainer"]
    assert sorted(trainer.inputs) == ["examples", "hyperparameters", "transform_graph"]
    assert sorted(trainer.made) == ["model", "model_run"]
    assert Path(trainer.made["model"].uri).is_dir()
    assert trainer.started < trainer.updated
    assert nodes["Pusher"].inputs["model"] == trainer.outputs["model"]
    # A resolver hands on what others made; here there was nothing but the candidate.
    assert [found.id for found in nodes["Resolver"].outputs.get("model", [])] == []


def test_the_maker_of_an_artifact(small_config: Config) -> None:
    store = status.open_store(small_config)
    [run] = lineage.runs(store, "small")
    [trainer] = [node for node in lineage.nodes(store, "small", run) if node.id == "Trainer"]
    found = lineage.maker(store, trainer.made["model"].id)
    assert found is not None
    assert found.id == "Trainer"
    assert lineage.run_of(store, found.execution.id).name == run.name
    assert lineage.node(store, found.execution.id) == found


def test_a_moment_is_told_with_its_zone() -> None:
    assert lineage.moment(1795241542683) == "2026-11-21T06:12:22+00:00"
