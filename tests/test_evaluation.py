import pytest
import tensorflow_model_analysis as tfma

from components import evaluation, features
from serving import signatures


@pytest.mark.parametrize("multi_label", [False, True])
def test_the_gate_is_tfmas(multi_label: bool) -> None:
    config = evaluation.eval_config(0.9, 0.02, multi_label)
    tfma.utils.verify_eval_config(config)
    [model] = config.model_specs
    assert model.signature_name == signatures.EXAMPLES
    assert model.preprocessing_function_names == [signatures.TRANSFORM]
    assert (model.label_key, model.prediction_key) == (features.LABEL, signatures.SCORES)
    thresholds = tfma.metrics.metric_thresholds_from_metrics_specs(
        config.metrics_specs, eval_config=config
    )
    values = [t for per_slice in thresholds.values() for t in per_slice]
    texts = " ".join(str(threshold) for threshold in values)
    assert "lower_bound" in texts
    assert "0.9" in texts
    assert "-0.02" in texts
