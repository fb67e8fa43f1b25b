"""The Rehearsal node: the evaluation tried on ten examples, before hours of training begin."""

import json
import os
from typing import Any, ClassVar

import keras
import tensorflow_transform as tft
from tfx import types
from tfx.dsl.components.base import base_beam_component, base_beam_executor, executor_spec
from tfx.types import artifact_utils, component_spec, standard_artifacts
from tfx.utils import io_utils

from darkroom.components.base import results, settings
from darkroom.components.base.errors import DarkroomError, explain
from darkroom.components.evaluation import evaluator
from darkroom.components.networks import export
from darkroom.components.training import dataset, fitting
from darkroom.serving import files

_EXAMPLES = 10


class Executor(base_beam_executor.BaseBeamExecutor):
    """Exports a network that knows nothing, and evaluates that with the user's settings."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Leaves an evaluation of ten examples; what it says of the network is of no interest.

        Raises:
          DarkroomError: a metric, its arguments, a slice, or a threshold's class that can't be.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        config = settings.unpack(json.loads(exec_properties["custom_config"]))
        [examples], [graph] = input_dict["examples"], input_dict["transform_graph"]
        [made] = output_dict["evaluation"]
        split = artifact_utils.get_split_uri([examples], config.evaluation.split)
        images = dataset.sample_images([io_utils.all_files_pattern(split)], evaluator.TIMED_IMAGES)
        transform = tft.TFTransformOutput(graph.uri)
        classes = fitting.class_names(transform)
        network = _stand_in(config, len(classes))
        # Beside the artifacts, where Beam's workers can read it; TFX removes it.
        model = os.path.join(self._get_tmp_dir(), "model")
        export.save(
            export.ServingModel(network, transform, classes, config.model.head), model, images
        )
        # Intervals would take TFMA as long as for the whole split, and can't fail otherwise.
        for threshold in config.evaluation.thresholds:
            threshold.judged_by = "value"
        tried = evaluator.Evaluated(model, [], examples, config.evaluation, made.uri)
        try:
            with self._make_beam_pipeline() as pipeline:
                tried.evaluate(pipeline, most=_EXAMPLES)
            _, found = tried.judge(images, trained_accuracy=None)
            files.write_json(os.path.join(made.uri, results.EVALUATION_FILE), found)
        except DarkroomError:
            raise
        except Exception as error:
            raise DarkroomError(
                f"The evaluation fails as it is configured, tried on {_EXAMPLES} examples of "
                f"the {config.evaluation.split} split: {explain(error).rstrip('.')}. Check "
                "evaluation.metrics (TFMA takes its own metrics, and those of Keras 2 as "
                "tf_keras.metrics.Metric) and evaluation.slices."
            ) from error


def _stand_in(config: Any, num_classes: int) -> keras.Model:
    """A network with the inputs and outputs of the one to come, in no time."""
    prepared, head = config.preprocessing, config.model.head
    outputs = 1 if head == "binary" else num_classes
    return keras.Sequential(
        [
            keras.Input((prepared.height, prepared.width, prepared.channels)),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(outputs, "softmax" if head == "softmax" else "sigmoid"),
        ]
    )


class RehearsalSpec(component_spec.ComponentSpec):
    """Examples and transform graph in; an evaluation out, which shows that there can be one."""

    PARAMETERS: ClassVar[dict[str, component_spec.ExecutionParameter]] = {
        "custom_config": component_spec.ExecutionParameter(type=str)
    }
    INPUTS: ClassVar[dict[str, component_spec.ChannelParameter]] = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "transform_graph": component_spec.ChannelParameter(type=standard_artifacts.TransformGraph),
    }
    OUTPUTS: ClassVar[dict[str, component_spec.ChannelParameter]] = {
        "evaluation": component_spec.ChannelParameter(type=standard_artifacts.ModelEvaluation)
    }


class Rehearsal(base_beam_component.BaseBeamComponent):
    """Fails in seconds where Evaluator would fail after the night."""

    SPEC_CLASS = RehearsalSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        transform_graph: types.BaseChannel,
        custom_config: dict[str, Any],
    ):
        """Tries what ``evaluation`` in ``custom_config`` says."""
        spec = RehearsalSpec(
            examples=examples,
            transform_graph=transform_graph,
            custom_config=json.dumps(custom_config, sort_keys=True),
            evaluation=types.Channel(type=standard_artifacts.ModelEvaluation),
        )
        super().__init__(spec=spec)
