"""The gate on real exports: good models pass, bad ones don't, and it says what is wrong."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apache_beam as beam
import keras
import numpy as np
import pytest
import tensorflow_transform as tft
from sklearn import metrics as sklearn
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import path_utils

from darkroom.components.base import examples as base_examples
from darkroom.components.base import features, sections
from darkroom.components.base.settings import EvaluatorSettings
from darkroom.components.evaluation import predictions, tfma_metrics
from darkroom.components.evaluation.artifacts import Evaluation, MetricRow
from darkroom.components.evaluation.candidate import Candidate
from darkroom.components.evaluation.evaluator import Executor
from darkroom.components.evaluation.faults import Trained
from darkroom.components.networks import export
from darkroom.components.training import dataset
from darkroom.components.training.transform_graph import TransformGraph
from darkroom.components.transform import vocabulary
from darkroom.pipeline.config import load
from darkroom.serving import description, signatures
from darkroom.serving.contract import Contract
from tests.conftest import Project

SKEWED = 0.98  # what Trainer is said to have measured of the network below


class Digits:
    """The examples and the transform graph of a finished run, and a network that learnt them."""

    def __init__(self, project: Project):
        artifacts = project.folder / "runs" / "small" / "artifacts"
        [examples] = (artifacts / "ImportExampleGen" / "examples").iterdir()
        [graph] = (artifacts / "Transform" / "transform_graph").iterdir()
        self.examples = standard_artifacts.Examples()
        self.examples.uri = str(examples)
        self.examples.split_names = artifact_utils.encode_split_names(["train", "eval"])
        self.transform = tft.TFTransformOutput(str(graph))
        self.classes = vocabulary.class_names(self.transform)
        self.images = base_examples.sample_images([str(examples / "Split-eval" / "*")], 4)
        train = dataset.preprocessed(
            [str(examples / "Split-train" / "*")], TransformGraph(self.transform), budget=2**30
        )
        self.pixels, self.labels = train.first(len(train)), train.labels

    def network(self, labels: np.ndarray | None = None, without: int | None = None) -> Any:
        """A dense network fitted to the train split, or to other labels, or without a class."""
        labels = self.labels if labels is None else labels
        kept = np.ones(len(labels), bool) if without is None else labels != without
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                keras.Input(self.pixels.shape[1:]),
                keras.layers.Flatten(),
                keras.layers.Dense(64, "relu"),
                keras.layers.Dense(len(self.classes), "softmax"),
            ]
        )
        model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
        model.fit(self.pixels[kept], labels[kept], epochs=12, verbose=0)
        return model


@pytest.fixture(scope="module")
def digits(small: Project) -> Digits:
    return Digits(small)


@pytest.fixture(scope="module")
def fitted(digits: Digits) -> Any:
    return digits.network()


def section(**changes: Any) -> sections.Evaluation:
    values = {"split": "eval", "min_accuracy": 0.9, **changes}
    return load("digits", [f"evaluation={json.dumps(values)}"]).evaluation


@pytest.fixture(scope="module")
def exported(digits: Digits, fitted: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of the fitted network's export, which many tests judge."""
    folder = str(tmp_path_factory.mktemp("exported") / "model")
    model = export.ServingModel(fitted, digits.transform, digits.classes, "softmax")
    export.save(model, folder, digits.images)
    return folder


@pytest.fixture
def judge(digits: Digits, fitted: Any, exported: str, tmp_path: Path) -> "Judge":
    """Exports networks, the candidate and perhaps a baseline, and has them judged."""

    def judged(
        *networks: Any,
        change: Callable[[export.ServingModel], None] | None = None,
        classes: list[list[str]] | None = None,
        trained: float | None = None,
        **settings: Any,
    ) -> Evaluation:
        folders = []
        for number, network in enumerate(networks):
            names = digits.classes if classes is None else classes[number]
            if network is fitted and change is None and names == digits.classes:
                folders.append(exported)
                continue
            model = export.ServingModel(network, digits.transform, names, "softmax")
            if change is not None:
                change(model)
            folders.append(str(tmp_path / f"model{number}"))
            export.save(model, folders[-1], digits.images)
        candidate = Candidate(
            folders[0], folders[1:], digits.examples, section(**settings), str(tmp_path / "out")
        )
        with beam.Pipeline() as pipeline:
            candidate.evaluate(pipeline)
        measured = candidate.measurements
        assert measured is not None
        known = None if trained is None else Trained(trained, measured, are_all=True)
        return candidate.judge(known)

    return judged


Judge = Callable[..., Evaluation]


def assert_read_as_written(evaluation: Evaluation, folder: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    evaluation.write(str(folder))
    json.loads((folder / Evaluation.FILE).read_text(), parse_constant=refuse)
    assert Evaluation.read(SimpleNamespace(uri=str(folder))) == evaluation


def rows_of(evaluation: Evaluation, metric: str) -> dict[str | None, MetricRow]:
    """By class, of all examples."""
    rows = [row for row in evaluation.metrics if row.metric == metric and not row.slice]
    return {row.class_name: row for row in rows}


def test_a_good_model_is_blessed_with_metrics_that_are_scikit_learns(
    judge: Judge, fitted: Any, tmp_path: Path
) -> None:
    found = judge(fitted, slices={features.BRIGHTNESS_KEY: [0.3, 0.32]})
    assert found.blessed, found.reasons
    read = predictions.read(str(tmp_path / "out" / "predictions.parquet"), False)
    assert read is not None
    assert len(read.labels) == found.examples == 180
    names = np.array(read.classes)
    predicted = names[read.outcome.scores.argmax(axis=1)]
    report = sklearn.classification_report(read.labels, predicted, output_dict=True)
    assert rows_of(found, "accuracy")[None].value == pytest.approx(report["accuracy"], abs=1e-6)
    for name in read.classes:
        for metric, key in (("precision",) * 2, ("recall",) * 2, ("f1", "f1-score")):
            assert rows_of(found, metric)[name].value == pytest.approx(report[name][key], abs=1e-6)
        assert rows_of(found, "recall")[name].examples == report[name]["support"]
    matrix = sklearn.confusion_matrix(read.labels, predicted, labels=names)
    assert found.confusion == matrix.tolist()
    in_slices = [r for r in found.metrics if r.slice and r.metric == "accuracy"]
    assert [row.slice[features.BRIGHTNESS_KEY] for row in in_slices] == [
        "0.3 to 0.32",
        "0.32 or more",
        "below 0.3",
    ]
    assert sum(row.examples for row in in_slices) == 180
    assert {m.label for m in found.mistakes} <= set(read.classes)
    assert all(m.label != m.predicted for m in found.mistakes)
    assert found.latency.p50_ms > 0
    assert found.size_mib > 0.01


def test_random_weights_are_no_better_than_chance(judge: Judge, fitted: Any) -> None:
    keras.utils.set_random_seed(0)
    untrained = keras.models.clone_model(fitted)
    found = judge(untrained)
    assert not found.blessed
    assert any("no better than chance" in reason for reason in found.reasons), found.reasons


def test_shuffled_labels_teach_nothing(judge: Judge, digits: Digits) -> None:
    shuffled = np.random.default_rng(0).permutation(digits.labels)
    found = judge(digits.network(shuffled))
    assert not found.blessed
    assert any("no better than chance" in reason for reason in found.reasons), found.reasons


def test_mixed_up_classes_are_recognised(judge: Judge, digits: Digits, fitted: Any) -> None:
    rotated = [*digits.classes[1:], digits.classes[0]]
    found = judge(fitted, classes=[rotated])
    assert not found.blessed
    assert any("the classes seem mixed up" in reason for reason in found.reasons)


def test_a_forgotten_class_is_named(judge: Judge, digits: Digits) -> None:
    found = judge(digits.network(without=digits.classes.index("7")), min_accuracy=0.8)
    assert not found.blessed
    [reason] = found.reasons
    assert reason.startswith("recall of '7' is 0, must be at least 0.1; ")
    assert "were taken for" in reason
    assert reason.endswith("the model never says so")


def test_changed_preprocessing_is_told_from_a_bad_model(judge: Judge, fitted: Any) -> None:
    def invert(model: export.ServingModel) -> None:
        original = model.preprocess
        model.preprocess = lambda raw: {
            key: -value if key == features.IMAGE else value for key, value in original(raw).items()
        }

    found = judge(fitted, change=invert, trained=SKEWED)
    assert not found.blessed
    [reason] = [reason for reason in found.reasons if "Trainer measured 0.98" in reason]
    assert "preprocessing or weights are not those of the training" in reason


def test_weights_that_are_no_numbers_are_refused(judge: Judge, fitted: Any, tmp_path: Path) -> None:
    broken = keras.models.clone_model(fitted)
    broken.set_weights([weights * np.nan for weights in fitted.get_weights()])
    found = judge(broken, min_accuracy=0.0, min_class_recall=0.0)
    assert not found.blessed
    assert found.reasons[0].startswith("the scores of 180 of 180 images are no numbers (NaN)")
    assert_read_as_written(found, tmp_path)


def test_a_worse_model_is_refused_only_where_that_is_no_noise(
    judge: Judge, digits: Digits, fitted: Any
) -> None:
    little = digits.network(without=digits.classes.index("1"))
    found = judge(little, fitted, min_accuracy=0.5, min_class_recall=0.0)
    assert not found.blessed
    assert "lower than the baseline's" in found.reasons[0]
    assert "with 95% confidence at least" in found.reasons[0]
    accuracy = rows_of(found, "accuracy")[None]
    assert accuracy.baseline > accuracy.value
    assert accuracy.low < accuracy.value < accuracy.high


def executed(
    folder: Path, examples: standard_artifacts.Examples, settings: EvaluatorSettings, *models: str
) -> Evaluation:
    """What the node says of a model, perhaps beside a baseline."""
    inputs = {"examples": [examples]}
    for name, exported in zip(("model", "baseline_model"), models, strict=False):
        artifact = standard_artifacts.Model()
        artifact.uri = str(folder / name)
        os.makedirs(artifact.uri)
        os.symlink(exported, path_utils.serving_model_dir(artifact.uri))
        inputs[name] = [artifact]
    evaluation = standard_artifacts.ModelEvaluation()
    blessing = standard_artifacts.ModelBlessing()
    evaluation.uri, blessing.uri = str(folder / "evaluation"), str(folder / "blessing")
    outputs = {"evaluation": [evaluation], "blessing": [blessing]}
    context = Executor.Context(tmp_dir=str(folder / "tmp"), unique_id="1")
    Executor(context).Do(inputs, outputs, {"custom_config": settings.model_dump_json()})
    [said] = (path.name for path in Path(blessing.uri).iterdir())
    made = Evaluation.read(evaluation)
    assert made is not None
    assert made.blessed == (said == "BLESSED")
    return made


def test_what_cant_be_compared_with_the_stable_version_is_not_blessed(
    digits: Digits, exported: str, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(exported, other)
    (other / Contract.FILE).write_text('{"classes": ["cat", "dog"]}')

    def judged(baseline: str) -> Evaluation:
        settings = EvaluatorSettings(
            evaluation=section(baseline=baseline), judges_chose=["start", "epoch", "trial"]
        )
        return executed(tmp_path / baseline, digits.examples, settings, exported, str(other))

    found = judged("stable")
    assert found.reasons == [
        "the stable version can't be compared with this model: they have fewer than two classes in "
        "common. Where it is to be replaced all the same, set evaluation.baseline: none"
    ]
    assert found.metrics  # what it is worth is said all the same
    found = judged("none")
    assert found.blessed
    assert found.remarks == [
        "the images of the eval split, which judge the model, also chose its start, epoch and "
        "trial: others may be answered worse. Those of a test split (data.splits.test) choose "
        "nothing",
        "compared with no other model, as evaluation.baseline is none",
    ]


@pytest.mark.parametrize(("measured", "blessed"), [(SKEWED, True), (0.7, False)])
def test_a_model_judged_on_a_test_split_is_still_held_to_what_trainer_measured(
    digits: Digits, exported: str, tmp_path: Path, measured: float, blessed: bool
) -> None:
    examples = standard_artifacts.Examples()
    examples.uri = str(tmp_path / "examples")
    shutil.copytree(digits.examples.uri, examples.uri)
    shutil.copytree(Path(examples.uri, "Split-train"), Path(examples.uri, "Split-test"))
    examples.split_names = artifact_utils.encode_split_names(["train", "eval", "test"])
    model = tmp_path / "exported"
    shutil.copytree(exported, model)
    facts = model / description.FACTS_PATH
    facts.parent.mkdir(exist_ok=True)
    facts.write_text(json.dumps({"metrics": {"val_accuracy": measured}}))
    settings = EvaluatorSettings(evaluation=section(split="test"))
    found = executed(tmp_path / "node", examples, settings, str(model))
    assert (found.split, found.blessed) == ("test", blessed), found.reasons
    if not blessed:
        [reason] = found.reasons
        assert reason.startswith("the exported model's accuracy on the eval split is 0.9")


def test_a_baseline_of_other_classes_is_compared_on_the_common_ones(
    judge: Judge, digits: Digits, fitted: Any
) -> None:
    # To the baseline what is called 8 here was another thing.
    theirs = ["eight" if name == "8" else name for name in digits.classes]
    found = judge(fitted, fitted, classes=[digits.classes, theirs])
    assert found.blessed, found.reasons
    assert found.baseline.other_classes == ["8", "eight"]
    [remark] = found.remarks
    assert remark == (
        "the baseline has other classes (it doesn't know '8'; it knows 'eight' as well): compared "
        "on the 162 images of the 9 classes that both know"
    )


def test_tfmas_metrics_are_gated_too(judge: Judge, fitted: Any) -> None:
    metrics = {"balanced": {"class_name": "BalancedAccuracy", "per_class": True}}
    thresholds = [{"metric": "balanced", "class_name": "7", "min": 0.9999}]
    found = judge(fitted, metrics=metrics, thresholds=thresholds)
    row, recall = rows_of(found, "balanced")["7"], rows_of(found, "recall")["7"]
    assert row.value >= recall.value / 2
    check = next(c for c in found.thresholds if c.metric == "balanced")
    assert check.passed is (row.value >= 0.9999)


TOP_2 = {"top_2": {"class_name": "SparseTopKCategoricalAccuracy", "config": {"k": 2}}}


@pytest.mark.slow
def test_tfmas_metrics_are_compared_with_the_baselines_and_measured_in_slices_of_several_features(
    judge: Judge, fitted: Any, tmp_path: Path
) -> None:
    part = {features.BRIGHTNESS_KEY: "0.3 or more", features.FORMAT_KEY: "PNG"}
    found = judge(
        fitted,
        fitted,
        metrics=TOP_2,
        slices={features.BRIGHTNESS_KEY: [0.3], features.FORMAT_KEY: []},
        thresholds=[
            {"metric": "top_2", "max_drop": 0.01},
            {"metric": "top_2", "slice": part, "min": 0.5},
        ],
    )
    assert found.blessed, found.reasons
    check, in_slice = (c for c in found.thresholds if c.metric == "top_2")
    assert check.difference == 0
    assert check.difference_low <= 0 <= check.difference_high
    assert check.baseline == check.value > 0.9
    assert check.low < check.value < check.high
    assert in_slice.passed is True
    assert 0.5 < in_slice.value <= 1
    assert 0 < in_slice.examples < 180
    assert_read_as_written(found, tmp_path)


def test_without_predictions_nothing_is_blessed(
    digits: Digits, exported: str, tmp_path: Path
) -> None:
    out = str(tmp_path / "out")
    found = Candidate(exported, [], digits.examples, section(), out).judge(trained=None)
    assert found.reasons == ["the eval split gave no predictions"]
    assert (found.metrics, found.mistakes, found.latency) == ([], [], None)


def test_the_signatures_that_tfma_asks_for_are_the_exports(digits: Digits) -> None:
    config = tfma_metrics.eval_config(section(), False, ["a", "b"])
    [model] = config.model_specs
    assert model.signature_name == signatures.EXAMPLES
    assert list(model.preprocessing_function_names) == [signatures.TRANSFORM]
