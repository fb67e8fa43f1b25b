"""The Evaluator node: TFMA's metrics, the gate, and its verdict in words."""

import json
from typing import Any

import tensorflow_model_analysis as tfma
from tfx import types
from tfx.components import Evaluator as StockEvaluator
from tfx.components.evaluator import executor as evaluator
from tfx.dsl.components.base import executor_spec
from tfx.types import artifact_utils

from components import features, results
from serving import signatures


def eval_config(
    min_accuracy: float, max_accuracy_drop: float, multi_label: bool
) -> tfma.EvalConfig:
    """What TFMA computes, and what a model must reach to be blessed.

    Args:
      min_accuracy: lowest accuracy on the eval split.
      max_accuracy_drop: how much lower than the last blessed model's accuracy it may be.
      multi_label: accuracy is the share of right answers, yes or no to each class of each image.
    """
    model = {
        "signature_name": signatures.EXAMPLES,
        "preprocessing_function_names": [signatures.TRANSFORM],
        "prediction_key": signatures.SCORES,
        "label_key": features.LABEL,
    }
    threshold = tfma.MetricThreshold(
        value_threshold=tfma.GenericValueThreshold(lower_bound={"value": min_accuracy}),
        change_threshold=tfma.GenericChangeThreshold(
            direction=tfma.MetricDirection.HIGHER_IS_BETTER, absolute={"value": -max_accuracy_drop}
        ),
    )
    kind = "Binary" if multi_label else "SparseCategorical"
    metrics = [
        tfma.MetricConfig(
            class_name=f"{kind}Accuracy",
            config=json.dumps({"name": results.ACCURACY}),
            threshold=threshold,
        ),
        tfma.MetricConfig(
            class_name=f"{kind}Crossentropy", config=json.dumps({"name": results.LOSS})
        ),
    ]
    specs = tfma.MetricsSpec(metrics=metrics)
    if multi_label:
        # Where most answers are no, the accuracy alone says little.
        specs.metrics.extend(
            tfma.MetricConfig(class_name=name.capitalize(), config=json.dumps({"name": name}))
            for name in ("precision", "recall")
        )
        specs.aggregate.micro_average = True  # each answer counts as an example
    count = tfma.MetricsSpec(metrics=[tfma.MetricConfig(class_name="ExampleCount")])
    return tfma.EvalConfig(
        model_specs=[tfma.ModelSpec(**model)],
        slicing_specs=[tfma.SlicingSpec()],
        metrics_specs=[specs, count],
    )


class Executor(evaluator.Executor):
    """TFX's Evaluator, which says that a model is not blessed, made to say why."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Evaluates the model and puts the verdict on the blessing."""
        super().Do(input_dict, output_dict, exec_properties)
        evaluation = artifact_utils.get_single_uri(output_dict["evaluation"])
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        # TFMA names the models only where there are two.
        candidate = tfma.CANDIDATE_KEY if input_dict.get("baseline_model") else ""
        verdict = {"metrics": _metrics(evaluation, candidate), "reasons": _reasons(evaluation)}
        blessing.set_string_custom_property(results.VERDICT_PROPERTY, json.dumps(verdict))


def _metrics(evaluation: str, model_name: str) -> dict[str, float]:
    """Name to value over the whole eval split."""
    return {
        pair.key.name + "_diff" * pair.key.is_diff: pair.value.double_value.value
        for whole in tfma.load_metrics(evaluation)
        for pair in whole.metric_keys_and_values
        if pair.key.model_name == model_name and pair.value.HasField("double_value")
    }


def _reasons(evaluation: str) -> list[str]:
    """A sentence for every threshold that was missed."""
    validation = tfma.load_validation_result(evaluation)
    reasons = []
    for in_slice in validation.metric_validations_per_slice:
        for failure in in_slice.failures:
            name, value = (failure.metric_key.name, failure.metric_value.double_value.value)
            threshold = failure.metric_threshold
            if failure.metric_key.is_diff:
                allowed = -threshold.change_threshold.absolute.value
                reasons.append(
                    f"{name} is {-value:.4f} lower than the last blessed model's; "
                    f"at most {allowed:.4f} is allowed"
                )
            else:
                lowest = threshold.value_threshold.lower_bound.value
                reasons.append(f"{name} is {value:.4f}, must be at least {lowest:.4f}")
    if not validation.validation_ok and not reasons:
        reasons.append("the eval split gave no metrics to compare with the thresholds")
    return reasons


class Evaluator(StockEvaluator):
    """TFX's component with the executor above."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)
