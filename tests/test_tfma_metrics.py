import json
from typing import Any

import pytest

from darkroom.components.base import sections
from darkroom.components.base.errors import DarkroomError
from darkroom.components.evaluation import tfma_metrics
from darkroom.pipeline.config import load


def section(**changes: Any) -> sections.Evaluation:
    return load("digits", [f"evaluation={json.dumps(changes)}"]).evaluation


TOP_2 = {"class_name": "SparseTopKCategoricalAccuracy", "config": {"k": 2}}
FALL_OUT = {"class_name": "FallOut", "per_class": True}


def test_a_metric_that_nobody_has_is_refused() -> None:
    metrics = load("digits", ["evaluation.metrics.m={class_name: FalOut}"]).evaluation.metrics
    with pytest.raises(DarkroomError, match=r"evaluation.metrics.m.class_name: neither .*FallOut"):
        tfma_metrics.check(metrics)
    named = load("digits", ["evaluation.metrics.m={class_name: FallOut}"]).evaluation.metrics
    tfma_metrics.check(named)


def test_ones_own_metric_is_looked_for() -> None:
    own = "evaluation.metrics.m={class_name: Mine, module: tests.nowhere}"
    with pytest.raises(DarkroomError, match=r"evaluation\.metrics\.m"):
        tfma_metrics.check(load("digits", [own]).evaluation.metrics)


def test_metrics_become_tfmas() -> None:
    config = tfma_metrics.eval_config(
        section(metrics={"top_2": TOP_2, "alarms": FALL_OUT}), False, ["a", "b"]
    )
    count, top, alarms = config.metrics_specs
    assert count.metrics[0].class_name == "ExampleCount"
    assert json.loads(top.metrics[0].config) == {"k": 2, "name": "top_2"}
    assert list(alarms.binarize.class_ids.values) == [0, 1]
    assert not config.options.compute_confidence_intervals.value


@pytest.mark.parametrize(
    ("classes", "compared"),
    [(["a", "b"], {"top_2", "alarms"}), (["b", "a"], {"top_2"}), (["a", "c"], set())],
)
def test_a_baseline_is_compared_where_numbers_mean_the_same(
    classes: list[str], compared: set[str]
) -> None:
    evaluation = section(metrics={"top_2": TOP_2, "alarms": FALL_OUT})
    config = tfma_metrics.eval_config(evaluation, False, ["a", "b"], classes)
    both = {
        json.loads(spec.metrics[0].config)["name"]
        for spec in config.metrics_specs[1:]
        if not spec.model_names
    }
    assert both == compared


def test_intervals_and_slices_are_asked_for_where_thresholds_need_them() -> None:
    part = {"image/format": "PNG", "camera": "x"}
    evaluation = load(
        "digits",
        [
            "data.keep_features=[camera]",
            "evaluation="
            + json.dumps(
                {
                    "metrics": {"top_2": TOP_2},
                    "slices": {"image/format": [], "camera": []},
                    "thresholds": [{"metric": "top_2", "slice": part, "max_drop": 0.1}],
                }
            ),
        ],
    ).evaluation
    config = tfma_metrics.eval_config(evaluation, False, ["a", "b"])
    assert config.options.compute_confidence_intervals.value
    keys = {tuple(spec.feature_keys) for spec in config.slicing_specs}
    assert keys == {(), ("camera",), ("image/format",), ("camera", "image/format")}
