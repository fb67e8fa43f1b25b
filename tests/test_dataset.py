from collections import Counter
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from darkroom.components.base import features, tfrecord
from darkroom.components.base.errors import DarkroomError
from darkroom.components.base.sections import Training
from darkroom.components.training import dataset
from darkroom.components.training.rows import Rows
from darkroom.components.training.transform_graph import TransformGraph
from tests.arrays import of_arrays
from tests.conftest import encoded

SHAPE = (2, 3, 1)
GIB = 2**30


class Transform:
    """The transform graph's faces that feeding uses, over a graph of a few lines."""

    def __init__(self, change: Any = lambda images: images / 255.0) -> None:
        self.calls = tf.Variable(0)
        self._change = change

    def raw_feature_spec(self) -> dict:
        keys = (features.IMAGE_KEY, features.LABEL_KEY, features.HEIGHT_KEY)
        return {key: tf.io.FixedLenFeature([1], tf.string) for key in keys}

    def vocabulary_size_by_name(self, name: str) -> int:
        return len(IMAGES)

    def transformed_feature_spec(self) -> dict:
        return {features.IMAGE: tf.io.FixedLenFeature(SHAPE, tf.float32)}

    def transform_features_layer(self) -> object:
        def layer(raw: dict) -> dict:
            outputs = {}
            if features.LABEL_KEY in raw:
                labels = raw[features.LABEL_KEY][:, 0]
                outputs[features.LABEL] = tf.strings.to_number(labels, tf.int64)
            if features.IMAGE_KEY in raw:
                outputs[features.IMAGE] = self._change(images_of(raw[features.IMAGE_KEY][:, 0]))
            return outputs

        def images_of(files: tf.Tensor) -> tf.Tensor:
            images = tf.map_fn(
                lambda file: tf.cast(tf.io.decode_png(file), tf.float32),
                files,
                fn_output_signature=tf.TensorSpec(SHAPE, tf.float32),
            )
            self.calls.assign_add(tf.size(files))
            return images

        return layer


# Image n has the value n everywhere.
IMAGES = np.arange(200, dtype=np.uint8)[:, None, None, None] * np.ones(SHAPE, np.uint8)


def written(folder: Path, images: np.ndarray = IMAGES, suffix: str = "", shards: int = 2) -> str:
    """Writes files in which the images come one after the other; returns a pattern for them."""
    for number, part in enumerate(np.array_split(images, shards)):
        path = str(folder / f"data_tfrecord-{number:05}-of-{shards:05}{suffix}")
        with tf.io.TFRecordWriter(path, "GZIP" if suffix else "") as writer:
            for pixels in part:
                values = {
                    features.IMAGE_KEY: encoded(pixels[..., 0]),
                    features.LABEL_KEY: str(pixels[0, 0, 0]).encode(),
                }
                writer.write(tfrecord.encode_example(values))
    return str(folder / "data_tfrecord-*")


@pytest.fixture(params=["", ".gz"])
def files(tmp_path: Path, request: pytest.FixtureRequest) -> list[str]:
    return [written(tmp_path, suffix=request.param)]


def test_every_example_is_preprocessed_once(files: list[str]) -> None:
    transform = Transform()
    examples = dataset.preprocessed(files, TransformGraph(transform), GIB)
    assert len(examples) == 200
    for _ in range(3):
        pairs = list(dataset.batches(examples, 64).as_numpy_iterator())
        assert [len(labels) for _, labels in pairs] == [64, 64, 64, 8]
        np.testing.assert_array_equal(np.concatenate([labels for _, labels in pairs]), range(200))
        images = np.concatenate([images for images, _ in pairs])
        np.testing.assert_allclose(images, IMAGES / 255.0, atol=1e-7)
    assert int(transform.calls) == 200 + 2  # black and white


def as_resizing_does(images: tf.Tensor) -> tf.Tensor:
    """Black and white are whole levels, grey isn't."""
    return tf.where((images > 0) & (images < 255), images + 0.4, images) / 255.0


@pytest.mark.parametrize(
    ("change", "dtype"),
    [
        (lambda images: images / 255.0, np.uint8),
        (lambda images: (images - 33.3) / 71.7, np.uint8),
        (lambda images: (images - 33.3) / 0.5, np.uint8),
        (as_resizing_does, np.float16),
        (lambda images: tf.sqrt(images), np.float16),
        (lambda images: images * 0.0, np.float16),  # a channel without contrast
        (lambda images: images + tf.range(3.0)[:, tf.newaxis], np.float16),
    ],
)
def test_images_are_kept_in_as_few_bits_as_lose_nothing(
    files: list[str], change: Any, dtype: Any
) -> None:
    examples = dataset.preprocessed(files, TransformGraph(Transform(change)), GIB)
    assert examples.inputs.dtype == dtype
    images = np.concatenate([i for i, _ in dataset.batches(examples, 64).as_numpy_iterator()])
    expected = change(tf.constant(IMAGES, tf.float32)).numpy()
    steps = np.abs(expected).max() / 255
    tolerance = 1e-5 * steps if dtype == np.uint8 else 0.1 * steps
    np.testing.assert_allclose(images, expected, rtol=1e-6, atol=max(tolerance, 1e-6))


@pytest.mark.parametrize("budget", [GIB, 0, 90 * 6])
def test_what_the_budget_does_not_hold_is_on_disk(files: list[str], budget: int) -> None:
    examples = dataset.preprocessed(files, TransformGraph(Transform()), budget)
    assert examples.inputs.held_bytes == min(budget, 200 * 6)
    labels, sums = [], []
    for _, inputs, label in dataset.Feed(examples, 32, seed=3).batches().as_numpy_iterator():
        labels.extend(label.tolist())
        sums.extend((inputs.mean(axis=(1, 2, 3)) * 255).round().astype(int).tolist())
    assert sums == labels != sorted(labels)
    assert sorted(labels) == list(range(200))


@given(
    count=st.integers(1, 40),
    held=st.integers(0, 50),
    parts=st.lists(st.integers(0, 40), max_size=4),
    shape=st.sampled_from([(), (3,), (2, 2, 1)]),
)
def test_rows_are_what_was_put_in(
    count: int, held: int, parts: list[int], shape: tuple[int, ...]
) -> None:
    values = np.arange(count * int(np.prod(shape)), dtype=np.float32).reshape(count, *shape)
    rows = Rows(shape, np.float32, held * values[0].nbytes)
    ends = sorted({0, count, *(min(part, count) for part in parts)})
    for begin, end in pairwise(ends):
        rows.append(values[begin:end])
    order = np.random.default_rng(0).integers(count, size=2 * count)
    np.testing.assert_array_equal(rows.take(order), values[order])
    assert len(rows) == count
    assert rows.held_bytes <= held * values[0].nbytes


def epochs(feed: dataset.Feed, numbers: list[int]) -> list[list[int]]:
    """The labels of whole epochs, each from an iterator of its own as Keras makes them."""
    found = []
    for feed.epoch in numbers:
        found.append([int(n) for _, _, labels in feed.batches() for n in labels])
    return found


def of_numbers(count: int, copies: int = 1) -> dataset.Examples:
    return of_arrays(np.arange(count * copies), np.arange(count), copies)


class Kept(Transform):
    """With a place of its own."""

    transform_savedmodel_dir = "here"


@pytest.mark.parametrize("budget", [GIB, 0, 90 * 6, 250 * 6])
@pytest.mark.parametrize("change", [lambda images: images / 255.0, tf.sqrt])
def test_kept_examples_are_what_they_were_and_not_decoded_again(
    files: list[str], tmp_path: Path, budget: int, change: Any
) -> None:
    transform = Kept(change)
    place = dataset.place_for(str(tmp_path / "kept"), files, files, transform, Training())
    before = dataset.splits(files, files, transform, Training(), "Trainer", place)
    (tmp_path / "kept" / "of other data").mkdir(parents=True)
    dataset.keep(before, place)
    assert list((tmp_path / "kept").iterdir()) == [Path(place)]

    calls = int(transform.calls)
    training = Training(cache_budget=max(budget, 1) / GIB)
    after = dataset.splits(files, files, transform, training, "Trainer", place)
    assert int(transform.calls) == calls
    assert sum(split.inputs.held_bytes for split in after) <= budget
    for old, new in zip(before, after, strict=True):
        assert new.inputs.dtype == old.inputs.dtype
        for feeds in ((dataset.batches(e, 64) for e in (old, new)),
                      (dataset.Feed(e, 32, seed=3).batches() for e in (old, new))):  # fmt: skip
            for expected, found in zip(*(f.as_numpy_iterator() for f in feeds), strict=True):
                for one, other in zip(expected, found, strict=True):
                    np.testing.assert_array_equal(one, other)


def test_kept_examples_have_their_groups(files: list[str], tmp_path: Path) -> None:
    place = str(tmp_path / "kept" / "here")
    dataset.keep((of_numbers(5), of_numbers(2)), place)
    dataset.keep_groups(place, files)  # which say nothing
    assert dataset.kept(place, GIB)[0].groups is None
    of_groups = str(tmp_path / "grouped.tfrecord")
    texts = [b"b", b"", b"a", b"b", b""]
    features_of = [{features.GROUP_KEY: text} if text else {} for text in texts]
    tfrecord.write(Path(of_groups), map(tfrecord.encode_example, features_of))
    dataset.keep_groups(place, [of_groups])
    train, evaluation = dataset.kept(place, GIB)
    assert train.groups is not None
    one, alone, other, same, also_alone = train.groups.tolist()
    assert one == same
    assert len({one, alone, other, also_alone}) == 4
    assert evaluation.groups is None


def test_other_files_and_other_ways_have_another_place(tmp_path: Path) -> None:
    places = {
        dataset.place_for(str(tmp_path), *files, Kept(), Training(examples=examples))
        for files in ((["a"], ["b"]), (["a", "b"], []), (["b"], ["a"]))
        for examples in ("auto", "cached", "streamed")
    }
    assert len(places) == 9


def test_a_part_has_its_rows_alone() -> None:
    labels = np.arange(50)
    examples = of_arrays(labels[:, None].astype("float32"), labels)
    part = examples.part(np.array([3, 1, 41, 7, 9]))
    assert len(part) == 5
    assert part.first(2).ravel().tolist() == [3.0, 1.0]
    seen = [
        (int(x), int(y))
        for _, inputs, outputs in dataset.Feed(part, 2, seed=0).batches().as_numpy_iterator()
        for x, y in zip(inputs[:, 0], outputs, strict=True)
    ]
    assert sorted(seen) == [(n, n) for n in (1, 3, 7, 9, 41)]


@given(
    count=st.integers(1, 60),
    batch=st.integers(1, 17),
    chunk=st.integers(1, 9),
    steps=st.none() | st.integers(1, 12),
)
def test_chunks_change_nothing_but_how_often_python_is_asked(
    count: int, batch: int, chunk: int, steps: int | None
) -> None:
    examples = of_arrays(np.arange(count, dtype="float32")[:, None], np.arange(count))
    feed = dataset.Feed(examples, batch, seed=1, steps_per_epoch=steps)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "_CHUNK_BATCHES", chunk)
        chunks = list(islice(feed._chunks(), 20))
    unpacked = [(step, rows.tolist()) for c in chunks for step, rows in zip(*c, strict=True)]
    expected = [(step, rows.tolist()) for step, rows in islice(feed._numbered(), len(unpacked))]
    assert unpacked == expected
    assert max(len(steps) for steps, _ in chunks) <= chunk


@given(
    count=st.integers(1, 60),
    batch=st.integers(1, 17),
    replicas=st.integers(1, 6),
    steps=st.none() | st.integers(1, 12),
)
@settings(max_examples=40)
def test_replicas_share_each_batch(
    count: int, batch: int, replicas: int, steps: int | None
) -> None:
    examples = of_arrays(np.arange(count, dtype="float32")[:, None], np.arange(count))
    shares = [dataset.Share(number, replicas) for number in range(replicas)]
    whole, *feeds = (
        dataset.Feed(examples, batch, 1, steps, share) for share in (dataset.Share(), *shares)
    )
    of_each = [list(islice(feed._numbered(), 8)) for feed in (whole, *feeds)]
    for (step, rows), *parts in zip(*of_each, strict=True):
        assert {number for number, _ in parts} == {step}
        found = [part.tolist() for _, part in parts]
        assert all(found)
        if len(rows) < replicas:
            assert found == [rows.tolist()] * replicas
        else:
            assert sorted(chain(*found)) == sorted(rows.tolist())


@given(count=st.integers(1, 60), batch=st.integers(6, 17), replicas=st.integers(1, 6))
@settings(max_examples=20)
def test_replicas_share_what_is_evaluated(count: int, batch: int, replicas: int) -> None:
    examples = of_arrays(np.arange(count, dtype="float32")[:, None], np.arange(count))
    found = []
    for number in range(replicas):
        part = dataset.batches(examples, batch, dataset.Share(number, replicas))
        found.append([labels.tolist() for _, labels in part.as_numpy_iterator()])
    assert all(map(all, found))  # none is empty
    assert len({len(part) for part in found}) == 1
    rows = [list(chain(*part)) for part in found]
    if count < replicas:
        assert rows == [list(range(count))] * replicas
    else:
        assert sorted(chain(*rows)) == list(range(count))


def test_epochs_are_shuffled_anew_and_alike_for_a_seed() -> None:
    first, second = epochs(dataset.Feed(of_numbers(300), 64, seed=1), [0, 1])
    assert sorted(first) == sorted(second) == list(range(300))
    assert first != second
    assert epochs(dataset.Feed(of_numbers(300), 64, seed=1), [1, 0]) == [second, first]
    assert epochs(dataset.Feed(of_numbers(300), 64, seed=2), [0, 1]) != [first, second]


@pytest.mark.parametrize("steps", [3, 5, 7])
def test_epochs_of_a_number_of_batches_go_on_from_any(steps: int) -> None:
    feed = dataset.Feed(of_numbers(300), 64, seed=1, steps_per_epoch=steps)
    whole = list(feed.batches().take(4 * steps).as_numpy_iterator())
    feed.epoch = 2
    later = list(feed.batches().take(2 * steps).as_numpy_iterator())
    assert [step for step, _, _ in later] == list(range(2 * steps, 4 * steps))
    for a, b in zip(whole[2 * steps :], later, strict=True):
        np.testing.assert_array_equal(a[1], b[1])
    passed = np.concatenate([labels for _, _, labels in whole[:5]])
    np.testing.assert_array_equal(np.sort(passed), np.arange(300))


def test_one_of_the_copies_is_drawn_for_each_example() -> None:
    examples = of_numbers(300, copies=3)
    seen: Counter[int] = Counter()
    for _, inputs, labels in dataset.Feed(examples, 64, seed=1).batches().as_numpy_iterator():
        np.testing.assert_array_equal(inputs % 300, labels)
        seen.update((inputs // 300).tolist())
    assert seen.total() == 300
    assert min(seen[copy] for copy in range(3)) > 60


def test_classes_are_counted() -> None:
    labels = np.array([2, 0, 2, 2])
    examples = of_arrays(np.zeros((4, 1)), labels)
    assert examples.counts() == {2: 3, 0: 1}
    assert examples.constant_accuracy() == 0.75
    several = np.array([[1, 0, 0], [1, 0, 1], [1, 0, 0], [0, 0, 0]], np.float32)
    examples = of_arrays(np.zeros((4, 1)), several)
    assert examples.counts() == {0: 3, 1: 0, 2: 1}
    assert examples.constant_accuracy() == pytest.approx((0.75 + 1 + 0.75) / 3)


def test_sample_images_are_untouched(files: list[str]) -> None:
    samples = dataset.sample_images(files, count=3)
    assert samples == [encoded(pixels[..., 0]) for pixels in IMAGES[:3]]


@pytest.mark.parametrize(
    "change", [tf.math.log, lambda images: images**2 * 1e4], ids=["log", "large"]
)
def test_values_that_can_not_be_kept_are_said(files: list[str], change: Any) -> None:
    with pytest.raises(DarkroomError, match="image_fn: expected numbers within"):
        dataset.preprocessed(files, TransformGraph(Transform(change)), GIB)
