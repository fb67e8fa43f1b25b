"""The SchemaGen node: what the training split's labels are, and that there is an image.

Statistics are computed over the label only, never over megabytes of opaque image bytes, so the
schema that TFX infers from them lacks the image feature, which Transform needs to parse examples.
"""

import os
from typing import Any, ClassVar

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx import types
from tfx.components.schema_gen import executor as schema_gen
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import artifact_utils, standard_artifacts, standard_component_specs
from tfx.types.component_spec import ExecutionParameter

from components import labels
from components.features import LABEL


class Executor(schema_gen.Executor):
    """TFX's SchemaGen, with the whole label domain and the image feature added."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Infers the schema, and writes it with the additions."""
        super().Do(input_dict, output_dict, exec_properties)
        statistics = artifact_utils.get_single_uri(input_dict["statistics"])
        path = os.path.join(
            artifact_utils.get_single_uri(output_dict["schema"]), schema_gen.DEFAULT_FILE_NAME
        )
        schema = tfdv.load_schema_text(path)
        [label] = schema.feature
        # TFDV infers a domain for up to 100 values only; more classes are as real.
        label.ClearField("domain_info")
        del schema.string_domain[:]
        label.string_domain.name = LABEL
        label.string_domain.value.extend(sorted(labels.counts(statistics, "train")))
        schema.feature.append(_image_feature(exec_properties["image_key"]))
        tfdv.write_schema_text(schema, path)


def _image_feature(key: str) -> schema_pb2.Feature:
    feature = schema_pb2.Feature(name=key, type=schema_pb2.BYTES)
    feature.presence.min_fraction = 1.0
    feature.presence.min_count = 1
    feature.shape.dim.add(size=1)
    return feature


class SchemaGenSpec(standard_component_specs.SchemaGenSpec):
    """TFX's contract of SchemaGen, and the key of the image."""

    PARAMETERS: ClassVar[dict[str, ExecutionParameter]] = {
        **standard_component_specs.SchemaGenSpec.PARAMETERS,
        "image_key": ExecutionParameter(type=str),
    }


class SchemaGen(base_component.BaseComponent):
    """The schema of the training split.

    Outputs ``schema``, as TFX's SchemaGen does.
    """

    SPEC_CLASS = SchemaGenSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, statistics: types.BaseChannel, image_key: str):
        """Infers from the train split of ``statistics``, and adds the feature ``image_key``."""
        spec = SchemaGenSpec(
            statistics=statistics,
            image_key=image_key,
            infer_feature_shape=1,
            exclude_splits='["eval"]',
            schema=types.Channel(type=standard_artifacts.Schema),
        )
        super().__init__(spec=spec)
