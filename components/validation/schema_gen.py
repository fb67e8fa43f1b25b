"""The SchemaGen node: what the examples are expected to be, inferred or as the user wrote it."""

import math
import os
from collections.abc import Iterable, Sequence
from typing import ClassVar

import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.components.schema_gen import executor as schema_gen
from tfx.dsl.components.base import executor_spec
from tfx.types import artifact_utils, standard_artifacts

from darkroom.components.base import features
from darkroom.components.base.component import Artifacts, Component, Properties
from darkroom.components.base.errors import DarkroomError
from darkroom.components.base.settings import SchemaGenSettings
from darkroom.components.validation import artifacts, statistics
from darkroom.components.validation.statistics import SplitStatistics

# Annotation of the label by which a user asks for a number of images of each class and split.
MIN_PER_CLASS = "min_images_per_class"
# How far a class's share of a split may be from its share of another split, or of the last run.
_SHARE_THRESHOLD = 0.1
# The same for the distribution of a number: Jensen-Shannon divergence, from 0 to 1. A tenth is
# what samples of some hundred images differ by chance.
_DIVERGENCE_THRESHOLD = 0.25
# An inferred range of brightness, contrast or proportions is wider than what was seen, by this
# share of it at each end.
_MARGIN = 0.25


class Executor(schema_gen.Executor):
    """TFX's SchemaGen, with what TFDV doesn't infer: domains of any size, ranges, comparators."""

    def Do(self, inputs: Artifacts, outputs: Artifacts, properties: Properties) -> None:
        """Writes the user's schema where there is one, else infers it from all splits.

        Raises a DarkroomError where the user's schema is bad, lacks a feature, or has other labels.
        """
        [artifact] = outputs["schema"]
        path = os.path.join(artifact.uri, schema_gen.DEFAULT_FILE_NAME)
        config = SchemaGenSettings.unpack(properties["custom_config"])
        text = config.schema_text
        artifacts.write_inferred(artifact, not text)
        if text:
            targets = [f"{features.TARGET_PREFIX}{key}" for key in config.target_keys]
            tfdv.write_schema_text(_parse(text, config.multi_label, targets), path)
            return
        # A shape would be that of the labels that the examples happen to have.
        options = {"infer_feature_shape": not config.multi_label, "exclude_splits": "[]"}
        super().Do(inputs, outputs, {**properties, **options})
        [counted] = inputs["statistics"]
        names = artifact_utils.decode_split_names(counted.split_names)
        inferred = tfdv.load_schema_text(path)
        _complete(inferred, {name: SplitStatistics.read(counted.uri, name) for name in names})
        tfdv.write_schema_text(inferred, path)


def _parse(text: str, multi_label: bool, targets: Sequence[str] = ()) -> schema_pb2.Schema:
    """``targets``: the features of the numbers that are learnt; none of classes."""
    try:
        schema = text_format.Parse(text, schema_pb2.Schema())
    except text_format.ParseError as error:
        raise DarkroomError(
            f"data.schema_path: not a schema in protobuf's text format: {error}. "
            "darkroom schema prints one to start from."
        ) from None
    by_name = {feature.name: feature for feature in schema.feature}
    needed = [features.IMAGE_KEY, *(targets or [features.LABEL_KEY])]
    missing = [key for key in needed if key not in by_name]
    if missing:
        raise DarkroomError(
            f"data.schema_path: the schema lacks {' and '.join(missing)}. "
            "darkroom schema prints a whole one."
        )
    if not targets and by_name[features.LABEL_KEY].HasField("shape") == multi_label:
        raise DarkroomError(
            f"data.schema_path: {features.LABEL_KEY} has {'a' if multi_label else 'no'} shape "
            f"there, as where data.multi_label is {str(not multi_label).lower()}, and it is "
            f"{str(multi_label).lower()}. darkroom schema prints one of a run with that."
        )
    return schema


def _complete(schema: schema_pb2.Schema, splits: dict[str, SplitStatistics]) -> None:
    """Adds what keeps today's data valid and lets tomorrow's be held against them."""
    del schema.string_domain[:]  # each feature has its own
    targets = features.target_keys(feature.name for feature in schema.feature)
    numbers = [*features.FLOATS, *(key for key in targets if key != features.LABEL_KEY)]
    for feature in schema.feature:
        measured = [s.features[feature.name] for s in splits.values() if feature.name in s.features]
        if feature.name == features.LABEL_KEY:
            # TFDV infers a domain for up to 100 values only; more classes are as real.
            _set_domain(feature, splits["train"].classes)
            for comparator in (feature.skew_comparator, feature.drift_comparator):
                comparator.infinity_norm.threshold = _SHARE_THRESHOLD
            feature.annotation.tag.append(f"{MIN_PER_CLASS}=1")
        elif feature.name == features.FORMAT_KEY:
            _set_domain(feature, {n for one in measured for n in statistics.value_counts(one)})
        elif feature.name in (*features.INTEGERS, *numbers):
            low = min(one.num_stats.min for one in measured)
            high = max(one.num_stats.max for one in measured)
            if feature.name in features.INTEGERS:
                feature.int_domain.min, feature.int_domain.max = int(low), int(high)
            else:
                # The next images differ a little; two digits, which people can read.
                margin = _MARGIN * (high - low)
                least = 0.0 if feature.name in features.FLOATS else -math.inf
                step = 100 if feature.name in features.FLOATS else _step(high - low)
                feature.float_domain.min = max(least, math.floor((low - margin) * step) / step)
                feature.float_domain.max = math.ceil((high + margin) * step) / step
        if feature.name in numbers:
            for comparator in (feature.skew_comparator, feature.drift_comparator):
                comparator.jensen_shannon_divergence.threshold = _DIVERGENCE_THRESHOLD
    image = schema.feature.add(name=features.IMAGE_KEY, type=schema_pb2.BYTES)
    image.presence.min_fraction, image.presence.min_count = 1.0, 1
    image.shape.dim.add(size=1)


def _step(width: float) -> float:
    """By what a number is multiplied to be whole where two digits of such a width count."""
    return float(10.0 ** (1 - math.floor(math.log10(width)))) if width else 1.0


def _set_domain(feature: schema_pb2.Feature, values: Iterable[str]) -> None:
    feature.ClearField("domain_info")
    feature.string_domain.value.extend(sorted(values))


class SchemaGen(Component):
    """What the examples are expected to be: ``schema``, as TFX's SchemaGen makes it."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
    INPUTS: ClassVar = {"statistics": standard_artifacts.ExampleStatistics}
    OUTPUTS: ClassVar = {"schema": standard_artifacts.Schema}
