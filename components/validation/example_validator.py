"""The ExampleValidator node: data that can't make a good model end the run, in plain words."""

import os
from collections.abc import Iterator
from typing import ClassVar

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2
from tfx import types
from tfx.components.example_validator import executor as example_validator
from tfx.dsl.components.base import executor_spec
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import io_utils, writer_utils

from darkroom.components.base import features
from darkroom.components.base.component import Artifacts, Component, Properties, existing
from darkroom.components.base.errors import DarkroomError
from darkroom.components.validation import artifacts
from darkroom.components.validation.schema_gen import MIN_PER_CLASS
from darkroom.components.validation.statistics import SplitStatistics, value_counts

# Said in our own words, or of no meaning to the user.
_SAID_OTHERWISE = {
    anomalies_pb2.AnomalyInfo.ENUM_TYPE_UNEXPECTED_STRING_VALUES,
    anomalies_pb2.AnomalyInfo.INT_TYPE_SMALL_INT,
    anomalies_pb2.AnomalyInfo.INT_TYPE_BIG_INT,
    anomalies_pb2.AnomalyInfo.FLOAT_TYPE_SMALL_FLOAT,
    anomalies_pb2.AnomalyInfo.FLOAT_TYPE_BIG_FLOAT,
    anomalies_pb2.AnomalyInfo.COMPARATOR_L_INFTY_HIGH,
    anomalies_pb2.AnomalyInfo.COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH,
    anomalies_pb2.AnomalyInfo.COMPARATOR_CONTROL_DATA_MISSING,
    anomalies_pb2.AnomalyInfo.COMPARATOR_TREATMENT_DATA_MISSING,
}
_ROUNDING = 1e-6  # the schema keeps its bounds as float32, the statistics theirs as float64
Compared = dict[str, SplitStatistics | None]


class Executor(example_validator.Executor):
    """TFX's ExampleValidator, which only takes note of anomalies, made into a gate."""

    def Do(self, inputs: Artifacts, outputs: Artifacts, properties: Properties) -> None:
        """Holds every split against the schema, the train split, and the last run.

        What an inferred schema finds is only noted: nobody has said yet what is to be expected. Of
        the user's own, any anomaly is a DarkroomError; so are, always, classes outside the train
        split only, a single class, an empty split.
        """
        self._log_startup(inputs, outputs, properties)
        [statistics], [schema_artifact] = inputs["statistics"], inputs["schema"]
        [anomalies] = outputs["anomalies"]
        names = artifact_utils.decode_split_names(statistics.split_names)
        anomalies.split_names = statistics.split_names
        splits = {name: SplitStatistics.read(statistics.uri, name) for name in names}
        if splits["train"].targets:
            _require_numbers(splits)
        else:
            _require_classes({name: split.classes for name, split in splits.items()})

        schema = io_utils.SchemaReader().read(io_utils.get_only_uri_in_dir(schema_artifact.uri))
        previous = _previous(existing(inputs.get("previous_statistics")), names)
        by_split: dict[str, list[str]] = {}
        for name, split in splits.items():
            last = previous.get(name)
            validated = tfdv.validate_statistics(
                split.proto,
                _without_image(schema),
                previous_statistics=last and last.proto,
                serving_statistics=None if name == "train" else splits["train"].proto,
            )
            folder = artifact_utils.get_split_uri([anomalies], name)
            path = os.path.join(folder, example_validator.DEFAULT_FILE_NAME)
            writer_utils.write_anomalies(path, validated)
            compared = {"the last run": last, "the train split": splits["train"]}
            by_split[name] = [
                *_outside_domains(split, schema),
                *_differences(split, validated, compared),
                *_others(name, validated),
            ]

        sentences = [sentence for of_split in by_split.values() for sentence in of_split]
        if sentences and not artifacts.is_inferred(schema_artifact.mlmd_artifact):
            raise DarkroomError(
                f"The examples don't fit the schema. {' '.join(sentences)} "
                "Mend the data, or edit the schema at data.schema_path."
            )
        blessed = {name: int(not of_split) for name, of_split in by_split.items()}
        anomalies.set_json_value_custom_property("blessed", blessed)
        sentences += [sentence for split in splits.values() for sentence in _odd(split)]
        artifacts.write_anomalies(anomalies, sentences)


def _require_classes(splits: dict[str, dict[str, int]]) -> None:
    for name, classes in splits.items():
        if not any(classes):
            raise DarkroomError(
                f"The {name} split has no labelled examples. "
                f"Check data.splits.{name} and data.label_key."
            )
    train = splits["train"]
    for name, classes in splits.items():
        if unknown := sorted(set(classes) - set(train)):
            raise DarkroomError(
                f"The {name} split has images of {_quoted(unknown)}, of which the train "
                f"split has none (it has {_quoted(sorted(train))}). Add such images to the "
                f"train split, or take them out of the {name} split."
            )
    if len(train) == 1:
        raise DarkroomError(
            f"The train split has a single class, {_quoted(list(train))}: there "
            "is nothing to tell apart. Check data.label_key, and that every class is there."
        )


def _require_numbers(splits: dict[str, SplitStatistics]) -> None:
    for name, split in splits.items():
        if not split.images:
            raise DarkroomError(f"The {name} split has no examples. Check data.splits.{name}.")
    for name, numbers in splits["train"].targets.items():
        if numbers.min == numbers.max:
            raise DarkroomError(
                f"{name} is {numbers.min:g} in every image of the train split: there is nothing to "
                "learn. Check data.target_keys, and that images of other values are there."
            )


def _outside_domains(split: SplitStatistics, schema: schema_pb2.Schema) -> Iterator[str]:
    """Values that the schema doesn't allow, and classes of which it asks for more images."""
    for feature in schema.feature:
        statistics = split.features.get(feature.name)
        if statistics is None:
            continue
        if feature.HasField("string_domain"):
            allowed = list(feature.string_domain.value)
            if unknown := sorted(set(value_counts(statistics)) - set(allowed)):
                yield (
                    f"{feature.name} is {_quoted(unknown)} in the {split.name} split; the schema "
                    f"allows {_quoted(allowed)}."
                )
        for kind in ("int_domain", "float_domain"):
            if feature.HasField(kind):
                domain, numbers = getattr(feature, kind), statistics.num_stats
                if numbers.min < domain.min - _ROUNDING or numbers.max > domain.max + _ROUNDING:
                    yield (
                        f"{feature.name} is {numbers.min:,.4g} to {numbers.max:,.4g} in the "
                        f"{split.name} split; the schema allows {domain.min:,.4g} to "
                        f"{domain.max:,.4g}."
                    )
        if feature.name == features.LABEL_KEY:
            yield from _too_few(split, feature)


def _too_few(split: SplitStatistics, label: schema_pb2.Feature) -> Iterator[str]:
    tags = dict(tag.partition("=")[::2] for tag in label.annotation.tag)
    asked = tags.get(MIN_PER_CLASS, "")
    least = int(asked) if asked.isdigit() else 0
    counts = {name: split.classes.get(name, 0) for name in label.string_domain.value}
    few = [f"{count:,} of {name!r}" for name, count in counts.items() if count < least]
    if few:
        yield (
            f"The {split.name} split has {', '.join(few)}; the schema asks for at least {least:,} "
            "of each class."
        )


def _differences(
    split: SplitStatistics, validated: anomalies_pb2.Anomalies, compared: Compared
) -> Iterator[str]:
    """Features that drift or skew more than the schema allows, ``compared`` with what."""
    for info in validated.drift_skew_info:
        key = info.path.step[0]
        measured = (info.drift_measurements, info.skew_measurements)
        for (whose, other), measurements in zip(compared.items(), measured, strict=True):
            for measurement in measurements:
                if other is not None and measurement.value > measurement.threshold:
                    yield _difference(key, split, whose, other, measurement)


def _difference(
    key: str,
    split: SplitStatistics,
    whose: str,
    other: SplitStatistics,
    measurement: anomalies_pb2.DriftSkewInfo.Measurement,
) -> str:
    if key == features.LABEL_KEY:
        one, two = _shares(split.classes), _shares(other.classes)
        worst = max({*one, *two}, key=lambda c: (abs(one.get(c, 0) - two.get(c, 0)), c))
        return (
            f"{worst!r} is {one.get(worst, 0):.1%} of the {split.name} split and "
            f"{two.get(worst, 0):.1%} of {whose}; the schema allows a difference of "
            f"{measurement.threshold:.1%}."
        )
    means = [statistics.features[key].num_stats.mean for statistics in (split, other)]
    return (
        f"{key} of the {split.name} split (mean {means[0]:.3g}) is distributed otherwise than in "
        f"{whose} (mean {means[1]:.3g}): their divergence is {measurement.value:.2f}, the schema "
        f"allows {measurement.threshold:.2f}."
    )


def _others(name: str, validated: anomalies_pb2.Anomalies) -> Iterator[str]:
    for key, info in validated.anomaly_info.items():
        for reason in info.reason:
            if reason.type not in _SAID_OTHERWISE:
                yield f"{key} of the {name} split: {reason.description}"


def _odd(split: SplitStatistics) -> Iterator[str]:
    contrast = split.features.get(features.CONTRAST_KEY)
    count = contrast.num_stats.num_zeros if contrast is not None else 0
    if count:
        yield f"{count:,} images of the {split.name} split are of a single colour."


def _previous(statistics: list[types.Artifact], names: list[str]) -> dict[str, SplitStatistics]:
    return {
        name: SplitStatistics.read(artifact.uri, name)
        for artifact in statistics
        for name in artifact_utils.decode_split_names(artifact.split_names)
        if name in names
    }


def _without_image(schema: schema_pb2.Schema) -> schema_pb2.Schema:
    measured = schema_pb2.Schema()
    measured.CopyFrom(schema)
    del measured.feature[:]
    measured.feature.extend(f for f in schema.feature if f.name != features.IMAGE_KEY)
    return measured


def _shares(classes: dict[str, int]) -> dict[str, float]:
    total = sum(classes.values())
    return {name: count / total for name, count in classes.items()}


def _quoted(names: list[str], most: int = 10) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(name) for name in names[:most]) + more


class ExampleValidator(Component):
    """The gate of the data; ``anomalies`` has sentences for people on it."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
    INPUTS: ClassVar = {
        "statistics": standard_artifacts.ExampleStatistics,
        "schema": standard_artifacts.Schema,
    }
    OPTIONAL: ClassVar = {"previous_statistics": standard_artifacts.ExampleStatistics}
    OUTPUTS: ClassVar = {"anomalies": standard_artifacts.ExampleAnomalies}
