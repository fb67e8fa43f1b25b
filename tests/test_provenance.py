import io
import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from darkroom.components.base.errors import DarkroomError
from darkroom.pipeline.config import Config, load
from darkroom.pipeline.history import provenance
from tests.conftest import Project, darkroom
from tests.stores import Store


def test_a_pushed_version_is_traced_to_its_data(small: Project, small_config: Config) -> None:
    status = small.status()
    found = provenance.trace(small_config)
    assert found["version"] == status["pushed_version"]
    assert found["run"] == status["run"]
    assert found["data"]["images"] == {"train": 1437, "eval": 180}
    assert found["data"]["read_from"] == str(small_config.data_path)
    assert sorted(found["data"]["fingerprints"]) == ["eval", "train"]
    assert sorted(found["hyperparameters"]) == ["training.batch_size", "training.learning_rate"]
    assert found["config"]["training"]["epochs"] == 4
    assert found["environment"]["versions"]["tfx"]
    nodes = {node["node"]: node for node in found["nodes"]}
    assert next(iter(nodes)) == "Pusher"
    assert list(nodes)[-1] == "ImportExampleGen"
    assert "ExampleValidator" not in nodes  # it made nothing that the model is made of
    assert nodes["Trainer"]["settings"]["custom_config"]["training"]["epochs"] == 4
    assert nodes["ImportExampleGen"]["settings"]["custom_config"]["form"] == "encoded"
    for node in ("ImportExampleGen", "Transform", "Tuner", "Trainer", "Evaluator", "Pusher"):
        assert len(nodes[node]["source"]) == 16, node
    assert "source" not in nodes["Trainer"]["settings"]["custom_config"]
    assert [taken["key"] for taken in nodes["Transform"]["inputs"]] == ["examples", "schema"]


def test_a_version_by_number_and_folder_and_a_model_by_id(small_config: Config) -> None:
    newest = provenance.trace(small_config)
    assert provenance.trace(small_config, newest["version"]) == newest
    assert provenance.trace(small_config, str(small_config.push_path / newest["version"])) == newest
    by_id = provenance.trace(small_config, str(newest["model"]))
    assert by_id["version"] is None
    assert by_id["model"] == newest["model"]
    assert next(node["node"] for node in by_id["nodes"]) == "Trainer"


def test_an_unknown_model_is_said_with_those_there_are(small_config: Config) -> None:
    newest = provenance.trace(small_config)
    for named in ("3", "models/x"):
        with pytest.raises(DarkroomError, match=f"small has made no model {named}") as caught:
            provenance.trace(small_config, named)
        assert newest["version"] in str(caught.value)
        assert f"there are {newest['model']}" in str(caught.value)


def test_without_a_pushed_version(small_config: Config, tmp_path: Path) -> None:
    copied = small_config.model_copy(update={"root": str(tmp_path)})
    copied.home.mkdir()
    shutil.copy(small_config.store.path, copied.store.path)
    with pytest.raises(DarkroomError, match="No model that small has pushed"):
        provenance.trace(copied)


def test_the_command(small: Project, small_config: Config) -> None:
    found = provenance.trace(small_config)
    result = darkroom("lineage", "--json", *small.options, cwd=small.folder)
    assert json.loads(result.stdout) == found
    console = Console(width=300, file=io.StringIO())
    console.print(provenance.tree(found))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for words in (
        f"version {found['version']}",
        f"run  {found['run']}",
        "train  1,437 images",
        "training.batch_size  ",
        "epochs=4",
        f"of model {found['model']}  ",
        f"code {found['nodes'][0]['source']}",
    ):
        assert words in text


def test_a_second_version_is_not_made_of_the_baseline(tmp_path: Path) -> None:
    config = load("digits", [f"root={tmp_path}", "name=p"])
    store = Store(config.store.open(), config.name)
    models: list[int] = []
    for run in ("one", "two"):
        version = {"data_version": "0002-3f9a1c52"} if run == "two" else {}
        examples = store.artifact("Examples", span=len(models), **version)
        model = store.artifact("Model")
        blessing = store.artifact("ModelBlessing")
        place = config.push_path / str(len(models) + 1)
        place.mkdir(parents=True)
        (place / "saved_model.pb").write_text("")
        pushed = store.artifact(
            "PushedModel", pushed=1, pushed_version=place.name, pushed_destination=str(place)
        )
        store.node("ImportExampleGen", run, {}, {"examples": examples}, input_base=f"/data/{run}")
        store.node("Trainer", run, {"examples": examples}, {"model": model})
        taken = {"examples": examples, "model": model}
        baseline = {"baseline_model": models[-1]} if models else {}
        store.node("Evaluator", run, {**taken, **baseline}, {"blessing": blessing})
        store.node(
            "Pusher", run, {"model": model, "model_blessing": blessing}, {"pushed_model": pushed}
        )
        models.append(model)

    found = provenance.trace(config, "2")
    assert (found["run"], found["model"]) == ("two", models[1])
    assert (found["data"]["read_from"], found["data"]["span"]) == ("/data/two", 1)
    nodes = [(node["node"], node["run"]) for node in found["nodes"]]
    assert nodes == [
        (node, "two") for node in ("Pusher", "Evaluator", "Trainer", "ImportExampleGen")
    ]
    evaluator = found["nodes"][1]["inputs"]
    assert {"baseline_model": models[0]}.items() <= {i["key"]: i["id"] for i in evaluator}.items()
    assert found["data"]["version"] == "0002-3f9a1c52"
    console = Console(width=300, file=io.StringIO())
    console.print(provenance.tree(found))
    assert "── version 0002-3f9a1c52" in console.file.getvalue()  # type: ignore[attr-defined]
    first = provenance.trace(config, "1")["data"]
    assert (first["read_from"], first["version"]) == ("/data/one", None)
