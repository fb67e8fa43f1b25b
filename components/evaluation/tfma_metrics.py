"""Metrics of TFMA's or Keras's that a configuration names, beside those of every evaluation."""

import json
import math
from collections.abc import Mapping, Sequence

import tensorflow_model_analysis as tfma
from scipy import stats
from tensorflow_model_analysis.proto import config_pb2  # TFMA 0.52 itself lacks these

from darkroom.components.base import features, sections, user_code
from darkroom.components.base.errors import DarkroomError, closest
from darkroom.components.compat import tfma as compat
from darkroom.components.evaluation.measurements import Difference, Measured
from darkroom.components.evaluation.metric_names import Group, Slice
from darkroom.components.evaluation.predictions import text
from darkroom.serving import signatures

# Metric, class's number, slice, model, whether it is the difference to the baseline.
_Key = tuple[str, int | None, Slice, str, bool]


def eval_config(
    evaluation: sections.Evaluation,
    multi_label: bool,
    classes: Sequence[str],
    baseline_classes: Sequence[str] | None = None,
    of_numbers: bool = False,
) -> config_pb2.EvalConfig:
    """What TFMA computes: the number of examples, and what ``evaluation.metrics`` names."""
    model = config_pb2.ModelSpec(
        signature_name=signatures.EXAMPLES,
        preprocessing_function_names=[signatures.TRANSFORM],
        prediction_key=signatures.NUMBERS if of_numbers else signatures.SCORES,
        label_key=features.LABEL,
    )
    name = json.dumps({"name": "example_count"})
    count = config_pb2.MetricConfig(class_name="ExampleCount", config=name)
    specs = [config_pb2.MetricsSpec(metrics=[count])]
    baseline_classes = baseline_classes or classes
    for name, metric in evaluation.metrics.items():
        own = config_pb2.MetricConfig(
            class_name=metric.class_name,
            module=metric.module or "",
            config=json.dumps({**metric.config, "name": name}),
        )
        spec = config_pb2.MetricsSpec(metrics=[own])
        if metric.per_class:
            spec.binarize.class_ids.values.extend(range(len(classes)))
        elif multi_label:
            spec.aggregate.micro_average = True  # each answer counts as an example
        same = list(classes) == list(baseline_classes)
        if not (same or (not metric.per_class and set(classes) == set(baseline_classes))):
            # The baseline numbers its classes otherwise, so that it can't be compared.
            spec.model_names.append(tfma.CANDIDATE_KEY)
        specs.append(spec)
    slices = [config_pb2.SlicingSpec(feature_keys=keys) for keys in sorted(_sliced_by(evaluation))]
    config = config_pb2.EvalConfig(
        model_specs=[model], slicing_specs=[config_pb2.SlicingSpec(), *slices], metrics_specs=specs
    )
    config.options.compute_confidence_intervals.value = any(
        evaluation.metrics.get(threshold.metric) and _needs_interval(threshold)
        for threshold in evaluation.gate()
    )
    config.options.confidence_intervals.method = (
        config_pb2.ConfidenceIntervalOptions.POISSON_BOOTSTRAP
    )
    return config


def check(chosen: Mapping[str, sections.TfmaMetric]) -> None:
    """Raises a DarkroomError where a metric of ``evaluation.metrics`` doesn't exist."""
    import keras

    for name, metric in chosen.items():
        if metric.module is not None:
            path = f"{metric.module}.{metric.class_name}"
            user_code.resolve(path, f"evaluation.metrics.{name}")
            continue
        known = [*compat.metric_names(), *dir(keras.metrics), *dir(keras.losses)]
        if metric.class_name not in known:
            classes = sorted(word for word in known if word[:1].isupper())
            raise DarkroomError(
                f"evaluation.metrics.{name}.class_name: neither tfma.metrics nor keras.metrics has "
                f"{metric.class_name!r}.{closest(metric.class_name, classes)} Set module for a "
                "metric of your own."
            )


class TfmaMetrics:
    """Reads what TFMA computed."""

    def __init__(self, folder: str, classes: list[str], confidence: float):
        self._classes, self._confidence = classes, confidence
        self._measured: dict[_Key, Measured] = {}
        for in_slice in tfma.load_metrics(folder):
            part = tuple(
                sorted(
                    (key.column, text(getattr(key, key.WhichOneof("kind"))))
                    for key in in_slice.slice_key.single_slice_keys
                )
            )
            for pair in in_slice.metric_keys_and_values:
                number = pair.key.sub_key.class_id.value if pair.key.HasField("sub_key") else None
                model = pair.key.model_name or tfma.CANDIDATE_KEY
                key = (pair.key.name, number, part, model, pair.key.is_diff)
                if (measured := self._read(pair)) is not None:
                    self._measured[key] = measured

    def require(self, chosen: Mapping[str, sections.TfmaMetric]) -> None:
        """Raises DarkroomError where one of ``evaluation.metrics`` is no number."""
        computed = {metric for metric, *_ in self._measured}
        for name in chosen:
            if name not in computed:
                raise DarkroomError(
                    f"evaluation.metrics.{name}: {chosen[name].class_name} gives no single number: "
                    "choose a metric that does, or set per_class."
                )

    def measure(self, name: str, group: Group, with_interval: bool = True) -> Measured:
        """The candidate's metric, with an interval wherever TFMA computed one."""
        return self._get(name, group, tfma.CANDIDATE_KEY)

    def difference(self, name: str, group: Group, with_interval: bool = True) -> Difference | None:
        candidate = self._get(name, group, tfma.CANDIDATE_KEY).value
        baseline = self._get(name, group, tfma.BASELINE_KEY).value
        if math.isnan(baseline):
            return None
        apart = self._get(name, group, tfma.CANDIDATE_KEY, is_difference=True)
        return Difference(candidate, baseline, apart.low, apart.high)

    def _get(self, name: str, group: Group, model: str, is_difference: bool = False) -> Measured:
        number = None if group.class_name is None else self._classes.index(group.class_name)
        key = (name, number, tuple(sorted(group.slice)), model, is_difference)
        return self._measured.get(key, Measured(math.nan))

    def _read(self, pair: tfma.MetricsForSlice.MetricKeyAndValue) -> Measured | None:
        """Value and ends of the interval; None of what is no number."""
        value, interval = pair.value, pair.confidence_interval
        if value.HasField("double_value"):
            number = value.double_value.value
        elif value.HasField("bounded_value"):
            number = value.bounded_value.value.value
        else:
            return None
        if not pair.HasField("confidence_interval"):
            return Measured(number)
        freedom = interval.degrees_of_freedom.value
        error = interval.standard_error.double_value.value
        half = float(stats.t.ppf((1 + self._confidence) / 2, freedom)) * error
        return Measured(number, low=number - half, high=number + half)


def _sliced_by(evaluation: sections.Evaluation) -> set[tuple[str, ...]]:
    """Features that slice, alone or, where a threshold asks for it, several together."""
    together = {tuple(sorted(t.slice)) for t in evaluation.gate() if t.slice}
    return {(key,) for key in evaluation.slices} | together


def _needs_interval(threshold: sections.Threshold) -> bool:
    if threshold.judged_by is not None:
        return bool(threshold.judged_by != "value")
    return threshold.max_drop is not None or threshold.max_rise is not None
