"""The ServingValidator node: the real server on the exported model, before anybody depends on it.

TFX's InfraValidator needs Docker or Kubernetes, and looks neither at answers nor at their time.
"""

import os
from collections.abc import Sequence
from typing import ClassVar

from absl import logging
from tfx.dsl.components.base import base_executor, executor_spec
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import io_utils, path_utils

from darkroom.components.base import examples as base_examples
from darkroom.components.base import sections
from darkroom.components.base.component import Artifacts, Component, Properties
from darkroom.components.base.settings import ServingValidatorSettings
from darkroom.components.evaluation import cost
from darkroom.components.pushing import validation_server
from darkroom.components.pushing.artifacts import Latency, Measured, ServingValidation
from darkroom.serving import pushed_files
from darkroom.serving.client import Client, GrpcClient, RequestFailed, RestClient
from darkroom.serving.predictor import Prediction, Predictor, Regression

# How far scores over the wire may be from this process's: kernels for other batch sizes differ in
# the last bits of a float32.
TOLERANCE = 1e-4
# As TFX's InfraValidator marks its blessing, for whoever reads it.
_BLESSED = "blessed"
_FILES = {True: "INFRA_BLESSED", False: "INFRA_NOT_BLESSED"}


class Executor(base_executor.BaseExecutor):
    """Starts the server, asks it, and blesses or says why not."""

    def Do(self, inputs: Artifacts, outputs: Artifacts, properties: Properties) -> None:
        self._log_startup(inputs, outputs, properties)
        settings = ServingValidatorSettings.unpack(properties["custom_config"])
        [model], [blessing] = inputs["model"], outputs["blessing"]
        evaluated = inputs.get("model_blessing")
        if evaluated and not evaluated[0].get_int_custom_property(_BLESSED):
            reason = "Evaluator did not bless the model, so it was not tried"
            validation = ServingValidation(reasons=[reason])
        else:
            split = artifact_utils.get_split_uri(inputs["examples"], settings.split)
            images = base_examples.sample_images(
                [io_utils.all_files_pattern(split)], settings.validation.images
            )
            validation = validate(path_utils.serving_model_path(model.uri), images, settings)
        validation.write(blessing)
        blessed = not validation.reasons
        if not blessed:
            logging.warning("The model is not blessed for serving: %s", validation.reasons)
        io_utils.write_string_file(os.path.join(blessing.uri, _FILES[blessed]), "")
        blessing.set_int_custom_property(_BLESSED, int(blessed))


def validate(
    folder: str, images: Sequence[bytes], settings: ServingValidatorSettings
) -> ServingValidation:
    """Asks a server with the SavedModel in ``folder`` about encoded images."""
    limits = settings.validation
    try:
        with validation_server.running(
            folder, pushed_files.batching(settings.batching), limits.load_seconds
        ) as server:
            own = Predictor(folder).predict_all(images)
            name = validation_server.MODEL
            clients: dict[str, Client] = {
                "rest": RestClient(server.url, name),
                "grpc": GrpcClient(server.address, name),
            }
            difference, latency = 0.0, {}
            for protocol, client in clients.items():
                with client:
                    difference = max(difference, _largest_difference(own, client.predict(images)))
                    latency[protocol] = _latency(client, images, limits.requests)
            measured = Measured(
                server=server.name,
                ready_seconds=server.ready_seconds,
                memory_mib=server.memory_mib(),
                images=len(images),
                largest_difference=difference,
                latency=latency,
            )
    except (validation_server.ServerFailed, RequestFailed) as error:
        return ServingValidation(reasons=[f"the server could not serve the model: {error}"])
    return ServingValidation(reasons=_reasons(measured, limits), measured=measured)


def _reasons(measured: Measured, limits: sections.Validation) -> list[str]:
    reasons = []
    if not measured.largest_difference <= TOLERANCE:
        reasons.append(
            f"scores of the server and of the model differ by {measured.largest_difference:.2g}"
        )
    for protocol, latency in measured.latency.items():
        for quantile, milliseconds, most in (
            ("p50", latency.p50_ms, limits.max_latency_p50_ms),
            ("p99", latency.p99_ms, limits.max_latency_p99_ms),
        ):
            if most is not None and milliseconds > most:
                reasons.append(
                    f"{quantile} over {protocol} is {milliseconds:.1f} ms, above the {most:g} ms "
                    f"of serving.validation.max_latency_{quantile}_ms"
                )
    most_mib = limits.max_memory_mib
    if most_mib is not None and measured.memory_mib > most_mib:
        reasons.append(
            f"the server takes {measured.memory_mib:.0f} MiB, above the {most_mib} MiB of "
            "serving.validation.max_memory_mib"
        )
    return reasons


def _largest_difference(own: Sequence[Prediction], served: Sequence[Prediction]) -> float:
    largest = 0.0
    for ours, theirs in zip(own, served, strict=True):
        expected = dict(zip(ours.classes, ours.scores, strict=True))
        received = dict(zip(theirs.classes, theirs.scores, strict=True))
        if expected.keys() != received.keys():
            return float("inf")
        differences = [abs(expected[name] - received[name]) for name in expected]
        if isinstance(ours, Regression):  # as shares of what they are, or may be
            ends = zip(ours.scores, ours.intervals, strict=True)
            sizes = [max(abs(number), high - low) or 1.0 for number, (low, high) in ends]
            differences = [apart / size for apart, size in zip(differences, sizes, strict=True)]
        largest = max(largest, *differences)
    return largest


def _latency(client: Client, images: Sequence[bytes], requests: int) -> Latency:
    times = cost.time_requests(lambda image: client.predict([image]), images, requests)
    return Latency(p50_ms=times.p50_ms, p99_ms=times.p99_ms)


class ServingValidator(Component):
    """Outputs ``blessing``, which Pusher takes as ``infra_blessing``."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
    INPUTS: ClassVar = {"model": standard_artifacts.Model, "examples": standard_artifacts.Examples}
    OPTIONAL: ClassVar = {"model_blessing": standard_artifacts.ModelBlessing}
    OUTPUTS: ClassVar = {"blessing": standard_artifacts.InfraBlessing}
