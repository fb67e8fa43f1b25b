"""The ServingValidator node: the real server on the exported model, before anybody depends on it.

TFX's InfraValidator asks for the same kind of blessing, but needs Docker or Kubernetes, and looks
neither at the answers nor at their time.
"""

import json
import os
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
from absl import logging
from tfx import types
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter
from tfx.utils import io_utils, path_utils

from darkroom.components.base import results, settings
from darkroom.components.pushing import validation_server
from darkroom.components.training import dataset
from darkroom.serving import files, pushed_files
from darkroom.serving.client import Client, GrpcClient, RequestFailed, RestClient
from darkroom.serving.predictor import Prediction, Predictor

# Of scores over the wire and in this process; kernels for other batch sizes differ in the last
# bits of a float32.
TOLERANCE = 1e-4
# As TFX's InfraValidator marks its blessing, for whoever reads it.
_BLESSED = "blessed"
_FILES = {True: "INFRA_BLESSED", False: "INFRA_NOT_BLESSED"}
_UNTIMED = 3  # first requests open connections


class Executor(base_executor.BaseExecutor):
    """Starts the server, asks it, and blesses or says why not."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes what was found, and puts the verdict on the blessing."""
        self._log_startup(input_dict, output_dict, exec_properties)
        config = settings.unpack(json.loads(exec_properties["custom_config"]))
        [model], [blessing] = input_dict["model"], output_dict["blessing"]
        evaluated = input_dict.get("model_blessing")
        found: dict[str, Any]
        if evaluated and not evaluated[0].get_int_custom_property(_BLESSED):
            found = {"reasons": ["Evaluator did not bless the model, so it was not tried"]}
        else:
            split = artifact_utils.get_split_uri(input_dict["examples"], config.split)
            images = dataset.sample_images(
                [io_utils.all_files_pattern(split)], config.validation.images
            )
            found = validate(path_utils.serving_model_path(model.uri), images, config)
        files.write_json(os.path.join(blessing.uri, results.SERVING_FILE), found)
        blessing.set_string_custom_property(results.VERDICT_PROPERTY, json.dumps(found))
        blessed = not found["reasons"]
        if not blessed:
            logging.warning("The model is not blessed for serving: %s", found["reasons"])
        io_utils.write_string_file(os.path.join(blessing.uri, _FILES[blessed]), "")
        blessing.set_int_custom_property(_BLESSED, int(blessed))


def validate(folder: str, images: Sequence[bytes], config: SimpleNamespace) -> dict[str, Any]:
    """Tries a model on a server.

    Args:
      folder: of the SavedModel.
      images: encoded, to ask about.
      config: ``validation`` and ``batching`` of the section ``serving``.

    Returns:
      ``reasons`` why it can't be served, in words, empty where it can; ``server``;
      ``ready_seconds``; ``memory_mib``; ``images``; ``largest_difference`` of a score to the
      model's own; ``latency``: of ``rest`` and ``grpc``, ``p50_ms`` and ``p99_ms`` of requests of
      one image.
    """
    limits = config.validation
    try:
        with validation_server.running(
            folder, pushed_files.batching(config.batching), limits.load_seconds
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
            found: dict[str, Any] = {
                "server": server.name,
                "ready_seconds": server.ready_seconds,
                "memory_mib": server.memory_mib(),
                "images": len(images),
                "largest_difference": difference,
                "latency": latency,
            }
    except (validation_server.ServerFailed, RequestFailed) as error:
        return {"reasons": [f"the server could not serve the model: {error}"]}
    return {"reasons": _reasons(found, limits), **found}


def _reasons(found: dict[str, Any], limits: SimpleNamespace) -> list[str]:
    reasons = []
    if not found["largest_difference"] <= TOLERANCE:
        reasons.append(
            f"scores of the server and of the model differ by {found['largest_difference']:.2g}"
        )
    for protocol, latency in found["latency"].items():
        for quantile in ("p50", "p99"):
            most = getattr(limits, f"max_latency_{quantile}_ms")
            measured = latency[f"{quantile}_ms"]
            if most is not None and measured > most:
                reasons.append(
                    f"{quantile} over {protocol} is {measured:.1f} ms, above the {most:g} ms of "
                    f"serving.validation.max_latency_{quantile}_ms"
                )
    most = limits.max_memory_mib
    if most is not None and found["memory_mib"] > most:
        reasons.append(
            f"the server takes {found['memory_mib']:.0f} MiB, above the {most} MiB of "
            "serving.validation.max_memory_mib"
        )
    return reasons


def _largest_difference(own: Sequence[Prediction], served: Sequence[Prediction]) -> float:
    largest = 0.0
    for ours, theirs in zip(own, served, strict=True):
        expected = dict(zip(ours.classes, ours.scores, strict=True))
        found = dict(zip(theirs.classes, theirs.scores, strict=True))
        if expected.keys() != found.keys():
            return float("inf")
        differences = [abs(expected[name] - found[name]) for name in expected]
        largest = max(largest, *differences)
    return largest


def _latency(client: Client, images: Sequence[bytes], requests: int) -> dict[str, float]:
    milliseconds = []
    for number in range(_UNTIMED + requests):
        start = time.perf_counter()
        client.predict([images[number % len(images)]])
        milliseconds.append(1000 * (time.perf_counter() - start))
    timed = np.array(milliseconds[_UNTIMED:])
    return {"p50_ms": float(np.quantile(timed, 0.5)), "p99_ms": float(np.quantile(timed, 0.99))}


class ServingValidatorSpec(ComponentSpec):
    """TFX's contract of InfraValidator, with darkroom's ``serving`` section in its specs' place."""

    PARAMETERS: ClassVar = {"custom_config": ExecutionParameter(type=str)}
    INPUTS: ClassVar = {
        "model": ChannelParameter(type=standard_artifacts.Model),
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "model_blessing": ChannelParameter(type=standard_artifacts.ModelBlessing, optional=True),
    }
    OUTPUTS: ClassVar = {"blessing": ChannelParameter(type=standard_artifacts.InfraBlessing)}


class ServingValidator(base_component.BaseComponent):
    """Outputs ``blessing``, which Pusher takes as ``infra_blessing``."""

    SPEC_CLASS = ServingValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        model: types.BaseChannel,
        examples: types.BaseChannel,
        custom_config: dict[str, Any],
        model_blessing: types.BaseChannel | None = None,
    ):
        """Tries ``model``, where ``model_blessing`` says yes, on images of ``examples``."""
        spec = ServingValidatorSpec(
            model=model,
            examples=examples,
            model_blessing=model_blessing,
            custom_config=json.dumps(custom_config, sort_keys=True),
            blessing=types.Channel(type=standard_artifacts.InfraBlessing),
        )
        super().__init__(spec=spec)
