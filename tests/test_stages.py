from pathlib import Path

import keras
import keras_tuner
import numpy as np
import pytest

from darkroom.components.base.errors import DarkroomError
from darkroom.components.base.settings import TrainerSettings
from darkroom.components.networks import models, parts
from darkroom.components.training import checkpoint, dataset, fitting, stages
from darkroom.components.training.hand_over import HandOver
from darkroom.components.training.model_run import TrainingHistory
from darkroom.components.training.stages import TrainingJob
from tests import buckets
from tests.arrays import of_arrays
from tests.settings import configured
from tests.test_checkpoint import Killed
from tests.test_tensorboard import curves

SMALL = [
    "preprocessing.height=8",
    "preprocessing.width=8",
    "preprocessing.channels=1",
    "model.filters=[4, 8]",
    "model.units=[]",
    "training.batch_size=20",
    "training.learning_rate=0.01",
    "training.epochs=3",
]


@pytest.fixture(scope="module")
def splits() -> tuple[dataset.Examples, dataset.Examples]:
    generator = np.random.default_rng(0)
    labels = np.arange(100) % 2
    images = generator.normal(size=(100, 8, 8, 1)) + labels[:, None, None, None]
    made = of_arrays(images.astype("float32"), labels)
    return made, made


@pytest.fixture
def donor(tmp_path: Path) -> str:
    path = tmp_path / "donor.weights.h5"
    keras.utils.set_random_seed(5)
    model = models.build_model(keras_tuner.HyperParameters(), settings_of(), "abc")
    model.save_weights(path)
    return str(path)


def settings_of(*overrides: str) -> TrainerSettings:
    return configured(TrainerSettings, *SMALL, *overrides, config="cifar10")


def prepared(
    folder: Path,
    splits: tuple[dataset.Examples, dataset.Examples],
    *overrides: str,
    run: str = "run",
    begin_with: str | None = None,
    kept: str | None = None,
) -> stages.Training:
    job = TrainingJob(
        settings=settings_of(*overrides),
        hand_over=HandOver(checkpoint=begin_with),
        classes=["a", "b"],
        run_folder=str(folder / run),
        checkpoint_folder=kept or str(folder / "checkpoints"),
    )
    assert TrainingJob.unpack(job.pack()) == job
    return stages.Training(job, splits)


def test_it_goes_on_with_a_trial_even_where_that_had_ended_early(
    tmp_path: Path, splits: tuple
) -> None:
    impatient = ("training.patience=1", "training.min_delta=10")
    searched = prepared(tmp_path / "trial", splits, *impatient).run().history
    assert len(searched["loss"]) == 2
    [path] = (tmp_path / "trial" / "checkpoints").glob("*.npz")
    mine = prepared(tmp_path, splits, "training.epochs=5", begin_with=str(path))
    course = mine.run()
    history = course.history
    assert (course.searched, course.resumed_at) == (2, None)
    assert history["loss"][:2] == searched["loss"]
    assert len(history["loss"]) == 5
    path.unlink()
    with pytest.raises(DarkroomError, match=r"best trial's checkpoint, .*, can't be read"):
        prepared(tmp_path, splits, "training.epochs=6", begin_with=str(path)).run()


def test_one_stage_is_a_plain_fit(tmp_path: Path, splits: tuple) -> None:
    config = settings_of()
    keras.utils.set_random_seed(config.training.seed)
    plain = models.build_model(keras_tuner.HyperParameters(), config, "ab")
    expected = fitting.fit(plain, config, *splits, [])
    mine = prepared(tmp_path, splits)
    found = mine.run()
    assert (found.history, found.exported_epoch) == expected
    assert found.stages == [("", 0)]
    assert found.resumed_at is None
    steps = [step for step, _ in curves(tmp_path / "run" / "train", "epoch_loss")]
    assert steps == [0, 1, 2]
    assert (tmp_path / "checkpoints").exists()
    mine.forget()
    assert not (tmp_path / "checkpoints").exists()


def test_similar_trains_the_classifier_alone(tmp_path: Path, splits: tuple, donor: str) -> None:
    mine = prepared(tmp_path, splits, f"model.weights={donor}", "transfer.mode=similar")
    before = mine.model.get_layer(parts.BACKBONE).get_weights()
    course = mine.run()
    history, epoch = course.history, course.exported_epoch
    after = mine.model.get_layer(parts.BACKBONE).get_weights()
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)
    assert history["loss"][-1] < history["loss"][0]
    # The whole network scores as its classifier did on what was kept.
    loss, accuracy = score(mine.model, splits[1])
    assert loss == pytest.approx(history["val_loss"][epoch], rel=1e-4)
    assert accuracy == pytest.approx(history["val_accuracy"][epoch])
    assert course.stages == [("classifier", 0)]


def score(model: keras.Model, examples: dataset.Examples) -> tuple[float, float]:
    images = examples.inputs.take(np.arange(len(examples)))
    logits = keras.ops.convert_to_numpy(model(images, training=False))
    loss = keras.losses.sparse_categorical_crossentropy(examples.labels, logits, from_logits=True)
    return float(np.mean(loss)), float(np.mean(logits.argmax(axis=1) == examples.labels))


DISTINCT = ["transfer.mode=distinct", "transfer.group_epochs=2", "training.keep_every=3"]


@pytest.mark.slow
def test_distinct_goes_on_with_the_backbone_from_the_top(
    tmp_path: Path, splits: tuple, donor: str
) -> None:
    mine = prepared(tmp_path, splits, f"model.weights={donor}", *DISTINCT)
    before = mine.model.get_layer(parts.BACKBONE).get_weights()
    course = mine.run()
    history, epoch = course.history, course.exported_epoch
    assert course.stages == [("classifier", 0), ("group 1/2", 3), ("group 2/2", 5)]
    assert {len(values) for values in history.values()} == {7}
    after = mine.model.get_layer(parts.BACKBONE).get_weights()
    assert any(not np.array_equal(one, two) for one, two in zip(before, after, strict=True))
    loss, _ = score(mine.model, splits[1])
    assert loss == pytest.approx(min(history["val_loss"]), rel=1e-4)
    assert epoch == int(np.argmin(history["val_loss"]))
    kept = sorted(path.name for path in (tmp_path / "run").glob("*.weights.h5"))
    assert kept == ["epoch-0003.weights.h5", "epoch-0006.weights.h5"]
    # Batch normalisation's statistics are the donor's.
    norm = [
        layer
        for layer in parts.leaves(mine.model.get_layer(parts.BACKBONE))
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert not any(layer.trainable for layer in norm)


def test_groups_can_be_few(tmp_path: Path, splits: tuple, donor: str) -> None:
    few = [f"model.weights={donor}", "transfer.mode=distinct", "transfer.groups=1"]
    mine = prepared(tmp_path, splits, *few)
    config = mine._config
    assert [stage.name for stage in stages._plan(mine.model, config)] == ["classifier", "group 1/1"]


class Interrupts(stages.ReportEpochs):
    """Ends the process's work in an epoch of a stage."""

    where = ("", 0)

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        if (self._prefix, self._epoch) == self.where:
            raise Killed


TOGETHER = [
    "transfer.mode=distinct",
    "transfer.unfreezing=together",
    "transfer.groups=2",
    "transfer.group_epochs=3",
    "training.schedule=cosine",
]


def test_groups_can_be_unfrozen_together(tmp_path: Path, splits: tuple, donor: str) -> None:
    training = prepared(tmp_path, splits, *TOGETHER, f"model.weights={donor}")
    layers = [
        layer
        for layer in parts.leaves(training.model.get_layer(parts.BACKBONE))
        if isinstance(layer, keras.layers.Conv2D)
    ]
    before = [layer.kernel.numpy() for layer in layers]
    course = training.run()
    assert course.stages == [("classifier", 0), ("2 groups", 3)]
    assert course.epochs == 6
    rates = course.history["learning_rate"]
    assert rates[3:] == sorted(rates[3:], reverse=True)
    assert all(np.any(x.kernel.numpy() != old) for x, old in zip(layers, before, strict=True))


def test_lower_groups_learn_more_slowly(tmp_path: Path, splits: tuple, donor: str) -> None:
    moved = []
    for decay in (1.0, 0.01):
        values = [*TOGETHER, f"model.weights={donor}", f"transfer.group_decay={decay}"]
        values += ["transfer.group_epochs=1", "training.export_epoch=last"]
        training = prepared(tmp_path / str(decay), splits, *values)
        backbone = training.model.get_layer(parts.BACKBONE)
        stem = next(layer for layer in parts.leaves(backbone) if layer.weights)
        before = stem.get_weights()[0]
        training.run()
        moved.append(float(np.abs(stem.get_weights()[0] - before).max()))
    assert 0 < moved[1] < moved[0] / 20


@pytest.mark.slow
def test_minutes_end_all_stages_in_time(tmp_path: Path, splits: tuple, donor: str) -> None:
    long = ["training.minutes=0.5", "training.epochs=100000", "transfer.group_epochs=100000"]
    training = prepared(tmp_path, splits, *TOGETHER, *long, f"model.weights={donor}")
    course = training.run()
    assert [name for name, _ in course.stages] == ["classifier", "2 groups"]
    assert 2 <= course.epochs < 100_000
    assert training.is_over()


def test_minutes_too_few_are_said_before_the_work(
    tmp_path: Path, splits: tuple, donor: str
) -> None:
    few = ["training.minutes=0.00001", *TOGETHER, f"model.weights={donor}"]
    with pytest.raises(DarkroomError, match=r"leaves 0\.0 minutes.*a pass of 200 images through"):
        prepared(tmp_path, splits, *few).run()


@pytest.mark.slow
def test_an_interrupted_plan_ends_as_an_uninterrupted_one(
    tmp_path: Path, splits: tuple, donor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        checkpoint.Keep.__init__, "__defaults__", (0, TrainingHistory(), 1e9)
    )  # write every epoch
    monkeypatch.setattr(stages, "ReportEpochs", Interrupts)
    monkeypatch.setenv(buckets.FOLDER, str(tmp_path / "buckets"))
    overrides = [f"model.weights={donor}", *DISTINCT, "augmentation.flip=both"]
    whole = prepared(tmp_path, splits, *overrides)
    expected = whole.run()
    for where, done in [(("classifier, ", 1), 1), (("group 1/2, ", 0), 3), (("group 2/2, ", 1), 6)]:
        folder = tmp_path / str(done)
        kept = "test://b/checkpoints" if done == 3 else str(folder / "checkpoints")
        Interrupts.where = where
        with pytest.raises(Killed):
            prepared(folder, splits, *overrides, kept=kept).run()
        Interrupts.where = ("", 0)
        again = prepared(folder, splits, *overrides, run="again", kept=kept)
        found = again.run()
        assert found.resumed_at == done
        assert (found.stages, found.exported_epoch) == (expected.stages, expected.exported_epoch)
        for name, values in expected.history.items():
            np.testing.assert_allclose(found.history[name], values, rtol=1e-4)
        for one, other in zip(again.model.get_weights(), whole.model.get_weights(), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
        steps = [step for step, _ in curves(folder / "again" / "train", "epoch_loss")]
        assert steps == list(range(7))


@pytest.mark.slow
def test_the_best_of_several_starts_goes_on(tmp_path: Path, splits: tuple) -> None:
    several = ["training.starts=3", "training.start_epochs=1"]
    found = prepared(tmp_path / "several", splits, *several).run()
    firsts = {}
    for seed in range(3):
        config = settings_of(f"training.seed={seed}")
        keras.utils.set_random_seed(seed)
        model = models.build_model(keras_tuner.HyperParameters(), config, "ab")
        config = config.with_values({"training.seed": 0})  # of shuffling, as for all starts
        firsts[seed] = fitting.fit(model, config, *splits, [], until=1).history["val_loss"][0]
    assert len({round(value, 6) for value in firsts.values()}) == 3
    assert found.history["val_loss"][0] == pytest.approx(min(firsts.values()), rel=1e-4)
    assert len(found.history["loss"]) == 3


def test_a_warm_start_is_no_part_of_the_history(tmp_path: Path, splits: tuple) -> None:
    plain = prepared(tmp_path / "plain", splits).run()
    warm = prepared(tmp_path / "warm", splits, "training.warm_start_epochs=2").run()
    assert len(warm.history["loss"]) == len(plain.history["loss"]) == 3
    assert warm.history["loss"][0] < plain.history["loss"][0]


def test_weights_that_do_worse_than_random_ones_are_said(
    tmp_path: Path, splits: tuple, donor: str
) -> None:
    path = tmp_path / "zeros.weights.h5"
    model = models.build_model(keras_tuner.HyperParameters(), settings_of(), "ab")
    model.set_weights([np.zeros_like(w) for w in model.get_weights()])
    model.save_weights(path)
    mine = prepared(
        tmp_path, splits, f"model.weights={path}", "transfer.mode=similar",
        "transfer.scratch_epochs=3", "training.learning_rate=0.03",
    )  # fmt: skip
    comparison = mine.run().comparison
    assert comparison is not None
    assert (comparison.epochs, comparison.metric) == (3, "val_accuracy")
    assert comparison.transferred == pytest.approx(0.5, abs=0.1)
    assert comparison.transferred < comparison.scratch


def test_what_learnt_with_16_bits_is_exported_in_float32(
    tmp_path: Path, splits: tuple[dataset.Examples, dataset.Examples]
) -> None:
    alike = prepared(tmp_path, splits)
    assert alike.exported() is alike.model
    job = alike._job.model_copy(update={"policy": "mixed_bfloat16"})
    training = stages.Training(job, splits)
    training.run()
    exported = training.exported()
    assert {leaf.compute_dtype for leaf in parts.leaves(exported)} == {"float32"}
    images = splits[1].first(8)
    mixed, full = (np.array(keras.ops.softmax(m(images))) for m in (training.model, exported))
    assert not np.array_equal(mixed, full)
    np.testing.assert_allclose(mixed, full, atol=0.03)
