from pathlib import Path

import numpy as np
import pytest

from darkroom.components.base.errors import DarkroomError
from darkroom.components.base.sections import Evaluation
from darkroom.components.base.settings import CrossValidationSettings
from darkroom.components.evaluation import cross_validation, faults
from darkroom.components.evaluation.artifacts import CrossValidation, MetricRow
from darkroom.components.training import stages
from tests.arrays import of_arrays
from tests.settings import configured
from tests.test_checkpoint import Killed

SMALL = [
    *("preprocessing.height=8", "preprocessing.width=8", "preprocessing.channels=1"),
    *("training.batch_size=15", "training.learning_rate=0.02", "evaluation.folds=2"),
]


def settings_of(*overrides: str) -> CrossValidationSettings:
    return configured(CrossValidationSettings, *SMALL, *overrides, config="cifar10")


def validated(
    folder: Path, images: np.ndarray, labels: np.ndarray, *overrides: str, names: int = 3
) -> CrossValidation:
    settings = settings_of(*overrides)
    job = stages.TrainingJob(
        settings=settings.of_training,
        classes=[f"class {number}" for number in range(names)],
        run_folder="",
        checkpoint_folder=str(folder),
        node="CrossValidation",
    )
    examples = of_arrays(images.astype("float32"), labels)
    return cross_validation.cross_validated(job, (examples, examples), settings)


def patterns(count: int) -> tuple[np.ndarray, np.ndarray]:
    generator, labels = np.random.default_rng(0), np.arange(count) % 3
    return generator.normal(size=(count, 8, 8, 1)) + 2 * np.eye(8)[labels][:, :, None, None], labels


def test_what_can_be_learnt_is_recognised_in_every_fold(tmp_path: Path) -> None:
    network = ("model.filters=[8]", "model.units=[]", "training.epochs=5")
    found = validated(tmp_path / "kept", *patterns(90), *network)
    assert found.examples == 90
    assert len(found.folds) == 2
    # All answers together are right as often as those of the folds, which have 45 each.
    assert found.accuracy.value == pytest.approx(np.mean(found.folds))
    assert found.accuracy.value > 0.9
    assert found.accuracy.low is not None
    assert found.accuracy.low <= found.accuracy.value
    recalls = [row for row in found.metrics if row.metric == "recall"]
    assert [(row.class_name, row.examples) for row in recalls] == [
        (f"class {number}", 30) for number in range(3)
    ]
    assert np.mean([row.value for row in recalls]) == pytest.approx(found.accuracy.value)
    assert list(tmp_path.rglob("*.npz")) == []  # nothing is left to go on with


@pytest.mark.slow
def test_no_model_has_seen_what_it_answers_for(tmp_path: Path) -> None:
    """Of noise with labels by lot a network learns its images by heart, and the others not."""
    generator = np.random.default_rng(0)
    images, labels = generator.normal(size=(120, 8, 8, 1)), generator.permutation(120) % 3
    network = ("model.name=dense", "model.units=[256]", "training.epochs=10")
    found = validated(tmp_path, images, labels, *network)
    assert found.accuracy.value is not None
    assert found.accuracy.value < 0.6
    seen = settings_of(*network).of_training
    job = stages.TrainingJob(
        settings=seen,
        classes=["a", "b", "c"],
        run_folder=str(tmp_path),
        checkpoint_folder=str(tmp_path),
    )
    examples = of_arrays(images.astype("float32"), labels)
    assert stages.Training(job, (examples, examples)).run().history["val_accuracy"][-1] > 0.95


def test_it_goes_on_where_it_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = ("model.filters=[4]", "model.units=[]", "training.epochs=2")
    whole = validated(tmp_path / "whole", *patterns(60), *network)
    answer, epochs = cross_validation._scores, []

    def killed_in_the_second(*arguments: object) -> np.ndarray:
        if len(epochs) == 1:
            raise Killed
        epochs.append(1)
        return answer(*arguments)  # type: ignore[arg-type]  # handed on as they came

    with monkeypatch.context() as patched:
        patched.setattr(cross_validation, "_scores", killed_in_the_second)
        with pytest.raises(Killed):
            validated(tmp_path / "killed", *patterns(60), *network)
    assert len(list((tmp_path / "killed").glob("*.npz"))) == 2
    again = validated(tmp_path / "killed", *patterns(60), *network)
    assert again.folds == whole.folds


def test_multi_label(tmp_path: Path) -> None:
    images, labels = patterns(60)
    several = np.stack([labels == 0, labels == 1, labels < 2], axis=1).astype("float32")
    found = validated(
        tmp_path, images, several, "model.head=multi-label", "data.multi_label=true",
        "model.filters=[8]", "model.units=[]", "training.epochs=8",
    )  # fmt: skip
    assert found.accuracy.value is not None
    assert found.accuracy.value > 0.8  # of yes or no to each; always the usual one has 0.67
    assert found.accuracy.value == pytest.approx(np.mean(found.folds))


def test_groups_and_classes_that_fill_no_fold(tmp_path: Path) -> None:
    images, labels = patterns(90)
    with pytest.raises(
        DarkroomError, match=r"evaluation.folds is 31, and the smallest class has 30"
    ):
        validated(tmp_path, images, labels, "evaluation.folds=31")


@pytest.mark.parametrize(("accuracy", "blessed"), [(0.8, True), (0.79, False), (None, False)])
def test_the_gate(accuracy: float | None, blessed: bool) -> None:
    row = MetricRow(metric="accuracy", value=accuracy, low=0.7, high=0.9, examples=100)
    folds = CrossValidation(folds=[0.7, 0.9], examples=100, metrics=[row])
    missed = faults.missed_in_folds(Evaluation(min_accuracy=0.8), folds)
    assert (missed is None) is blessed
    if accuracy:
        assert folds.words == f"{accuracy:.4f} (0.7000 to 0.9000) on 100 images in 2 folds"
