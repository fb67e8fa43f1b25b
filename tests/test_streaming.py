"""Streamed examples are those that are cached, in the same order, and nothing of them is kept."""

import os
import tempfile
from collections import Counter
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tfx.components.trainer.fn_args_utils import FnArgs

from darkroom.components.base import tfrecord
from darkroom.components.base.errors import DarkroomError, explain
from darkroom.components.base.sections import Training
from darkroom.components.base.settings import NetworkSettings, TrainerSettings
from darkroom.components.training import (
    checkpoint,
    dataset,
    folds,
    stages,
    streaming,
    trainer,
    transfer,
)
from darkroom.components.training.model_run import TrainingHistory
from darkroom.components.training.streaming import Records
from darkroom.components.training.transform_graph import TransformGraph
from darkroom.pipeline.config import load
from tests.conftest import SMALL_CONFIG, Project, darkroom
from tests.settings import configured
from tests.test_checkpoint import Killed
from tests.test_dataset import Kept, as_resizing_does, written
from tests.test_stages import Interrupts

GIB = 2**30
STREAMED, CACHED = (Training(examples=kind) for kind in ("streamed", "cached"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Sorted by class, in few files: nothing that would mix them by itself."""
    return [written(tmp_path_factory.mktemp("files"), shards=3)]


@pytest.fixture(scope="module")
def both(files: list[str]) -> tuple[dataset.Examples, dataset.Examples]:
    """The same examples, streamed and cached."""
    streamed, _ = dataset.splits(files, files, Kept(), STREAMED, "Trainer")
    cached, _ = dataset.splits(files, files, Kept(), CACHED, "Trainer")
    return streamed, cached


def assert_alike(one: tf.data.Dataset, other: tf.data.Dataset, batches: int = -1) -> None:
    pairs = zip(*(d.take(batches).as_numpy_iterator() for d in (one, other)), strict=True)
    for (*left, inputs, labels), (*right, expected, targets) in pairs:
        assert left == right
        np.testing.assert_allclose(inputs, expected, atol=1e-6)
        np.testing.assert_array_equal(labels, targets)


# --- the records in their files ---


@given(
    shards=st.lists(st.lists(st.binary(max_size=40), max_size=5), min_size=1, max_size=5),
    seed=st.integers(0, 9),
)
@settings(max_examples=30)
def test_any_record_is_read_where_it_stands(shards: list[list[bytes]], seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        names = [os.path.join(folder, str(number)) for number in range(len(shards))]
        for name, records in zip(names, shards, strict=True):
            tfrecord.write(Path(name), records)
        found, every = Records.of_files(names), list(chain(*shards))
        assert len(found) == len(every)
        order = np.random.default_rng(seed).permutation(len(every))
        assert found.take(order).tolist() == [every[row] for row in order]
        found.save(os.path.join(folder, "places"))
        facts = {name: np.array(value) for name, value in found.facts.items()}
        again = Records.saved(os.path.join(folder, "places"), facts)
        assert again.take(order).tolist() == found.take(order).tolist()
        assert found.held_bytes == 0


def test_a_damaged_record_is_said(tmp_path: Path) -> None:
    pattern = written(tmp_path, shards=1)
    streamed, _ = dataset.splits([pattern], [pattern], Kept(), STREAMED, "Trainer")
    [path] = tmp_path.iterdir()
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 255
    path.write_bytes(damaged)
    with pytest.raises(tf.errors.OpError) as raised:
        list(dataset.batches(streamed, 50))
    assert "its checksum doesn't match. Remove that artifact" in explain(raised.value)


def test_files_that_are_gone_or_others_are_said_before_the_training(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    pattern, place = written(folder, shards=2), str(tmp_path / "kept" / "place")
    dataset.keep(dataset.splits([pattern], [pattern], Kept(), STREAMED, "Tuner"), place)
    first, second = sorted(folder.iterdir())
    second.write_bytes(first.read_bytes())
    with pytest.raises(DarkroomError, match=r"when they were counted\. Remove"):
        dataset.kept(place, 0)
    second.unlink()
    with pytest.raises(DarkroomError, match=r"00001-of-00002 can't be read on this machine: No "):
        dataset.kept(place, 0)


# --- the order ---


@pytest.mark.parametrize("steps", [None, 3])
def test_batches_are_those_of_cached_examples(both: tuple, steps: int | None) -> None:
    streamed, cached = both
    assert streamed.counts() == cached.counts()
    assert_alike(dataset.batches(streamed, 64), dataset.batches(cached, 64))
    one, other = (dataset.Feed(each, 48, seed=3, steps_per_epoch=steps) for each in both)
    for one.epoch in (0, 2):
        other.epoch = one.epoch
        assert_alike(one.batches(), other.batches(), batches=8)
    rows = np.array([3, 1, 199, 70])
    parts = (dataset.batches(each.part(rows), 3) for each in both)
    assert_alike(*parts)
    np.testing.assert_allclose(streamed.first(5), cached.first(5), atol=1e-6)


@given(
    count=st.integers(1, 60),
    batch=st.integers(1, 17),
    replicas=st.integers(1, 4),
    steps=st.none() | st.integers(1, 7),
    epoch=st.integers(0, 3),
    seed=st.integers(0, 3),
)
@settings(max_examples=15)
def test_a_pass_has_every_example_once_from_wherever_it_goes_on(
    both: tuple, count: int, batch: int, replicas: int, steps: int | None, epoch: int, seed: int
) -> None:
    examples = both[0].part(np.arange(0, 3 * count, 3))
    shares = [dataset.Share(number, replicas) for number in range(replicas)]
    whole, resumed, *parts = (
        dataset.Feed(examples, batch, seed, steps, share)
        for share in (dataset.Share(), dataset.Share(), *shares)
    )
    in_pass = -(-count // batch)
    first = epoch * whole.steps
    passes = -(-(first + in_pass) // in_pass) + 1

    def labels(feed: dataset.Feed, begin: int, number: int) -> list[list[int]]:
        feed.epoch, found = begin, []
        while len(found) < number:
            for _, images, labels in feed.batches().take(number - len(found)).as_numpy_iterator():
                np.testing.assert_allclose(images[:, 0, 0, 0] * 255, labels, atol=1e-3)
                found.append(labels.tolist())
            feed.epoch += 1
        return found

    uninterrupted = labels(whole, 0, passes * in_pass)
    for number in range(passes):
        seen = list(chain(*uninterrupted[number * in_pass : (number + 1) * in_pass]))
        assert sorted(seen) == list(range(0, 3 * count, 3))
    assert labels(resumed, epoch, in_pass) == uninterrupted[first : first + in_pass]
    shared = [labels(part, 0, in_pass) for part in parts]
    for expected, *found in zip(uninterrupted, *shared, strict=False):
        if len(expected) < replicas:
            assert found == [expected] * replicas
        else:
            assert sorted(chain(*found)) == sorted(expected)


def test_passes_differ_and_so_do_seeds(both: tuple) -> None:
    feeds = [dataset.Feed(both[0], 50, seed) for seed in (0, 0, 1)]
    feeds[1].epoch = 1
    orders = {tuple(chain(*(y.numpy().tolist() for *_, y in feed.batches()))) for feed in feeds}
    assert len(orders) == 3


def test_batches_do_not_hang_on_the_number_of_cores(
    both: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    feeds = []
    for calls in (1, 7):
        monkeypatch.setattr(TransformGraph, "parallel_calls", lambda *_, calls=calls: calls)
        feeds.append(dataset.Feed(both[0], 10, seed=0).batches())
    assert_alike(*feeds)


@pytest.mark.parametrize("shards", [1, 40])
def test_what_is_sorted_by_class_is_mixed(tmp_path: Path, shards: int) -> None:
    files = [written(tmp_path, shards=shards)]
    streamed, _ = dataset.splits(files, files, Kept(), STREAMED, "Trainer")
    batches = [labels // 50 for *_, labels in dataset.Feed(streamed, 40, seed=0).batches()]
    for labels in batches:  # of four classes, as a draw from all has them: 10 ± 2.5 of each
        counts = Counter(labels.numpy().tolist())
        assert min(counts[kind] for kind in range(4)) >= 3
        assert max(counts.values()) <= 19


# --- what is chosen ---


def warned(
    caplog: pytest.LogCaptureFixture, files: list[str], change: Any = None, **training: Any
) -> tuple[type, list[str]]:
    """What the inputs are, and what was said."""
    caplog.clear()
    transform = Kept(change) if change else Kept()
    train, evaluation = dataset.splits(files, files, transform, Training(**training), "Trainer")
    assert type(train.inputs) is type(evaluation.inputs)
    said = [r.getMessage() for r in caplog.records if r.name == "darkroom.progress"]
    return type(train.inputs), [words for words in said if "labels" not in words]


def test_the_size_chooses(
    files: list[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert warned(caplog, files) == (dataset.Rows, [])  # half of the disk is enough for 2 KB
    monkeypatch.setattr(streaming, "_FREE_SHARE", 0.0)
    size = 2 * 200 * 6 / GIB  # of both splits, in uint8
    assert warned(caplog, files, cache_budget=size) == (dataset.Rows, [])
    kind, [words] = warned(caplog, files, cache_budget=0.9 * size)
    assert kind is Records
    assert words.startswith("Trainer: 400 examples take 0.0 GiB preprocessed, more than ")
    # In float16 it is twice as much.
    assert warned(caplog, files, as_resizing_does, cache_budget=size)[0] is Records
    assert warned(caplog, files, as_resizing_does, cache_budget=2 * size) == (dataset.Rows, [])
    assert warned(caplog, files, cache_budget=0.9 * size, examples="cached") == (dataset.Rows, [])


def test_who_asks_for_it_gets_it(files: list[str], caplog: pytest.LogCaptureFixture) -> None:
    kind, words = warned(caplog, files, examples="streamed")
    assert kind is Records
    assert words == ["Trainer: training.examples is streamed: every pass decodes all images anew"]


def test_compressed_files_are_cached_or_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = [written(tmp_path, suffix=".gz")]
    assert warned(caplog, files, cache_budget=1 / GIB) == (dataset.Rows, [])
    with pytest.raises(DarkroomError, match=r"\.gz can't be read from the middle.*to cached\."):
        warned(caplog, files, examples="streamed")


# --- what takes examples ---


def test_trials_take_what_was_kept_for_them(files: list[str], tmp_path: Path, both: tuple) -> None:
    place = str(tmp_path / "kept" / "place")
    dataset.keep((both[0], both[0]), place)
    assert sum(path.stat().st_size for path in Path(place).rglob("inputs")) < 2 * 9 * 210
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransformGraph, "saved", lambda facts: TransformGraph(Kept()))
        train, _ = dataset.kept(place, 0)
    assert_alike(dataset.batches(train, 64), dataset.batches(both[1], 64))
    part = train.part(np.arange(100))
    for fold, (fitted, held_out) in enumerate(folds.pairs(_of_two(part), 2, seed=0)):
        assert sorted([*_rows(fitted), *_rows(held_out)]) == list(range(100)), fold


def _of_two(examples: dataset.Examples) -> dataset.Examples:
    rows = examples.labels
    return dataset.Examples(examples.inputs, rows % 2, examples.coding, rows=rows)


def _rows(examples: dataset.Examples) -> list[int]:
    images = examples.first(len(examples))
    return [round(each) for each in images[:, 0, 0, 0] * 255]


def test_a_frozen_backbones_outputs_are_those_of_cached_examples(both: tuple) -> None:
    config = configured(NetworkSettings, "training.batch_size=30", "augmentation.copies=2")
    backbone = keras.Sequential([keras.Input((2, 3, 1)), keras.layers.Flatten()])
    found, expected = (transfer.frozen_splits(backbone, (each, each), config) for each in both)
    for one, other in zip(found, expected, strict=True):
        assert_alike(dataset.batches(one, 64), dataset.batches(other, 64))
        assert_alike(dataset.Feed(one, 64, 0).batches(), dataset.Feed(other, 64, 0).batches())


@pytest.fixture
def run_fn(small: Project, tmp_path: Path) -> Callable[..., TrainingHistory]:
    """Runs the Trainer on a run's examples, in a folder of its own."""
    artifacts = small.folder / "runs" / "small" / "artifacts"
    [examples] = (artifacts / "ImportExampleGen" / "examples").iterdir()
    [graph] = (artifacts / "Transform" / "transform_graph").iterdir()

    def run(name: str, execution: int, *overrides: str) -> TrainingHistory:
        config = load(small.folder / "config.yaml", list(overrides))
        node = tmp_path / name / "Trainer"
        trainer.run_fn(
            FnArgs(
                train_files=[str(examples / "Split-train" / "*")],
                eval_files=[str(examples / "Split-eval" / "*")],
                transform_output=str(graph),
                serving_model_dir=str(node / "model" / str(execution) / "Format-Serving"),
                model_run_dir=str(node / "model_run" / str(execution)),
                custom_config=configured(TrainerSettings, config=config).pack(),
            )
        )
        return TrainingHistory.read(str(node / "model_run" / str(execution)))

    return run


def test_a_training_comes_to_the_same_also_where_it_was_interrupted(
    run_fn: Callable[..., TrainingHistory], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint.Keep.__init__, "__defaults__", (0, TrainingHistory(), 1e9))
    options = ["augmentation.translation=0.1", "training.class_weights=balanced"]
    cached = run_fn("cached", 1, *options, "training.examples=cached").history
    options.append("training.examples=streamed")
    streamed = run_fn("streamed", 1, *options).history
    assert max(streamed["val_accuracy"]) > 0.8
    for name, values in cached.items():
        assert streamed[name] == pytest.approx(values, abs=0.02), name

    monkeypatch.setattr(stages, "ReportEpochs", Interrupts)
    monkeypatch.setattr(Interrupts, "where", ("", 2))
    with pytest.raises(Killed):
        run_fn("interrupted", 1, *options)
    monkeypatch.setattr(Interrupts, "where", ("nowhere", 0))
    found = run_fn("interrupted", 2, *options)
    assert found.resumed_at == 2
    for name, values in streamed.items():
        np.testing.assert_allclose(found.history[name], values, rtol=1e-4)


@pytest.mark.slow
def test_all_nodes_that_train_take_streamed_examples(tmp_path: Path) -> None:
    """A search in folds and the training, both on two devices, and a scan of learning rates."""
    project = Project(tmp_path)
    config = SMALL_CONFIG.replace("max_trials: 2", "max_trials: 2\n  folds: 2")
    config = config.replace("epochs: 4,", "epochs: 4, examples: streamed,")
    (tmp_path / "config.yaml").write_text(config)
    result = project.run("training.cpu_replicas=2")
    assert result.returncode == 0, result.stdout
    assert "every pass decodes all images anew" in result.stdout
    status = project.status()
    assert status["metrics"]["accuracy"] > 0.8
    assert [trial["status"] for trial in status["trials"]] == ["COMPLETED"] * 2
    few = ["lr_scan.points=2", "lr_scan.epochs=1", "lr_scan.min=1e-3", "lr_scan.max=0.01"]
    words = [word for override in few for word in ("--set", override)]
    result = darkroom("lr-scan", *project.options, *words, cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert "gives the best val_loss" in result.stdout
    # Nothing was written but where the records stand.
    kept = (tmp_path / "runs").rglob("inputs")
    assert 0 < max(os.path.getsize(path) for path in kept) < 9 * 1437
