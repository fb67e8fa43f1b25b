from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow.parquet as pq
import tensorflow as tf
import tensorflow_model_analysis as tfma
from hypothesis import given
from hypothesis import strategies as st

from darkroom.components.base import features
from darkroom.components.evaluation import predictions
from darkroom.components.evaluation.metrics import Numbers
from darkroom.serving import signatures

CLASSES = np.array([[b"pear", b"apple"]], object)


def batch(start: int, labels: list[bytes], scores: list[list[float]], **more: object) -> dict:
    count = len(labels)
    said = {
        signatures.SCORES: np.array(scores, np.float32),
        signatures.CLASSES: CLASSES.repeat(count, axis=0),
    }
    return {
        tfma.PREDICTIONS_KEY: said,
        tfma.FEATURES_KEY: {
            features.LABEL_KEY: np.array(labels, object).reshape(-1, 1),
            features.FILENAME_KEY: np.array([b"a.png"] * count, object).reshape(-1, 1),
            features.CONTENT_KEY: np.arange(start, start - count, -1).reshape(-1, 1),
            features.HEIGHT_KEY: np.arange(count).reshape(-1, 1) * 30,
            **more,
        },
    }


def written(batches: list[dict], path: Path, slices: dict[str, list[float]]) -> None:
    with beam.Pipeline() as pipeline:
        extracts = pipeline | beam.Create(batches, reshuffle=False)
        extracts |= predictions.cut(slices).ptransform
        outputs = predictions.evaluator(list(slices)).ptransform.expand(extracts)
        predictions.writer(str(path)).ptransform.expand(outputs)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    batches = [
        batch(9, [b"apple", b"pear", b"pear"], [[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]]),
        batch(4, [b"apple"], [[0.6, 0.4]]),
    ]
    path = tmp_path / "predictions.parquet"
    written(batches, path, {features.HEIGHT_KEY: [30, 60]})
    found = predictions.read(str(path), multi_label=False, slices=[features.HEIGHT_KEY])
    assert found is not None
    assert found.classes == ["pear", "apple"]
    assert found.contents.tolist() == [4, 7, 8, 9]  # in an order of its own
    assert found.labels == ["apple", "pear", "pear", "apple"]
    assert found.outcome.truth.tolist() == [
        [False, True],
        [True, False],
        [True, False],
        [False, True],
    ]
    assert found.outcome.scores.round(1).tolist() == [
        [0.6, 0.4],
        [0.3, 0.7],
        [0.8, 0.2],
        [0.1, 0.9],
    ]
    heights = found.slices[features.HEIGHT_KEY].tolist()
    assert heights == ["below 30", "60 or more", "30 to 60", "below 30"]
    assert found.baseline is None
    assert pq.read_table(path).column_names[:4] == ["content_hash", "filename", "label", HEIGHT]


HEIGHT = features.HEIGHT_KEY


def test_several_labels_are_kept(tmp_path: Path) -> None:
    sparse = tf.compat.v1.SparseTensorValue(
        np.array([[0, 0], [0, 1]]), np.array([b"pear", b"apple"], object), np.array([2, 2])
    )
    one = batch(2, [b"", b""], [[0.9, 0.6], [0.1, 0.2]], **{features.LABEL_KEY: sparse})
    written([one], tmp_path / "p", {})
    found = predictions.read(str(tmp_path / "p"), multi_label=True)
    assert found is not None
    assert found.labels == ["", "apple|pear"]
    assert found.outcome.truth.tolist() == [[False, False], [True, True]]
    assert found.outcome.predicted.tolist() == [[False, False], [True, True]]


def test_a_split_without_examples_has_none(tmp_path: Path) -> None:
    written([], tmp_path / "p", {})
    assert predictions.read(str(tmp_path / "p"), multi_label=False) is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.sets(st.integers(-9, 9), min_size=1))
def test_every_number_is_in_the_range_that_its_name_says(
    values: list[float], edges: set[int]
) -> None:
    rising = [float(edge) for edge in sorted(edges)]
    for value, name in zip(values, predictions.ranges(np.array(values), rising), strict=True):
        words = name.decode().split()
        if words[0] == "below":
            assert value < float(words[1])
        elif words[1] == "or":
            assert value >= float(words[0])
        else:
            assert float(words[0]) <= value < float(words[2])


def test_what_is_no_number_is_in_no_range() -> None:
    assert predictions.ranges(np.array([np.nan]), [1.0]).tolist() == [b"no number"]


def test_numbers_are_written_with_their_intervals_and_read_again(tmp_path: Path) -> None:
    said = np.array([[1.0, 20.0], [2.0, 30.0]], np.float32)
    names = np.array([[b"x", b"y"]] * 2, object)
    of_model = {
        signatures.NUMBERS: said,
        signatures.NAMES: names,
        signatures.LOW: said - 1,
        signatures.HIGH: said + 2,
    }
    of_baseline = {**of_model, signatures.NUMBERS: said + 5}
    values = batch(2, [b"", b""], [[0, 0], [0, 0]])[tfma.FEATURES_KEY]
    del values[features.LABEL_KEY]
    values |= {"image/target/y": np.array([[21.0], [29.5]]), "image/target/x": np.array([[1], [3]])}
    both = {tfma.CANDIDATE_KEY: of_model, tfma.BASELINE_KEY: of_baseline}
    path = tmp_path / "predictions.parquet"
    edges = {"image/target/x": [2.0]}
    written([{tfma.PREDICTIONS_KEY: both, tfma.FEATURES_KEY: values}], path, edges)
    found = predictions.read(str(path), multi_label=False, slices=["image/target/x"])
    assert found is not None
    assert found.classes == ["x", "y"]
    assert isinstance(found.outcome, Numbers)
    assert found.outcome.truth.tolist() == [[3, 29.5], [1, 21]]  # by content
    assert found.slices["image/target/x"].tolist() == ["2 or more", "below 2"]
    assert found.outcome.scores.tolist() == [[2, 30], [1, 20]]
    assert found.outcome.low.tolist() == [[1, 29], [0, 19]]
    assert found.compared is not None
    candidate, baseline, known = found.compared
    assert known.all()
    assert candidate.truth.tolist() == baseline.truth.tolist()
    assert baseline.scores.tolist() == [[7, 35], [6, 25]]
