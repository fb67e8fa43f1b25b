from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from components import dataset, features, tfrecord


class Transform:
    """The transform graph's two faces that feeding uses, over a graph of one line."""

    def __init__(self) -> None:
        self.calls = tf.Variable(0)

    def raw_feature_spec(self) -> dict:
        keys = (features.IMAGE_KEY, features.LABEL_KEY, features.HEIGHT_KEY)
        return {key: tf.io.FixedLenFeature([1], tf.string) for key in keys}

    def transform_features_layer(self) -> object:
        def layer(raw: dict) -> dict:
            numbers = tf.strings.to_number(raw[features.IMAGE_KEY][:, 0], tf.int64)
            self.calls.assign_add(tf.size(numbers))
            return {features.IMAGE: tf.cast(numbers, tf.float32), features.LABEL: numbers}

        return layer


@pytest.fixture(params=["tfrecord", "tfrecord.gz"])
def files(tmp_path: Path, request: pytest.FixtureRequest) -> list[str]:
    options = "GZIP" if request.param.endswith("gz") else ""
    for part in range(3):
        path = str(tmp_path / f"{part}.{request.param}")
        with tf.io.TFRecordWriter(path, options) as writer:
            for number in range(part * 100, part * 100 + 100):
                values = {features.IMAGE_KEY: str(number).encode(), features.LABEL_KEY: b"a"}
                writer.write(tfrecord.encode_example(values))
    return [str(tmp_path / "*")]


def test_every_example_is_preprocessed_once(files: list[str]) -> None:
    transform = Transform()
    examples = dataset.preprocessed(files, transform)
    assert int(examples.cardinality()) == 300
    for _ in range(3):
        labels = [int(label) for _, label in examples]
        assert labels == list(range(300))
    assert int(transform.calls) == 300


def test_batches_are_shuffled_anew_in_each_epoch_and_alike_for_a_seed(files: list[str]) -> None:
    def epochs(seed: int) -> list[list[int]]:
        batches = dataset.batches(dataset.preprocessed(files, Transform()), 64, seed)
        assert int(batches.cardinality()) == 5
        return [[int(n) for _, labels in batches for n in labels] for _ in range(2)]

    first, second = epochs(seed=1)
    assert sorted(first) == sorted(second) == list(range(300))
    assert first != second
    assert epochs(seed=1) == [first, second]
    assert epochs(seed=2) != [first, second]


def test_without_a_seed_the_order_stays(files: list[str]) -> None:
    batches = dataset.batches(dataset.preprocessed(files, Transform()), 128)
    np.testing.assert_array_equal(np.concatenate([b[1] for b in batches]), np.arange(300))


def test_sample_images_are_untouched(files: list[str]) -> None:
    transform = SimpleNamespace(raw_feature_spec=Transform().raw_feature_spec)
    samples = dataset.sample_images(files, transform, count=3)
    assert samples == [b"0", b"1", b"2"]
