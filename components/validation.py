"""The ExampleValidator node: data that can't make a good model ends the run, in plain words."""

from typing import Any

from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2
from tfx import types
from tfx.components import ExampleValidator as StockExampleValidator
from tfx.components.example_validator import executor as example_validator
from tfx.dsl.components.base import executor_spec
from tfx.types import artifact_utils

from components import labels
from components.errors import DarkroomError


class Executor(example_validator.Executor):
    """TFX's ExampleValidator, which only takes note of anomalies, made into a gate."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> Any:
        """Validates every split against the schema.

        Raises:
          DarkroomError: classes in the eval split only, a single class, an empty split, examples
            without a label, or any other anomaly that TFDV reports as an error.
        """
        statistics = artifact_utils.get_single_instance(input_dict["statistics"])
        splits = artifact_utils.decode_split_names(statistics.split_names)
        counts = {split: labels.counts(statistics.uri, split) for split in splits}
        for split, classes in counts.items():
            missing = labels.missing(statistics.uri, split)
            missing += sum(count for name, count in classes.items() if not name.strip())
            if missing and any(classes):
                raise DarkroomError(
                    f"{missing:,} examples of the {split} split have no label. Give them one, or "
                    "leave them out."
                )
            if not any(classes):
                raise DarkroomError(
                    f"The {split} split has no labelled examples. "
                    f"Check data.splits.{split} and data.label_key."
                )
        train = counts.pop("train")
        for split, classes in counts.items():
            unknown = sorted(set(classes) - set(train))
            if unknown:
                raise DarkroomError(
                    f"The {split} split has images of {_quoted(unknown)}, of which the train "
                    f"split has none (it has {_quoted(sorted(train))}). Add such images to the "
                    f"train split, or take them out of the {split} split."
                )
        if len(train) == 1:
            raise DarkroomError(
                f"All images of the train split are of one class, {_quoted(list(train))}: there "
                "is nothing to tell apart. Check data.label_key, and that every class is there."
            )
        self._errors: list[str] = []
        output = super().Do(input_dict, output_dict, exec_properties)
        if self._errors:
            raise DarkroomError("The examples don't fit the schema. " + " ".join(self._errors))
        return output

    def _Validate(self, inputs: dict[str, Any], outputs: dict[str, Any]) -> Any:
        """Validates one split, without the image feature, of which there are no statistics."""
        [dataset] = inputs["statistics"].datasets
        known = {feature.path.step[0] for feature in dataset.features}
        labels_only = schema_pb2.Schema()
        labels_only.CopyFrom(inputs["schema"])
        del labels_only.feature[:]
        labels_only.feature.extend(f for f in inputs["schema"].feature if f.name in known)
        anomalies = super()._Validate({**inputs, "schema": labels_only}, outputs)
        for feature, info in anomalies.anomaly_info.items():
            if info.severity == anomalies_pb2.AnomalyInfo.ERROR:
                self._errors.append(f"{feature}: {info.description}")
        return anomalies


def _quoted(names: list[str], most: int = 10) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(name) for name in names[:most]) + more


class ExampleValidator(StockExampleValidator):
    """TFX's component with the executor above."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
