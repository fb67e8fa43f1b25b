from pathlib import Path

import keras
import numpy as np
import pytest

from darkroom.components.base import remote
from darkroom.components.training import checkpoint, dataset, fitting
from darkroom.components.training.model_run import Comparison, TrainingHistory
from darkroom.serving import files
from tests import buckets
from tests.test_fitting import network, settings_of

COMPARISON = Comparison(epochs=2, metric="val_loss", transferred=1.0, scratch=2.0)


def state(**values: object) -> checkpoint.State:
    given = {
        "stage": 1,
        "epoch": 7,
        "over": False,
        "history": {"loss": [2.0, 1.0]},
        "stopping": checkpoint.Stopping(1, 1.0, 1),
        "variables": [np.arange(6.0).reshape(2, 3), np.int64(4), np.float16([0.1])],
        "best_weights": [np.ones(2)],
        "earlier": TrainingHistory(
            history={"loss": [3.0]}, exported_epoch=0, stages=[("c", 0)], comparison=COMPARISON
        ),
    }
    return checkpoint.State(**{**given, **values})  # type: ignore[arg-type]


def test_a_state_comes_back(tmp_path: Path) -> None:
    kept = checkpoint.Checkpoint(str(tmp_path / "new"), seed=1)
    assert kept.read() is None
    kept.write(state())
    found = kept.read()
    assert found is not None
    assert found[:4] == state()[:4]
    assert (found.stopping, found.earlier) == (state().stopping, state().earlier)
    for value, expected in zip(found.variables, state().variables, strict=True):
        np.testing.assert_array_equal(value, expected)
        assert value.dtype == np.asarray(expected).dtype
    kept.write(state(epoch=8))
    assert kept.read()[1] == 8  # type: ignore[index]
    assert len(list((tmp_path / "new").iterdir())) == 1


@pytest.mark.parametrize("scheme", ["", buckets.SCHEME])
def test_another_training_has_another_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setenv(buckets.FOLDER, str(tmp_path))
    monkeypatch.setenv(remote._FOLDER, str(tmp_path / "staging"))
    folder = f"{scheme}b/checkpoints" if scheme else str(tmp_path / "b" / "checkpoints")
    checkpoint.Checkpoint(folder, seed=1).write(state())
    other = checkpoint.Checkpoint(folder, seed=2)
    assert other.read() is None
    other.write(state(epoch=8))
    assert other.read()[1] == 8  # type: ignore[index]
    assert len(list((tmp_path / "b" / "checkpoints").iterdir())) == 2
    other.clear()
    assert not (tmp_path / "b" / "checkpoints").exists()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_damaged_state_is_none(tmp_path: Path, share: float) -> None:
    kept = checkpoint.Checkpoint(str(tmp_path), seed=1)
    kept.write(state())
    [path] = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    assert kept.read() is None


def test_a_full_disk_leaves_the_state_before_and_nothing_else(tmp_path: Path) -> None:
    kept = checkpoint.Checkpoint(str(tmp_path), seed=1)
    kept.write(state())
    [path] = tmp_path.iterdir()
    Path(files.unfinished_path(str(path))).symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        kept.write(state(epoch=8))
    assert list(tmp_path.iterdir()) == [path]
    assert kept.read()[1] == 7  # type: ignore[index]


class Killed(Exception):
    """What ends a process in the middle of an epoch."""


class KillIn(keras.callbacks.Callback):
    def __init__(self, epoch: int):
        super().__init__()
        self._epoch, self._now = epoch, -1

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        self._now = epoch

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        if self._now == self._epoch:
            raise Killed


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["training.optimizer=sgd", "training.schedule=cosine"],
        ["training.steps_per_epoch=5", "training.batch_size=20"],
        ["training.patience=2", "training.learning_rate=0.3"],
        ["training.export_epoch=last", "training.class_weights=balanced"],
    ],
)
@pytest.mark.slow
def test_an_interrupted_training_ends_with_the_same_curve(
    tmp_path: Path, examples: dataset.Examples, overrides: list[str]
) -> None:
    config = settings_of("training.epochs=9", *overrides)

    def run(folder: str, *callbacks: keras.callbacks.Callback) -> tuple[keras.Model, object]:
        model = network(config)  # with dropout, whose random state has to go on as well
        kept = checkpoint.Checkpoint(str(tmp_path / folder), seed=1)
        fitted = fitting.fit(
            model,
            config,
            examples,
            examples,
            list(callbacks),
            keep=lambda stopping: checkpoint.Keep(kept, stopping, share=1e9),
        )
        return model, fitted

    whole_model, whole = run("whole")
    for epoch in (0, 3, 4):
        with pytest.raises(Killed):
            run("killed", KillIn(epoch))
        found = checkpoint.Checkpoint(str(tmp_path / "killed"), seed=1).read()
        assert (found.epoch if found else 0) == epoch
    model, fitted = run("killed")
    assert fitted[1] == whole[1]  # type: ignore[index]
    for name, values in whole[0].items():  # type: ignore[index]
        np.testing.assert_allclose(fitted[0][name], values, rtol=1e-5)  # type: ignore[index]
    for weight, expected in zip(model.get_weights(), whole_model.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-4, atol=1e-6)


def test_every_nth_epoch_is_kept(tmp_path: Path, examples: dataset.Examples) -> None:
    config = settings_of("training.epochs=5", "training.export_epoch=last")
    model = network(config)
    every = checkpoint.keep_every(2, model, str(tmp_path), before=1)
    fitting.fit(model, config, examples, examples, [every])
    names = ["epoch-0002.weights.h5", "epoch-0004.weights.h5", "epoch-0006.weights.h5"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    other = network(config)
    other.load_weights(tmp_path / names[-1])
    for weight, expected in zip(other.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)
