"""The facts of a report, and the files that the Report node makes of them."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from darkroom.components.base import features, results, tfrecord
from darkroom.components.base.settings import ReportSettings
from darkroom.components.evaluation.artifacts import Evaluation
from darkroom.components.ingestion.findings import Fault, Findings
from darkroom.components.pushing.artifacts import ServingValidation
from darkroom.components.report import collector, component, files
from darkroom.components.runs import lineage
from darkroom.components.runs.metadata import Store
from darkroom.pipeline.config import load
from darkroom.pipeline.history import status
from tests.conftest import Project
from tests.report_facts import SECTIONS


def report(small: Project) -> Path:
    return Path(small.status()["report"]).parent


@pytest.fixture
def found(small: Project) -> dict[str, Any]:
    """What the run's report says."""
    read: dict[str, Any] = json.loads((report(small) / results.REPORT_FACTS).read_text())
    return read


def test_a_report_is_files(small: Project) -> None:
    there = {path.name for path in report(small).iterdir()}
    assert there == {"report.html", "report.md", "report.json", "pictures"}


def test_the_run_and_its_verdict(small: Project, found: dict[str, Any]) -> None:
    status = small.status()
    assert (found["pipeline"], found["run"]) == ("small", status["run"])
    assert found["failure"] is None
    assert found["config"]["training"]["epochs"] == 4
    assert "runner" not in found["config"]  # or a run by another runner would need another report
    assert found["verdict"]["blessed"] is True
    assert found["verdict"]["reasons"] == []
    assert found["verdict"]["pushed_version"] == status["pushed_version"]


def test_the_data(small: Project, found: dict[str, Any]) -> None:
    data = found["data"]
    assert data["version"] is None  # darkroom ingest made none of them
    assert data["splits"]["train"]["images"] == 1437
    assert data["splits"]["train"]["classes"]["3"] == 146
    assert data["inspection"]["splits"]["eval"]["images"] == 180
    assert data["anomalies"] == []
    by_name = {feature["name"]: feature["splits"] for feature in data["features"]}
    assert features.LABEL_KEY not in by_name
    assert by_name[features.FORMAT_KEY]["train"] == {"values": {"PNG": 1437}}
    brightness = by_name[features.BRIGHTNESS_KEY]["train"]
    assert 0 < brightness["min"] < brightness["mean"] < brightness["max"] < 1
    assert sum(count for _, _, count in brightness["histogram"]) == pytest.approx(1437)
    labels = [example["label"] for example in data["examples"]]
    assert labels == sorted([*"0123456789"] * 2)


def test_what_a_review_of_the_same_images_found(tmp_path: Path) -> None:
    folder = tmp_path / "my records"
    folder.mkdir()
    faults = [Fault(f"{n}.png", "train", "a", "suspect label", 0.1) for n in range(2)]
    found = Findings(data="0001-a", images=9, labels_judged=True, notes=["A."], faults=faults)
    found.write(folder)

    def shown(**properties: str) -> Any:
        values = {k: SimpleNamespace(string_value=v) for k, v in properties.items()}
        return collector._review(SimpleNamespace(custom_properties=values))

    assert shown(data_folder=str(folder), data_identity="0001-a") == {
        "images": 9,
        "faults": {"suspect label": 2},
        "notes": ["A."],
        "command": f"darkroom review '{folder}'",
    }
    assert shown(data_folder=str(folder), data_identity="0002-b") is None
    assert shown() is None  # of an earlier darkroom


def test_every_picture_is_there(small: Project, found: dict[str, Any]) -> None:
    folder = report(small)
    shown = [example["picture"] for example in found["data"]["examples"]]
    for pair in found["preprocessing"]["pictures"]:
        shown += [pair["before"], pair["after"]]
    assert len(shown) == 20 + 12
    for relative in shown:
        assert Image.open(folder / relative).size == (64, 64), relative
    assert found["training"]["augmentation"] is None  # images aren't changed
    others = [found["search"]["picture"]]
    answers = [*found["evaluation"]["mistakes"], *found["evaluation"]["uncertain"]]
    others += [answer["picture"] for answer in answers]
    others += [answer["heat_map"] for answer in found["evaluation"]["mistakes"]]
    assert all((folder / relative).exists() for relative in others)
    assert len(list((folder / results.PICTURES_FOLDER).iterdir())) == len(shown + others)


def test_search_training_and_model(found: dict[str, Any]) -> None:
    search = found["search"]
    assert search["objective"] == "val_accuracy"
    assert len(search["rows"]) == 2
    assert "history" not in search["rows"][0]
    assert sorted(search["best"]) == ["training.batch_size", "training.learning_rate"]
    training = found["training"]
    assert len(training["history"]["val_accuracy"]) == 4
    assert training["exported_epoch"] in range(4)
    model = found["model"]
    assert model["architecture"] == "cnn"
    assert 0 < model["trainable"] < model["parameters"]  # batch normalisation's means are not
    assert model["size_mib"] > 0
    names = [signature["name"] for signature in model["signatures"]]
    assert "serving_default" in names
    tensor = model["signatures"][names.index("serving_default")]["inputs"][0]
    assert tensor == {"name": "image_bytes", "type": "string", "shape": [None]}


def infra_blessing(**found: Any) -> Any:
    value = SimpleNamespace(string_value=json.dumps(found))
    return SimpleNamespace(custom_properties={ServingValidation.PROPERTY: value})


@pytest.mark.parametrize("reasons", [[], ["p99 over grpc is 9.0 ms"]])
def test_what_a_server_made_of_the_model(
    small: Project, tmp_path: Path, reasons: list[str]
) -> None:
    artifacts = artifacts_of(small) | {"infra_blessing": infra_blessing(reasons=reasons)}
    del artifacts["pushed_model"]
    config = load("digits").model_dump()
    found = collector.collect(tmp_path, "run", config, artifacts, [])
    assert found["serving"] == {"reasons": reasons}
    assert found["verdict"]["blessed"] is True
    assert found["verdict"]["servable"] is (not reasons)
    assert found["verdict"]["reasons"] == reasons


def test_lineage_and_environment(found: dict[str, Any]) -> None:
    nodes = {node["node"]: node for node in found["lineage"]}
    assert next(iter(nodes)) == "ImportExampleGen"
    assert "Pusher" in nodes
    assert "Report" not in nodes  # which was not done by then
    assert nodes["Trainer"]["result"].startswith("val_accuracy 0.")
    assert nodes["Trainer"]["seconds"] > 0
    taken = {artifact["key"]: artifact for artifact in nodes["Trainer"]["inputs"]}
    assert taken["examples"]["type"] == "Examples"
    assert found["environment"]["versions"]["tfx"]


def artifacts_of(small: Project) -> dict[str, Any]:
    store = status.open_store(load(small.folder / "config.yaml", [f"root={small.folder / 'runs'}"]))
    [run] = lineage.runs(store, "small")
    found: dict[str, Any] = {}
    for node in lineage.nodes(store, "small", run):
        found |= {} if node.is_resolver else node.made
    return found


def test_mistakes_are_shown_with_their_pictures(small: Project, tmp_path: Path) -> None:
    """Of an evaluation that names images by the hash of their pixels."""
    made = artifacts_of(small)
    [file] = (Path(made["examples"].uri) / "Split-eval").iterdir()
    examples = [tfrecord.decode_example(record) for record in tfrecord.read(file)]
    hashes = [example[features.CONTENT_KEY][1][0] for example in examples]
    evaluation = {
        "split": "eval",
        "mistakes": [{"content_hash": hashes[170]}, {"content_hash": 1}],
        "uncertain": [{"content_hash": hashes[3]}],
    }
    (tmp_path / Evaluation.FILE).write_text(json.dumps(evaluation))
    artifacts = {
        "examples": made["examples"],
        "evaluation": SimpleNamespace(uri=str(tmp_path)),
    }
    config = load("digits").model_dump()
    found = collector.collect(tmp_path / "report", "run", config, artifacts, [])["evaluation"]
    assert [entry.picture for entry in found.mistakes] == ["pictures/mistake-0.png", None]
    shown = np.asarray(Image.open(tmp_path / "report" / found.mistakes[0].picture))
    small_one = np.asarray(Image.fromarray(shown).resize((8, 8), Image.Resampling.NEAREST))
    (tmp_path / "original.png").write_bytes(examples[170][features.IMAGE_KEY][1][0])
    assert (small_one == np.asarray(Image.open(tmp_path / "original.png"))).all()
    assert found.uncertain[0].picture == "pictures/uncertain-0.png"


def test_an_evaluation_without_predictions_is_told(tmp_path: Path) -> None:
    evaluation = {"split": "eval", "examples": 0, "mistakes": [], "uncertain": [], "metrics": []}
    (tmp_path / Evaluation.FILE).write_text(json.dumps(evaluation))
    here = SimpleNamespace(uri=str(tmp_path))  # nor need the split have any files
    artifacts = {"examples": here, "evaluation": here}
    config = load("digits").model_dump()
    found = collector.collect(tmp_path / "report", "run", config, artifacts, [])
    assert found["evaluation"].as_json() == evaluation


def test_a_run_that_did_nothing_has_facts_too(tmp_path: Path) -> None:
    failure = {"node": "ImportExampleGen", "sentence": "No files."}
    config = load("digits", ["report.limits=rotated ones"]).model_dump()
    found = collector.collect(tmp_path, "run", config, {}, [], failure)
    for section in SECTIONS:
        assert found[section] is None
    assert found["verdict"] == {
        "blessed": None, "servable": None, "reasons": [], "remarks": [], "pushed_version": None
    }  # fmt: skip
    assert found["failure"] == failure
    assert found["limits"] == "rotated ones"
    assert found["lineage"] == []


def test_what_is_no_number_in_json_is_null(tmp_path: Path, found: dict[str, Any]) -> None:
    found["search"]["rows"][0]["score"] = float("nan")
    (tmp_path / "pictures").mkdir()
    for relative in _pictures(found):
        (tmp_path / relative).write_bytes(b"")
    files.write(found | {"evaluation": None}, tmp_path)
    text = (tmp_path / results.REPORT_FACTS).read_text()
    assert json.loads(text)["search"]["rows"][0]["score"] is None
    assert "NaN" not in text


def _pictures(tree: Any) -> list[str]:
    if isinstance(tree, dict):
        return [path for value in tree.values() for path in _pictures(value)]
    if isinstance(tree, list):
        return [path for value in tree for path in _pictures(value)]
    return [tree] if isinstance(tree, str) and tree.startswith("pictures/") else []


def test_without_a_store_there_is_no_lineage() -> None:
    for store in (None, Store(backend="sqlite", path="nowhere").model_dump_json()):
        settings = ReportSettings(config={"name": "p"}, store=store)
        assert component.nodes_before(settings, "run") == []
