"""The Rehearsal node: the evaluation tried on ten examples, before hours of training begin."""

import os
from typing import ClassVar

import keras
import tensorflow_transform as tft
from tfx.dsl.components.base import base_beam_executor, executor_spec
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import io_utils

from darkroom.components.base import examples as base_examples
from darkroom.components.base.component import Artifacts, BeamComponent, Properties
from darkroom.components.base.errors import DarkroomError, explain
from darkroom.components.base.settings import RehearsalSettings
from darkroom.components.evaluation.candidate import TIMED_IMAGES, Candidate
from darkroom.components.ingestion.inspection_report import InspectionReport
from darkroom.components.networks import export
from darkroom.components.transform import vocabulary

_EXAMPLES = 10


class Executor(base_beam_executor.BaseBeamExecutor):
    """Exports a network that knows nothing, and evaluates that with the user's settings."""

    def Do(self, inputs: Artifacts, outputs: Artifacts, properties: Properties) -> None:
        """Leaves an evaluation of ten examples; what it says of the network is of no interest.

        Raises a DarkroomError where the train split doesn't fill a batch, or a metric, its
        arguments, a slice or a threshold's class fails.
        """
        self._log_startup(inputs, outputs, properties)
        config = RehearsalSettings.unpack(properties["custom_config"])
        [examples], [graph] = inputs["examples"], inputs["transform_graph"]
        [artifact] = outputs["evaluation"]
        train = InspectionReport.read(examples.uri).splits["train"].images
        base_examples.check_batch(config.batch_size, train)
        split = artifact_utils.get_split_uri([examples], config.evaluation.split)
        images = base_examples.sample_images([io_utils.all_files_pattern(split)], TIMED_IMAGES)
        transform = tft.TFTransformOutput(graph.uri)
        classes = vocabulary.class_names(transform)
        network = _stand_in(config, len(classes))
        # Beside the artifacts, where Beam's workers can read it; TFX removes it.
        model = os.path.join(self._get_tmp_dir(), "model")
        export.save(export.of_head(network, transform, classes, config.head), model, images)
        # Intervals would take TFMA as long as for the whole split, and can't fail otherwise.
        values = [t.model_copy(update={"judged_by": "value"}) for t in config.evaluation.thresholds]
        evaluation = config.evaluation.model_copy(update={"thresholds": values})
        candidate = Candidate(model, [], examples, evaluation, artifact.uri)
        try:
            with self._make_beam_pipeline() as pipeline:
                candidate.evaluate(pipeline, most=_EXAMPLES)
            candidate.judge(trained=None).write(artifact.uri)
        except DarkroomError:
            raise
        except Exception as error:
            raise DarkroomError(
                f"The evaluation fails as it is configured, tried on {_EXAMPLES} examples of "
                f"the {config.evaluation.split} split: {explain(error).rstrip('.')}. Check "
                "evaluation.metrics (TFMA takes its own metrics, and those of Keras 2 as "
                "tf_keras.metrics.Metric) and evaluation.slices."
            ) from error


def _stand_in(config: RehearsalSettings, num_classes: int) -> keras.Model:
    """A network with the inputs and outputs of the one to come, in no time."""
    prepared, head = config.preprocessing, config.head
    outputs = 1 if head == "binary" else num_classes
    return keras.Sequential(
        [
            keras.Input((prepared.height, prepared.width, prepared.channels)),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(
                outputs, {"softmax": "softmax", "regression": None}.get(head, "sigmoid")
            ),
        ]
    )


class Rehearsal(BeamComponent):
    """Fails in seconds where Evaluator would fail after the night."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)
    INPUTS: ClassVar = {
        "examples": standard_artifacts.Examples,
        "transform_graph": standard_artifacts.TransformGraph,
    }
    OUTPUTS: ClassVar = {"evaluation": standard_artifacts.ModelEvaluation}
