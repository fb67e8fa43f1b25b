from pathlib import Path

from ml_metadata.proto import metadata_store_pb2

from darkroom.components import nodes
from darkroom.components.base.status import Status
from darkroom.components.runs import environment, lineage
from darkroom.pipeline.config import Config, load
from darkroom.pipeline.history import status
from tests.conftest import Project
from tests.stores import Store


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
        "Baseline",
    ]
    trainer = nodes["Trainer"]
    assert sorted(trainer.inputs) == ["examples", "hyperparameters", "transform_graph"]
    assert sorted(trainer.made) == ["model", "model_run"]
    assert Path(trainer.made["model"].uri).is_dir()
    assert trainer.started < trainer.updated
    assert nodes["Pusher"].inputs["model"] == trainer.outputs["model"]
    # A resolver hands on what others made; here there was nothing but the candidate.
    assert [found.id for found in nodes["Baseline"].outputs.get("model", [])] == []


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


def test_a_run_of_an_earlier_version(tmp_path: Path) -> None:
    """Baseline had TFX's name for a resolver, and settings and notes were others."""
    config = load("digits", [f"root={tmp_path}"])
    store = Store(config.store.open(), config.name)
    models = [store.artifact("Model") for _ in range(2)]
    resolver = "tfx.dsl.components.common.resolver.Resolver"
    store.node("Trainer", "first", {}, {"model": models[0]}, source="0123", training="{}")
    store.node("Trainer", "second", {}, {"model": models[1]})
    store.node("Resolver", "second", {}, {"model": models[0]}, kind=resolver)
    second, first = lineage.runs(store.store, config.name)
    assert (first.name, second.name) == ("first", "second")
    read = {node.id: node for node in lineage.nodes(store.store, config.name, second)}
    assert {node_id: node.state for node_id, node in read.items()} == {
        "Trainer": "complete", "Resolver": "complete",
    }  # fmt: skip
    assert read["Resolver"].is_resolver
    shown = status.latest(config).nodes
    assert [(node.id, node.result) for node in shown][1] == ("Resolver", "has a baseline")
    words = nodes.read_outputs(Status("", "", ""), "Resolver", read["Resolver"].made)
    assert words == "has a baseline"
    assert lineage.RunNotes.read(second) == (None, None, None)


def test_what_a_run_says_of_itself() -> None:
    notes = lineage.RunNotes({"name": "digits"}, environment.describe(), {"Trainer": "0123"})
    run = metadata_store_pb2.Context()
    notes.write(run)
    assert sorted(run.custom_properties) == [  # earlier versions read these
        "darkroom_config", "darkroom_environment", "darkroom_sources",
    ]  # fmt: skip
    assert lineage.RunNotes.read(run) == notes
