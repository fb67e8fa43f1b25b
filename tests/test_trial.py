from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
import pytest

from darkroom.components.base.errors import DarkroomError
from darkroom.components.base.settings import TunerSettings
from darkroom.components.networks import parts
from darkroom.components.training import dataset, transfer
from darkroom.components.tuning import trial
from tests.arrays import of_arrays
from tests.settings import configured


def candidate(*overrides: str) -> trial.Candidate:
    space = "tuner.space={training.batch_size: {choices: [16]}}"
    return trial.Candidate(configured(TunerSettings, space, *overrides), classes=["a", "b", "c"])


def patterns(count: int = 96) -> dataset.Examples:
    """Images whose class can be learnt."""
    generator = np.random.default_rng(0)
    labels = np.arange(count) % 3
    images = generator.normal(size=(count, 8, 8, 1)) + np.eye(8)[labels][:, :, None, None]
    return of_arrays(images.astype("float32"), labels)


def trials(folder: Path, *overrides: str) -> trial.Trials:
    small = ("model.filters=[4]", "model.units=[8]", "tuner.epochs=2", "training.batch_size=16")
    splits = patterns(), patterns(30)
    return trial.Trials(candidate(*small, *overrides), splits, str(folder), maximize=True)


def values(**values: Any) -> keras_tuner.HyperParameters:
    hp = keras_tuner.HyperParameters()
    hp.values = {name.replace("__", "."): value for name, value in values.items()}
    return hp


def test_a_trial_uses_its_values() -> None:
    hp = values(training__learning_rate=0.02, model__dropout=0.5, model__units__0=24)
    model = candidate().build(hp)
    assert model.get_layer(parts.CLASSIFIER).layers[2].units == 24
    assert keras.ops.convert_to_numpy(model.optimizer.learning_rate) == pytest.approx(0.02)
    dropouts = [
        layer.rate for layer in parts.leaves(model) if isinstance(layer, keras.layers.Dropout)
    ]
    assert set(dropouts) == {0.5}


def test_no_units_are_no_layer() -> None:
    wide = candidate("model.units=[16, 8]")
    with_both, with_one = (
        wide.build(values(model__units__1=units)).get_layer(parts.CLASSIFIER) for units in (8, 0)
    )
    assert len(with_both.layers) - len(with_one.layers) == 2  # dense and dropout


def test_a_result_is_that_of_the_best_epoch(tmp_path: Path) -> None:
    result = trials(tmp_path, "tuner.epochs=3").run("0", values(training__learning_rate=0.01))
    assert result.status == "COMPLETED"
    [fit] = result.fits
    history = fit.history["val_accuracy"]
    assert len(history) == 3
    assert result.metrics["val_accuracy"] == max(history) == history[fit.best_epoch]
    assert result.step == fit.best_epoch
    assert trial.Folder(str(tmp_path), "0").read() == result


def test_a_trial_that_ended_is_not_run_again(tmp_path: Path) -> None:
    first = trials(tmp_path).run("0", values())
    written = (tmp_path / "trial_0" / "result.json").stat().st_mtime_ns
    assert trials(tmp_path).run("0", values()) == first
    assert (tmp_path / "trial_0" / "result.json").stat().st_mtime_ns == written


def test_several_fits_begin_with_other_weights_and_the_score_is_their_mean(tmp_path: Path) -> None:
    result = trials(tmp_path, "tuner.executions_per_trial=2").run("0", values())
    assert [fit.seed for fit in result.fits] == [0, 1]
    assert result.fits[0].history != result.fits[1].history
    scores = [fit.metrics["val_accuracy"] for fit in result.fits]
    assert result.metrics["val_accuracy"] == pytest.approx(np.mean(scores))


def test_an_interrupted_trial_goes_on_in_its_second_fit(tmp_path: Path) -> None:
    options = ("tuner.executions_per_trial=2",)
    whole = trials(tmp_path / "whole", *options).run("0", values())
    folder = trial.Folder(str(tmp_path / "cut"), "0")
    folder.write(trial.Result("RUNNING", {}, whole.fits[:1]))
    result = trials(tmp_path / "cut", *options).run("0", values())
    assert not list(Path(folder.path).glob("*.npz"))[1:]  # the first fit was not run
    assert [fit.history for fit in result.fits] == [fit.history for fit in whole.fits]


def test_hyperband_goes_on_with_another_trial(tmp_path: Path) -> None:
    rounds = trials(tmp_path, "tuner.epochs=4")
    first = rounds.run("0", values(**{"tuner/epochs": 2, "tuner/initial_epoch": 0}))
    second = rounds.run(
        "1", values(**{"tuner/epochs": 4, "tuner/initial_epoch": 2, "tuner/trial_id": "0"})
    )
    [before], [after] = first.fits, second.fits
    assert len(before.history["loss"]) == 2
    assert after.history["loss"][:2] == before.history["loss"]
    assert len(after.history["loss"]) == 4
    # Nothing is lost on the way: not the optimizer's moments, not the order of the examples.
    whole = trials(tmp_path / "whole", "tuner.epochs=4").run("0", values())
    assert whole.fits[0].history["loss"] == pytest.approx(after.history["loss"], rel=1e-4)


def test_a_checkpoint_that_is_gone_is_a_failed_trial(tmp_path: Path) -> None:
    hp = values(**{"tuner/epochs": 2, "tuner/initial_epoch": 1, "tuner/trial_id": "7"})
    result = trials(tmp_path).run("8", hp)
    assert (result.status, result.message) == (
        "FAILED",
        "Trial 7, to go on with, has left no checkpoint.",
    )


def test_values_with_which_nothing_can_be_built_are_said(tmp_path: Path) -> None:
    result = trials(tmp_path).run("0", values(training__batch_size=5000))
    assert result.status == "FAILED"
    assert "more than the 96 examples" in str(result.message)
    logs = list((tmp_path / "logs" / "trial_0").rglob("*tfevents*"))
    assert logs  # of the failure too


def test_a_loss_that_is_no_number_is_a_failed_trial(tmp_path: Path) -> None:
    hp = values(training__learning_rate=1e30, training__optimizer="sgd")
    result = trials(tmp_path, "tuner.epochs=3").run("0", hp)
    assert result.status == "FAILED"
    assert "learning rate" in str(result.message)


def test_a_cross_validated_score_is_the_mean_of_the_parts(tmp_path: Path) -> None:
    result = trials(tmp_path, "tuner.folds=3", "tuner.epochs=1").run("0", values())
    assert [fit.fold for fit in result.fits] == [0, 1, 2]
    assert {fit.seed for fit in result.fits} == {0}
    scores = [fit.metrics["val_accuracy"] for fit in result.fits]
    assert result.metrics["val_accuracy"] == pytest.approx(np.mean(scores))
    assert trial.Folder(str(tmp_path), "0").read() == result


def test_patience_of_a_trial(tmp_path: Path) -> None:
    hp = values(training__learning_rate=1e-9)  # nothing gets better
    result = trials(tmp_path, "tuner.epochs=9", "tuner.patience=1", "training.min_delta=0.1").run(
        "0", hp
    )
    assert len(result.fits[0].history["loss"]) == 2


@pytest.mark.parametrize(
    ("history", "words"),
    [
        ({"loss": [1.0], "accuracy": [0.5]}, "has no metric 'val_accuracy', it has loss, accuracy"),
        ({"val_accuracy": [float("nan")] * 2}, "val_accuracy is nan in every epoch"),
    ],
)
def test_an_objective_that_is_nowhere(history: dict[str, list[float]], words: str) -> None:
    with pytest.raises(DarkroomError, match=words):
        trial.best_epoch(history, "val_accuracy", maximize=True)


def test_the_best_epoch_of_what_is_to_be_small() -> None:
    history = {"val_loss": [0.5, float("nan"), 0.2, 0.3]}
    assert trial.best_epoch(history, "val_loss", maximize=False) == 2


def test_trials_share_a_frozen_backbones_outputs(tmp_path: Path) -> None:
    small = ("model.units=[8]", "tuner.epochs=2", "training.batch_size=16")
    found = candidate("transfer.mode=similar", "model.weights=some.keras", *small)
    layers = [keras.layers.AveragePooling2D(2), keras.layers.Flatten()]
    backbone = keras.Sequential([keras.Input((8, 8, 1)), *layers])
    splits = transfer.frozen_splits(backbone, (patterns(), patterns(30)), found.settings)
    shared = trial.Trials(found, splits, str(tmp_path), maximize=True, frozen=True)
    result = shared.run("0", values(model__units__0=5, training__learning_rate=0.01))
    assert result.status == "COMPLETED", result.message
    state = trial.Folder(str(tmp_path), "0").checkpoint(0).read()
    assert state is not None
    shapes = [array.shape for array in state.variables]
    assert {(16, 5), (5, 3)} <= set(shapes)
    assert max(map(len, shapes)) == 2  # the classifier alone


def test_a_trial_with_a_backbone_of_its_own_freezes_it(tmp_path: Path) -> None:
    donor = candidate("model.filters=[4]", "model.units=[8]").build(values())
    donor.save(tmp_path / "donor.keras")
    weights = f"model.weights={tmp_path / 'donor.keras'}"
    found = trials(tmp_path, "transfer.mode=similar", weights)
    result = found.run("0", values(augmentation__flip="horizontal"))
    assert result.status == "COMPLETED", result.message
    state = trial.Folder(str(tmp_path), "0").checkpoint(0).read()
    assert state is not None
    assert max(array.ndim for array in state.variables) == 2


def test_folds_of_changed_copies_have_all_of_them() -> None:
    images = np.arange(12, dtype=np.float32).reshape(12, 1)
    examples = of_arrays(images, np.array([0, 1, 0, 1, 0, 1]), copies=2)
    part = examples.part(np.array([1, 4]))
    feed = dataset.Feed(part, batch_size=2, seed=0)
    drawn = set()
    for epoch in range(20):
        feed.epoch = epoch
        for _, inputs, labels in feed.batches().as_numpy_iterator():
            for value, label in zip(inputs[:, 0], labels, strict=True):
                assert label == int(value) % 6 % 2
                drawn.add(int(value))
    assert drawn == {1, 4, 7, 10}
