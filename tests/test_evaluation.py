import tensorflow_model_analysis as tfma

from components import evaluation, features
from serving import signatures


def test_the_gate_is_tfmas() -> None:
    config = evaluation.eval_config(min_accuracy=0.9, max_accuracy_drop=0.02)
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
