"""The gRPC side: PredictionService, ModelService and the standard health service."""

import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

from darkroom.serving.errors import Code, ServingError, invalid
from darkroom.serving.protocols.access import Keys
from darkroom.serving.server.prediction_service import PredictionService

_log = logging.getLogger(__name__)

_STATUS = {code.value[0]: code for code in grpc.StatusCode}
_PREDICTION_SERVICE = "tensorflow.serving.PredictionService"
_MODEL_SERVICE = "tensorflow.serving.ModelService"
SERVICES = (_PREDICTION_SERVICE, _MODEL_SERVICE)

_Answer = Callable[[Any], Awaitable[Message]]


class GrpcServer:
    """Listens, and turns messages into calls of the service."""

    def __init__(
        self,
        service: PredictionService,
        keys: Keys,
        max_bytes: int,
        channel_arguments: str = "",
    ):
        """Makes the server; ``listen`` and ``start`` follow.

        Args:
          service: that answers.
          keys: that clients must have.
          max_bytes: of a message.
          channel_arguments: gRPC's own, ``key=value`` separated by commas.

        Raises:
          ServingError: these can't be read.
        """
        self._service = service
        self._keys = keys
        options = {
            "grpc.max_receive_message_length": max_bytes,
            "grpc.max_send_message_length": -1,
            # Without it a second server would share the port of a first one.
            "grpc.so_reuseport": 0,
            **dict(_arguments(channel_arguments)),
        }
        self._server = grpc.aio.server(options=list(options.items()))
        self.health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        self._server.add_generic_rpc_handlers((self._prediction(), self._models()))

    def listen(self, address: str, tls: Message | None = None) -> int:
        """Adds an address, such as localhost:8500, or unix:/path.

        Args:
          address: where.
          tls: an SSLConfig.

        Returns:
          The port.

        Raises:
          ServingError: it can't be had.
        """
        try:
            if tls is None:
                return int(self._server.add_insecure_port(address))
            credentials = grpc.ssl_server_credentials(
                [(tls.server_key.encode(), tls.server_cert.encode())],
                tls.custom_ca.encode() or None,
                tls.client_verify,
            )
            return int(self._server.add_secure_port(address, credentials))
        except (RuntimeError, ValueError) as error:
            raise ServingError(
                Code.UNAVAILABLE,
                f"gRPC can't listen on {address}: is another server there? Choose another --port.",
            ) from error

    async def start(self) -> None:
        """Begins to answer."""
        await self._server.start()

    async def set_ready(self, ready: bool) -> None:
        """What the health service says, of the server and of both services."""
        serving = health_pb2.HealthCheckResponse.SERVING
        status = serving if ready else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", *SERVICES):
            await self.health.set(name, status)

    async def stop(self, grace_seconds: float) -> None:
        """Takes no more requests; those under way are finished."""
        await self.health.enter_graceful_shutdown()
        await self._server.stop(grace_seconds)

    def _prediction(self) -> grpc.GenericRpcHandler:
        service = self._service

        async def metadata(
            request: get_model_metadata_pb2.GetModelMetadataRequest,
        ) -> get_model_metadata_pb2.GetModelMetadataResponse:
            return service.metadata(request)

        return grpc.method_handlers_generic_handler(
            _PREDICTION_SERVICE,
            {
                "Predict": self._method(predict_pb2.PredictRequest, service.predict, "Predict"),
                "Classify": self._method(
                    classification_pb2.ClassificationRequest, service.classify, "Classify"
                ),
                "Regress": self._method(
                    regression_pb2.RegressionRequest, service.regress, "Regress"
                ),
                "MultiInference": self._method(
                    inference_pb2.MultiInferenceRequest, service.multi_inference, "MultiInference"
                ),
                "GetModelMetadata": self._method(
                    get_model_metadata_pb2.GetModelMetadataRequest, metadata
                ),
            },
        )

    def _models(self) -> grpc.GenericRpcHandler:
        service = self._service

        async def status(
            request: get_model_status_pb2.GetModelStatusRequest,
        ) -> get_model_status_pb2.GetModelStatusResponse:
            return service.status(request)

        async def reload(
            request: model_management_pb2.ReloadConfigRequest,
        ) -> model_management_pb2.ReloadConfigResponse:
            await service.manager.reload(request.config)
            return model_management_pb2.ReloadConfigResponse()

        return grpc.method_handlers_generic_handler(
            _MODEL_SERVICE,
            {
                "GetModelStatus": self._method(get_model_status_pb2.GetModelStatusRequest, status),
                "HandleReloadConfigRequest": self._method(
                    model_management_pb2.ReloadConfigRequest, reload
                ),
            },
        )

    def _method(
        self, kind: type[Message], answer: _Answer, counted_as: str = ""
    ) -> grpc.RpcMethodHandler:
        async def handle(content: bytes, context: grpc.aio.ServicerContext) -> bytes:
            try:
                self._keys.check(lambda name: dict(context.invocation_metadata() or ()).get(name))
                # Parsed here and not by gRPC, which would answer INTERNAL to what isn't a message.
                try:
                    request = kind.FromString(content)
                except Exception as error:
                    raise invalid(f"The request is no {kind.DESCRIPTOR.name}.") from error
                if not counted_as:
                    response = await answer(request)
                else:
                    with self._service.counted(_model_name(request), counted_as, "GRPC"):
                        response = await answer(request)
                made: bytes = response.SerializeToString()
                return made
            except ServingError as error:
                code, message = error.code, error.message
            except Exception:
                _log.exception("A %s failed.", kind.DESCRIPTOR.name)
                code, message = Code.INTERNAL, "Internal error; the server's log has more."
            await context.abort(_STATUS[code], message)
            raise AssertionError("abort raises")

        return grpc.unary_unary_rpc_method_handler(handle)


def _model_name(request: Message) -> str:
    if isinstance(request, inference_pb2.MultiInferenceRequest):
        return request.tasks[0].model_spec.name if request.tasks else ""
    return str(request.model_spec.name)


def _arguments(text: str) -> list[tuple[str, int | str]]:
    made: list[tuple[str, int | str]] = []
    for pair in filter(None, text.split(",")):
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise invalid(f"--grpc_channel_arguments: expected key=value, received {pair!r}")
        number = None
        with contextlib.suppress(ValueError):
            number = int(value)
        made.append((key, value if number is None else number))
    return made
