"""A number is learnt instead of a class: the angle of turned digits, from a manifest to answers."""

import base64
import csv
import json
import shutil
from pathlib import Path

import grpc
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from sklearn import metrics as sklearn
from sklearn.datasets import load_digits
from tensorflow_serving.apis.classification_pb2 import ClassificationRequest
from tensorflow_serving.apis.regression_pb2 import RegressionRequest

from darkroom.components.base import features, tfrecord
from darkroom.components.evaluation import predictions
from darkroom.components.evaluation.metrics import Numbers
from darkroom.serving import signatures
from darkroom.serving.client import GrpcClient, RestClient
from darkroom.serving.predictor import Predictor, Regression
from tests import model_servers
from tests.conftest import Project, darkroom

CONFIG = """
name: turned
data:
  path: records
  target: number
  target_keys: [{keys}]
  keep_features: [digit]
  splits: {{test: test/*}}
preprocessing: {{height: 8, width: 8, channels: 1}}
model: {{filters: [32, 64], units: [64], dropout: 0.1}}
training: {{recipe: none, epochs: 12, batch_size: 32, learning_rate: 3e-3, loss: Huber}}
evaluation: {{max_mae: 30, min_r2: 0.3, slices: {{image/target/angle: [0]}}}}
serving: {{validation: {{requests: 5}}}}
"""
TURNED = 900


def write(folder: Path) -> None:
    """Images of scikit-learn's digits, each turned by an angle, and a manifest of their angles."""
    digits, generator = load_digits(), np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    rows = []
    for number, image in enumerate(digits.images[:TURNED]):
        angle = float(generator.uniform(-60, 60))
        pixels = ndimage.rotate(image * 255 / 16, angle, reshape=False, order=1)
        path = f"images/{number:04}.png"
        Image.fromarray(np.clip(pixels, 0, 255).astype("uint8")).save(folder / path)
        ink = float(image.sum())
        rows.append([path, f"{angle:.3f}", f"{ink:.0f}", str(digits.target[number])])
    with open(folder / "angles.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["path", "angle", "ink", "digit"], *rows])


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("turned")
    write(folder)
    return folder


def project(images: Path, folder: Path, *numbers: str) -> Project:
    """Whose records have been ingested, of these numbers."""
    options = [word for name in numbers for word in ("--number", name)]
    result = darkroom("ingest", str(images / "angles.csv"), "records", *options, cwd=folder)
    assert result.returncode == 0, result.stdout
    assert f"data.target_keys=[{', '.join(numbers)}]" in result.stdout
    (folder / "config.yaml").write_text(CONFIG.format(keys=", ".join(numbers)))
    return Project(folder)


def values(folder: Path, split: str) -> list[dict[str, tfrecord.Feature]]:
    files = sorted((folder / "records" / split).glob("*.tfrecord"))
    return [tfrecord.decode_example(record) for file in files for record in tfrecord.read(file)]


def test_a_column_becomes_a_number_in_every_split_alike(images: Path, tmp_path: Path) -> None:
    project(images, tmp_path, "angle")
    with open(images / "angles.csv", encoding="utf-8") as file:
        listed = {row["path"]: float(row["angle"]) for row in csv.DictReader(file)}
    read: dict[str, list[float]] = {}
    for split in ("train", "eval", "test"):
        for example in values(tmp_path, split):
            assert example["angle"].kind == "float"
            assert features.LABEL_KEY not in example
            assert example["digit"].values[0].isdigit()
            [angle], name = example["angle"].values, example[features.FILENAME_KEY].values[0]
            assert angle == pytest.approx(listed[name.decode()], rel=1e-6)
            read.setdefault(split, []).append(angle)
    tenths = np.quantile(list(listed.values()), np.linspace(0, 1, 11)[1:-1])
    for of_split in (read["eval"], read["test"]):
        counts = np.bincount(np.digitize(of_split, tenths), minlength=10)
        assert max(counts) - min(counts) <= 2  # near the ends of tenths one may be a neighbour's
    # One that a person has corrected is written anew, with its other number and the rest.
    first = next(iter(listed))
    (tmp_path / "own.csv").write_text(f"path,action,label\n{first},relabel,12.5\n")
    options = ("--number", "angle", "--corrections", "own.csv")
    again = darkroom("ingest", str(images / "angles.csv"), "records", *options, cwd=tmp_path)
    assert again.returncode == 0, again.stdout
    every = [e for split in ("train", "eval", "test") for e in values(tmp_path, split)]
    [mended] = [e for e in every if e[features.FILENAME_KEY].values[0] == first.encode()]
    assert list(mended["angle"].values) == [12.5]
    assert len(every) == len(listed)
    (tmp_path / "own.csv").write_text(f"path,action,label\n{first},relabel,seven\n")
    refused = darkroom("ingest", str(images / "angles.csv"), "records", *options, cwd=tmp_path)
    assert "is relabelled 'seven', expected 1 finite number." in refused.stdout


def evaluated(folder: Path) -> dict:
    [path] = folder.glob("runs/turned/artifacts/Evaluator/evaluation/*/evaluation.json")
    return dict(json.loads(path.read_text()))


@pytest.mark.slow
def test_a_number_from_the_manifest_to_every_server(images: Path, tmp_path: Path) -> None:
    run = project(images, tmp_path, "angle")
    result = run.run()
    assert result.returncode == 0, result.stdout
    status = run.status()
    assert status["blessed"], status["reasons"]
    assert status["metrics"]["mae"] < 30
    evaluation = evaluated(tmp_path)
    [folder] = (tmp_path / "runs/turned/pushed/turned").glob("[0-9]*")

    # The gate's numbers are scikit-learn's, of what the pushed model says of the test split.
    test = values(tmp_path, "test")
    truth = np.array([example["angle"].values[0] for example in test])
    encoded = [example[features.IMAGE_KEY].values[0] for example in test]
    local = Predictor(folder).predict_all(encoded)
    said = np.array([one.scores[0] for one in local])
    expected = {
        "mae": sklearn.mean_absolute_error(truth, said),
        "rmse": sklearn.root_mean_squared_error(truth, said),
        "r2": sklearn.r2_score(truth, said),
        "coverage": np.mean([low <= t <= high for t, one in zip(truth, local, strict=True)
                             for low, high in one.intervals]),
    }  # fmt: skip
    rows = {row["metric"]: row for row in evaluation["metrics"] if not row["slice"]}
    for name, value in expected.items():
        assert rows[name]["value"] == pytest.approx(value, rel=1e-4)
        assert rows[name]["low"] < rows[name]["value"] < rows[name]["high"]
    assert {json.dumps(row["slice"]) for row in evaluation["metrics"] if row["slice"]} == {
        '{"image/target/angle": "0 or more"}', '{"image/target/angle": "below 0"}'
    }  # fmt: skip
    worst = np.argsort(-np.abs(said - truth))[0]
    assert evaluation["mistakes"][0]["label"] == f"{truth[worst]:.4g}"
    report = next((tmp_path / "runs/turned/artifacts/Report/report").glob("*/report.html"))
    for words in ("Furthest off", "Residuals of angle", "MAE", "R²"):
        assert words in report.read_text(encoding="utf-8")

    # From the command line, and from a server.
    picture = str(images / "images" / "0003.png")
    told = darkroom("predict", "--config", "config.yaml", picture, "--json", cwd=tmp_path)
    [answer] = json.loads(told.stdout)
    [own] = Predictor(folder).predict_all([Path(picture).read_bytes()])
    assert isinstance(own, Regression)
    assert answer["numbers"]["angle"]["value"] == pytest.approx(own.scores[0])
    in_words = darkroom("predict", "--config", "config.yaml", picture, cwd=tmp_path).stdout
    [(low, high)] = own.intervals
    assert f"angle {own.scores[0]:.6g} ({low:.6g} to {high:.6g})" in in_words
    base = folder.parent
    with model_servers.running(
        tmp_path, "--model_name=turned", f"--model_base_path={base}"
    ) as server:
        rest = RestClient(f"http://localhost:{server.rest_port}", "turned")
        wire = GrpcClient(f"localhost:{server.grpc_port}", "turned")
        for client in (rest, wire):
            with client:
                for here, there in zip(local[:5], client.predict(encoded[:5]), strict=True):
                    assert isinstance(there, Regression)
                    assert there.classes == ("angle",)
                    np.testing.assert_allclose(there.scores, here.scores, rtol=1e-3, atol=1e-2)
                    np.testing.assert_allclose(
                        there.intervals, here.intervals, rtol=1e-3, atol=1e-2
                    )
        asked = RegressionRequest()
        asked.model_spec.name, asked.model_spec.signature_name = "turned", signatures.REGRESS
        example = asked.input.example_list.examples.add()
        example.features.feature[features.IMAGE_KEY].bytes_list.value.append(encoded[0])
        [found] = server.stub.Regress(asked).result.regressions
        assert found.value == pytest.approx(said[0], rel=1e-3, abs=1e-2)
        instance = {features.IMAGE_KEY: {"b64": base64.b64encode(encoded[0]).decode()}}
        document = {"signature_name": signatures.REGRESS, "examples": [instance]}
        reply = server.ask("/v1/models/turned:regress", document)
        assert reply.json["results"] == [pytest.approx(said[0], rel=1e-3, abs=1e-2)]
        classify = ClassificationRequest(model_spec=asked.model_spec, input=asked.input)
        classify.model_spec.signature_name = signatures.EXAMPLES
        with pytest.raises(grpc.RpcError, match="a regression, which has numbers, no classes"):
            server.stub.Classify(classify)
        asked.model_spec.signature_name = signatures.EXAMPLES
        with pytest.raises(grpc.RpcError, match="set signature_name to regress_examples"):
            server.stub.Regress(asked)

    # The next one is compared with it: a network that learnt nothing isn't pushed.
    worse = run.run("training.epochs=1", "training.learning_rate=1e-9", "evaluation.min_r2=null")
    status = run.status()
    assert worse.returncode == 0
    assert any("r2 is " in reason and "lower than" in reason for reason in status["reasons"])
    shutil.rmtree(tmp_path / "runs")


@pytest.mark.slow
def test_several_numbers_are_searched_for_and_each_is_judged(images: Path, tmp_path: Path) -> None:
    run = project(images, tmp_path, "ink", "angle")
    space = "{training.learning_rate: {min: 1e-3, max: 1e-2}}"
    tuner = f"tuner={{enabled: true, max_trials: 2, epochs: 2, objective: val_mae, space: {space}}}"
    result = run.run(tuner, "evaluation.max_mae=100", "evaluation.min_r2=null")
    assert result.returncode == 0, result.stdout
    assert run.status()["blessed"], run.status()["reasons"]
    evaluation = evaluated(tmp_path)
    assert evaluation["classes"] == ["angle", "ink"]  # by name
    mae = {
        row["class"]: row["value"]
        for row in evaluation["metrics"]
        if row["metric"] == "mae" and not row["slice"]
    }
    assert mae[None] == pytest.approx((mae["angle"] + mae["ink"]) / 2)
    [path] = (tmp_path / "runs/turned/artifacts/Evaluator/evaluation").glob("*/predictions.parquet")
    found = predictions.read(str(path), multi_label=False)
    assert found is not None
    assert isinstance(found.outcome, Numbers)
    assert found.outcome.truth[:, 1].max() > 200  # ink, of 64 pixels of up to 16
    [folder] = (tmp_path / "runs/turned/pushed/turned").glob("[0-9]*")
    [answer] = Predictor(folder).predict_all([(images / "images" / "0003.png").read_bytes()])
    assert answer.classes == ("angle", "ink")
