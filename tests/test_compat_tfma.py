"""Each use of what is private of TFMA: fails where an upgrade has changed it."""

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2

from darkroom.components.compat import tfma as private


def test_the_registry_of_metrics_has_tfmas_own() -> None:
    names = private.metric_names()
    assert {"ExampleCount", "BalancedAccuracy", "FallOut"} <= names, "TFMA's registry has changed"
    assert "Metric" not in names, "TFMA registers its base classes"
    assert tfma.metrics.FallOut().__class__.__name__ in names


def test_predictions_are_extracted_in_the_stage_of_that_name() -> None:
    stage = tfma.extractors.PredictionsExtractor(config_pb2.EvalConfig()).stage_name
    assert private.predictions_stage() == stage, "TFMA's stage has another name"
