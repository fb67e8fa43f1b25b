"""What a request goes through, over gRPC and REST alike: model, batch, answer, metrics, log."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import ParamSpec

from google.protobuf.message import Message
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow_serving.apis import get_model_metadata_pb2 as metadata_pb2
from tensorflow_serving.apis import get_model_status_pb2 as status_pb2
from tensorflow_serving.apis import inference_pb2
from tensorflow_serving.apis.classification_pb2 import ClassificationRequest, ClassificationResponse
from tensorflow_serving.apis.inference_pb2 import InferenceResult, InferenceTask
from tensorflow_serving.apis.input_pb2 import Input
from tensorflow_serving.apis.model_management_pb2 import ReloadConfigRequest, ReloadConfigResponse
from tensorflow_serving.apis.model_pb2 import ModelSpec
from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog
from tensorflow_serving.apis.regression_pb2 import RegressionRequest, RegressionResponse

from darkroom.serving import signatures, telemetry
from darkroom.serving.errors import Code, ServingError, invalid
from darkroom.serving.server import inference
from darkroom.serving.server.batching import Batcher, Call
from darkroom.serving.server.inference import Arrays, Limits
from darkroom.serving.server.manager import Manager, Servable
from darkroom.serving.server.prometheus import Metrics
from darkroom.serving.server.request_log import RequestLog
from darkroom.serving.server.saved_model import Model

_METADATA_FIELD = "signature_def"
_SMALL = 2**18  # bytes in which images are looked at in some milliseconds, whatever they are

_P = ParamSpec("_P")


class PredictionService:
    """TensorFlow Serving's two services, without a transport."""

    def __init__(
        self, manager: Manager, batcher: Batcher, limits: Limits, metrics: Metrics, log: RequestLog
    ):
        self.manager, self.limits, self.metrics = manager, limits, metrics
        self._batcher, self._log = batcher, log

    async def close(self) -> None:
        """Unloads all models and writes what the log still has; no request may be under way."""
        await self.manager.close()
        self._batcher.close()
        self._log.close()

    @contextmanager
    def counted(self, name: str, api: str, entrypoint: str) -> Iterator[None]:
        """Counts a request and its time, under the code that it ends with."""
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

    def find(self, spec: ModelSpec) -> Servable:
        """The version that a request means; errors as of ``Manager.find``."""
        which = spec.WhichOneof("version_choice")
        if which == "version":
            return self.manager.find(spec.name, spec.version.value)
        return self.manager.find(spec.name, label=spec.version_label)

    async def predict(self, request: PredictRequest) -> PredictResponse:
        """Answers Predict on the wire's messages; raises ServingError, what the client is told."""
        servable = self.find(request.model_spec)
        with self.manager.use(servable) as model:
            name = request.model_spec.signature_name or signatures.SERVING
            signature = model.signatures.get(name)
            if signature is None:
                message = f'Serving signature key "{name}" not found.'
                raise ServingError(Code.FAILED_PRECONDITION, message)
            inputs = inference.arrays_of(request, signature, self.limits)
            wanted = request.output_filter
            call = await self._predict_call(model, signature, inputs, wanted)
            outputs = await self._run(servable, name, call)
            response = inference.predict_response(servable, name, outputs)
        self._sample("predict_log", response.model_spec, lambda: (request, response))
        return response

    async def predict_arrays(
        self, servable: Servable, model: Model, signature_name: str, inputs: Arrays
    ) -> Arrays:
        """Answers Predict on arrays, of a servable in use; errors as of ``predict``."""
        signature = model.signatures[signature_name]
        call = await self._predict_call(model, signature, inputs, ())
        outputs = await self._run(servable, signature_name, call)
        spec = ModelSpec()
        inference.write_spec(spec, servable, signature_name)
        self._sample(
            "predict_log",
            spec,
            lambda: (
                inference.predict_request(servable, signature_name, inputs),
                inference.predict_response(servable, signature_name, outputs),
            ),
        )
        return outputs

    async def _predict_call(
        self, model: Model, signature: SignatureDef, inputs: Arrays, wanted: Sequence[str]
    ) -> Call:
        options = model, signature, inputs, self.limits, wanted
        return await _looked_at(
            inference.string_bytes(inputs.values()), inference.predict_call, *options
        )

    async def _run(self, servable: Servable, signature_name: str, call: Call) -> Arrays:
        telemetry.note(
            {
                "darkroom.model.name": servable.name,
                "darkroom.model.version": servable.version,
                "darkroom.model.signature": signature_name,
                "darkroom.examples": None if call.alone else len(call.inputs[0]),
            }
        )
        return dict(zip(call.names, await self._batcher.run(call), strict=True))

    def _sample(
        self, kind: str, spec: ModelSpec, messages: Callable[[], tuple[Message, Message]]
    ) -> None:
        """Logs the request and response that ``messages`` makes, where they are in the sample."""
        config = self.manager.config(spec.name)
        if config is None or not self._log.takes(config):
            return
        request, response = messages()
        entry = PredictionLog(**{kind: {"request": request, "response": response}})
        entry.log_metadata.model_spec.CopyFrom(spec)
        self._log.put(config, entry)

    async def classify(self, request: ClassificationRequest) -> ClassificationResponse:
        [result] = await self._infer([inference.task_of(request)], request.input)
        response = ClassificationResponse(
            result=result.classification_result, model_spec=result.model_spec
        )
        self._sample("classify_log", response.model_spec, lambda: (request, response))
        return response

    async def regress(self, request: RegressionRequest) -> RegressionResponse:
        [result] = await self._infer([inference.task_of(request)], request.input)
        response = RegressionResponse(result=result.regression_result, model_spec=result.model_spec)
        self._sample("regress_log", response.model_spec, lambda: (request, response))
        return response

    async def multi_inference(
        self, request: inference_pb2.MultiInferenceRequest
    ) -> inference_pb2.MultiInferenceResponse:
        inference.check_tasks(request.tasks)
        results = await self._infer(request.tasks, request.input)
        response = inference_pb2.MultiInferenceResponse(results=results)
        self._sample("multi_inference_log", results[0].model_spec, lambda: (request, response))
        return response

    async def _infer(
        self, tasks: Sequence[InferenceTask], examples: Input
    ) -> list[InferenceResult]:
        servable = self.find(tasks[0].model_spec)
        with self.manager.use(servable) as model:
            options = model, tasks, examples, self.limits
            call = await _looked_at(examples.ByteSize(), inference.examples_call, *options)
            names = [task.model_spec.signature_name or signatures.SERVING for task in tasks]
            outputs = await self._run(servable, ",".join(names), call)
            count = len(call.inputs[0])
            self.metrics.examples.add(servable.name, count=count)
            return [inference.result(servable, model, task, outputs, count) for task in tasks]

    def metadata(
        self, request: metadata_pb2.GetModelMetadataRequest
    ) -> metadata_pb2.GetModelMetadataResponse:
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != _METADATA_FIELD:
                raise invalid(f"Metadata field {field} is not supported")
        servable, response = self.find(request.model_spec), metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = servable.name
        response.model_spec.version.value = servable.version
        assert servable.model is not None
        signature_map = metadata_pb2.SignatureDefMap(signature_def=servable.model.signatures)
        response.metadata[_METADATA_FIELD].Pack(signature_map)
        return response

    def status(
        self, request: status_pb2.GetModelStatusRequest
    ) -> status_pb2.GetModelStatusResponse:
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        spec = request.model_spec
        version = spec.version.value if spec.HasField("version") else None
        response = status_pb2.GetModelStatusResponse()
        for servable in self.manager.status(spec.name, version, spec.version_label):
            error = servable.error or ServingError(Code.OK, "")
            status = {"error_code": int(error.code), "error_message": error.message}
            response.model_version_status.add(
                version=servable.version, state=int(servable.state), status=status
            )
        return response

    async def reload(self, request: ReloadConfigRequest) -> ReloadConfigResponse:
        for model in request.config.model_config_list.config:
            self._log.check(model, self.manager.config(model.name))
        await self.manager.reload(request.config)
        return ReloadConfigResponse()


async def _looked_at(
    size: int, make: Callable[_P, Call], *args: _P.args, **kwargs: _P.kwargs
) -> Call:
    """The call that ``make`` gives, with others answered meanwhile where it looks at much."""
    if size <= _SMALL:
        return make(*args, **kwargs)
    return await asyncio.to_thread(make, *args, **kwargs)
