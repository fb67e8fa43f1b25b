"""What a request goes through, over gRPC and REST alike: model, batch, answer, metrics, log."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from google.protobuf.message import Message
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    input_pb2,
    model_pb2,
    predict_pb2,
    prediction_log_pb2,
    regression_pb2,
)

from darkroom.serving import signatures
from darkroom.serving.errors import Code, ServingError, invalid
from darkroom.serving.server import inference
from darkroom.serving.server.batching import Batcher
from darkroom.serving.server.inference import Limits
from darkroom.serving.server.manager import Manager
from darkroom.serving.server.prometheus import Metrics
from darkroom.serving.server.request_log import RequestLog
from darkroom.serving.server.servable import Model, Servable

_METADATA_FIELD = "signature_def"


class PredictionService:
    """TensorFlow Serving's two services, but for their transport."""

    def __init__(
        self,
        manager: Manager,
        batcher: Batcher,
        limits: Limits,
        metrics: Metrics,
        log: RequestLog,
    ):
        """Puts together what was made elsewhere."""
        self.manager = manager
        self.limits = limits
        self.metrics = metrics
        self._batcher = batcher
        self._log = log

    async def close(self) -> None:
        """Unloads all models and writes what the log still has; no request may be under way."""
        await self.manager.close()
        self._batcher.close()
        self._log.close()

    @contextmanager
    def counted(self, name: str, api: str, entrypoint: str) -> Iterator[None]:
        """Counts a request and its time, and turns what nobody expected into INTERNAL."""
        start = time.perf_counter()
        code = Code.OK
        try:
            yield
        except ServingError as error:
            code = error.code
            raise
        except asyncio.CancelledError:
            code = Code.CANCELLED
            raise
        except Exception:
            code = Code.INTERNAL
            raise
        finally:
            # Unknown names are left out: a client could make up any number of them.
            if self.manager.config(name) is not None:
                self.metrics.requests.add(name, code.name)
                self.metrics.latency.add(name, api, entrypoint, seconds=time.perf_counter() - start)

    def find(self, spec: model_pb2.ModelSpec) -> Servable:
        """The version that a request means; errors as of ``Manager.find``."""
        which = spec.WhichOneof("version_choice")
        if which == "version":
            return self.manager.find(spec.name, spec.version.value)
        return self.manager.find(spec.name, label=spec.version_label)

    async def predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        """Predict on the wire's messages.

        Raises:
          ServingError: what the client is told.
        """
        servable = self.find(request.model_spec)
        with self.manager.use(servable) as model:
            name = request.model_spec.signature_name or signatures.SERVING
            signature = model.signatures.get(name)
            if signature is None:
                raise ServingError(
                    Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.'
                )
            inputs = inference.arrays_of(request, signature, self.limits)
            call, names = inference.predict_call(
                model, signature, inputs, self.limits, request.output_filter
            )
            outputs = await self._batcher.run(call)
            response = inference.predict_response(servable, name, names, outputs)
        self._sample("predict_log", response.model_spec, lambda: (request, response))
        return response

    async def predict_arrays(
        self,
        servable: Servable,
        model: Model,
        signature_name: str,
        inputs: Mapping[str, np.ndarray],
    ) -> dict[str, np.ndarray]:
        """Predict on arrays, of a servable in use; errors as of ``predict``."""
        call, names = inference.predict_call(
            model, model.signatures[signature_name], inputs, self.limits
        )
        outputs = await self._batcher.run(call)
        spec = model_pb2.ModelSpec()
        inference.write_spec(spec, servable, signature_name)
        self._sample(
            "predict_log",
            spec,
            lambda: (
                inference.predict_request(servable, signature_name, inputs),
                inference.predict_response(servable, signature_name, names, outputs),
            ),
        )
        return dict(zip(names, outputs, strict=True))

    def _sample(
        self, kind: str, spec: model_pb2.ModelSpec, made: Callable[[], tuple[Message, Message]]
    ) -> None:
        """Logs a request and its response, where they are in the sample."""
        config = self.manager.config(spec.name)
        if config is None or not self._log.takes(config):
            return
        entry = prediction_log_pb2.PredictionLog()
        request, response = made()
        getattr(entry, kind).request.CopyFrom(request)
        getattr(entry, kind).response.CopyFrom(response)
        entry.log_metadata.model_spec.CopyFrom(spec)
        self._log.put(config, entry)

    async def classify(
        self, request: classification_pb2.ClassificationRequest
    ) -> classification_pb2.ClassificationResponse:
        """Classify; errors as of ``predict``."""
        task = inference.task(request.model_spec, inference.CLASSIFY)
        [result] = await self._infer([task], request.input)
        response = classification_pb2.ClassificationResponse()
        response.result.CopyFrom(result.classification_result)
        response.model_spec.CopyFrom(result.model_spec)
        self._sample("classify_log", response.model_spec, lambda: (request, response))
        return response

    async def regress(
        self, request: regression_pb2.RegressionRequest
    ) -> regression_pb2.RegressionResponse:
        """Regress; errors as of ``predict``."""
        task = inference.task(request.model_spec, inference.REGRESS)
        [result] = await self._infer([task], request.input)
        response = regression_pb2.RegressionResponse()
        response.result.CopyFrom(result.regression_result)
        response.model_spec.CopyFrom(result.model_spec)
        self._sample("regress_log", response.model_spec, lambda: (request, response))
        return response

    async def multi_inference(
        self, request: inference_pb2.MultiInferenceRequest
    ) -> inference_pb2.MultiInferenceResponse:
        """MultiInference; errors as of ``predict``."""
        inference.check_tasks(request)
        results = await self._infer(request.tasks, request.input)
        response = inference_pb2.MultiInferenceResponse(results=results)
        self._sample("multi_inference_log", results[0].model_spec, lambda: (request, response))
        return response

    async def _infer(
        self, tasks: Sequence[inference_pb2.InferenceTask], given: input_pb2.Input
    ) -> list[inference_pb2.InferenceResult]:
        servable = self.find(tasks[0].model_spec)
        with self.manager.use(servable) as model:
            call, names = inference.examples_call(model, tasks, given, self.limits)
            outputs = dict(zip(names, await self._batcher.run(call), strict=True))
            count = len(call.inputs[0])
            self.metrics.examples.add(servable.name, count=count)
            return [inference.result(servable, model, task, outputs, count) for task in tasks]

    def metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """GetModelMetadata; errors as of ``predict``."""
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != _METADATA_FIELD:
                raise invalid(f"Metadata field {field} is not supported")
        servable = self.find(request.model_spec)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = servable.name
        response.model_spec.version.value = servable.version
        signature_map = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in _signatures(servable).items():
            signature_map.signature_def[name].CopyFrom(signature)
        response.metadata[_METADATA_FIELD].Pack(signature_map)
        return response

    def status(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """GetModelStatus; errors as of ``predict``."""
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        spec = request.model_spec
        version = spec.version.value if spec.HasField("version") else None
        response = get_model_status_pb2.GetModelStatusResponse()
        for servable in self.manager.status(spec.name, version, spec.version_label):
            made = response.model_version_status.add(
                version=servable.version, state=int(servable.state)
            )
            made.status.error_code = int(servable.error.code) if servable.error else 0
            made.status.error_message = servable.error.message if servable.error else ""
        return response


def _signatures(servable: Servable) -> Mapping[str, SignatureDef]:
    assert servable.model is not None
    return servable.model.signatures
