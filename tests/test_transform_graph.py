import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from darkroom.components.base.examples import records
from darkroom.components.training import transform_graph
from darkroom.components.training.transform_graph import TransformGraph
from tests.test_dataset import IMAGES, SHAPE, Transform, as_resizing_does, written


def test_labels_come_without_a_decoded_image(tmp_path: Path) -> None:
    transform = Transform()
    graph = TransformGraph(transform)
    batch = next(iter(records([written(tmp_path)]).batch(200)))
    np.testing.assert_array_equal(graph.target(batch), range(200))
    assert int(transform.calls) == 0
    images, labels = graph.pair(batch)
    np.testing.assert_array_equal(images, graph.decode(batch))
    np.testing.assert_allclose(images, IMAGES / 255.0, atol=1e-7)
    np.testing.assert_array_equal(labels, range(200))
    assert graph.shape == SHAPE


@pytest.mark.parametrize(
    ("change", "ends"),
    [
        (lambda images: images / 255.0, (0.0, 1.0)),
        (as_resizing_does, (0.0, 1.0)),  # which only other images show
        (lambda images: images * 0.0, None),
        (lambda images: images + tf.range(3.0)[:, tf.newaxis], None),
    ],
)
def test_black_and_white_tell_the_coding(change: Any, ends: tuple[float, float] | None) -> None:
    found = TransformGraph(Transform(change)).coding.ends
    assert list(itertools.chain(*found)) == list(ends or ())


def test_few_large_batches_are_decoded_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transform_graph.os, "sched_getaffinity", lambda _: range(64))
    graph = TransformGraph(Transform())
    assert graph.parallel_calls(32) == 64
    graph.shape = (224, 224, 3)
    assert graph.parallel_calls(64) == 2**31 // (64 * 224 * 224 * 3 * 4) == 55
    assert graph.parallel_calls(10**6) == 1
