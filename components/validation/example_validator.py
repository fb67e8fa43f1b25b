"""The ExampleValidator node: data that can't make a good model end the run, in plain words."""

import json
import os
from collections.abc import Iterator
from typing import Any, ClassVar

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2
from tfx import types
from tfx.components.example_validator import executor as example_validator
from tfx.dsl.components.base import executor_spec
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import io_utils, writer_utils

from darkroom.components.base import features, results
from darkroom.components.base.component import Component, existing
from darkroom.components.base.errors import DarkroomError
from darkroom.components.validation import counts
from darkroom.components.validation.schema_gen import MIN_PER_CLASS

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
# The schema keeps its bounds as float32, the statistics theirs as float64.
_ROUNDING = 1e-6


class Executor(example_validator.Executor):
    """TFX's ExampleValidator, which only takes note of anomalies, made into a gate."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Holds every split against the schema, the train split, and the last run.

        What an inferred schema finds is only noted: nobody has said yet what is to be expected.

        Raises:
          DarkroomError: classes outside the train split only, a single class, an empty split;
            with the user's own schema: every anomaly.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        [statistics], [given] = input_dict["statistics"], input_dict["schema"]
        [anomalies] = output_dict["anomalies"]
        names = artifact_utils.decode_split_names(statistics.split_names)
        anomalies.split_names = statistics.split_names
        splits = {name: counts.load(statistics.uri, name) for name in names}
        _require_classes({name: counts.of_classes(split) for name, split in splits.items()})

        schema = io_utils.SchemaReader().read(io_utils.get_only_uri_in_dir(given.uri))
        previous = _previous(existing(input_dict.get("previous_statistics")), names)
        found: dict[str, list[str]] = {}
        for name, split in splits.items():
            validated = tfdv.validate_statistics(
                split,
                _without_image(schema),
                previous_statistics=previous.get(name),
                serving_statistics=None if name == "train" else splits["train"],
            )
            folder = artifact_utils.get_split_uri([anomalies], name)
            path = os.path.join(folder, example_validator.DEFAULT_FILE_NAME)
            writer_utils.write_anomalies(path, validated)
            others = {"the last run": previous.get(name), "the train split": splits["train"]}
            found[name] = list(_sentences(name, split, schema, validated, others))

        sentences = [sentence for of_split in found.values() for sentence in of_split]
        if sentences and not given.get_int_custom_property(results.INFERRED_PROPERTY):
            raise DarkroomError(
                f"The examples don't fit the schema. {' '.join(sentences)} "
                "Mend the data, or edit the schema at data.schema_path."
            )
        blessed = {name: int(not of_split) for name, of_split in found.items()}
        anomalies.set_json_value_custom_property("blessed", blessed)
        noted = sentences + [s for name, split in splits.items() for s in _odd(name, split)]
        anomalies.set_string_custom_property(results.ANOMALIES_PROPERTY, json.dumps(noted))


def _require_classes(splits: dict[str, dict[str, int]]) -> None:
    """Raises on data of which no classifier can be made, whatever a schema says."""
    for name, classes in splits.items():
        if not any(classes):
            raise DarkroomError(
                f"The {name} split has no labelled examples. "
                f"Check data.splits.{name} and data.label_key."
            )
    train = splits["train"]
    for name, classes in splits.items():
        unknown = sorted(set(classes) - set(train))
        if unknown:
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


def _sentences(
    name: str, split: Any, schema: Any, validated: Any, others: dict[str, Any]
) -> Iterator[str]:
    """One for each anomaly of a split."""
    measured = counts.by_feature(split)
    for feature in schema.feature:
        statistics = measured.get(feature.name)
        if statistics is None:
            continue
        if feature.HasField("string_domain"):
            unknown = sorted(set(counts.values(statistics)) - set(feature.string_domain.value))
            if unknown:
                allowed = _quoted(list(feature.string_domain.value))
                yield (
                    f"{feature.name} is {_quoted(unknown)} in the {name} split; "
                    f"the schema allows {allowed}."
                )
        for kind in ("int_domain", "float_domain"):
            if feature.HasField(kind):
                domain, numbers = getattr(feature, kind), statistics.num_stats
                if numbers.min < domain.min - _ROUNDING or numbers.max > domain.max + _ROUNDING:
                    yield (
                        f"{feature.name} is {numbers.min:,.4g} to {numbers.max:,.4g} in the {name} "
                        f"split; the schema allows {domain.min:,.4g} to {domain.max:,.4g}."
                    )
        if feature.name == features.LABEL_KEY:
            yield from _too_few(name, counts.of_classes(split), feature)
    for compared in validated.drift_skew_info:
        key = compared.path.step[0]
        for whose, measurements in zip(
            others, (compared.drift_measurements, compared.skew_measurements), strict=True
        ):
            for measurement in measurements:
                if measurement.value > measurement.threshold:
                    yield _difference(name, key, split, whose, others[whose], measurement)
    for key, info in validated.anomaly_info.items():
        for reason in info.reason:
            if reason.type not in _SAID_OTHERWISE:
                yield f"{key} of the {name} split: {reason.description}"


def _too_few(name: str, classes: dict[str, int], label: Any) -> Iterator[str]:
    least = 0
    for tag in label.annotation.tag:
        key, _, value = tag.partition("=")
        if key == MIN_PER_CLASS and value.isdigit():
            least = int(value)
    few = {c: classes.get(c, 0) for c in label.string_domain.value if classes.get(c, 0) < least}
    if few:
        shown = ", ".join(f"{count:,} of {class_name!r}" for class_name, count in few.items())
        yield f"The {name} split has {shown}; the schema asks for at least {least:,} of each class."


def _difference(name: str, key: str, split: Any, whose: str, other: Any, found: Any) -> str:
    if key == features.LABEL_KEY:
        one, two = _shares(counts.of_classes(split)), _shares(counts.of_classes(other))
        worst = max({*one, *two}, key=lambda c: (abs(one.get(c, 0) - two.get(c, 0)), c))
        return (
            f"{worst!r} is {one.get(worst, 0):.1%} of the {name} split and "
            f"{two.get(worst, 0):.1%} of {whose}; the schema allows a difference of "
            f"{found.threshold:.1%}."
        )
    means = [counts.by_feature(listed)[key].num_stats.mean for listed in (split, other)]
    return (
        f"{key} of the {name} split (mean {means[0]:.3g}) is distributed otherwise than in {whose} "
        f"(mean {means[1]:.3g}): their divergence is {found.value:.2f}, the schema allows "
        f"{found.threshold:.2f}."
    )


def _odd(name: str, split: Any) -> Iterator[str]:
    """What is worth knowing whatever the schema says."""
    contrast = counts.by_feature(split).get(features.CONTRAST_KEY)
    if contrast is not None and contrast.num_stats.num_zeros:
        yield (
            f"{contrast.num_stats.num_zeros:,} images of the {name} split are of a single colour."
        )


def _previous(artifacts: list[types.Artifact], names: list[str]) -> dict[str, Any]:
    """The last run's statistics by split; nothing for a split that it didn't have."""
    return {
        name: counts.load(artifact.uri, name)
        for artifact in artifacts
        for name in artifact_utils.decode_split_names(artifact.split_names)
        if name in names
    }


def _without_image(schema: Any) -> Any:
    """The schema of what there are statistics of."""
    looked_at = schema_pb2.Schema()
    looked_at.CopyFrom(schema)
    del looked_at.feature[:]
    looked_at.feature.extend(f for f in schema.feature if f.name != features.IMAGE_KEY)
    return looked_at


def _shares(classes: dict[str, int]) -> dict[str, float]:
    total = sum(classes.values())
    return {name: count / total for name, count in classes.items()}


def _quoted(names: list[str], most: int = 10) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(name) for name in names[:most]) + more


class ExampleValidator(Component):
    """The gate of the data.

    Outputs ``anomalies``, as TFX's ExampleValidator does, with sentences for people on it.
    """

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
    INPUTS: ClassVar = {
        "statistics": standard_artifacts.ExampleStatistics,
        "schema": standard_artifacts.Schema,
    }
    OPTIONAL: ClassVar = {"previous_statistics": standard_artifacts.ExampleStatistics}
    OUTPUTS: ClassVar = {"anomalies": standard_artifacts.ExampleAnomalies}
