"""The gRPC side: PredictionService, ModelService, and gRPC's own of health and reflection."""

import asyncio
import contextlib
import inspect
import logging
import typing
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from darkroom.serving import telemetry
from darkroom.serving.codecs import wire
from darkroom.serving.errors import Code, ServingError, invalid
from darkroom.serving.flags import Flags
from darkroom.serving.protocols import ports
from darkroom.serving.protocols.access import Administrators, Keys
from darkroom.serving.protocols.reflection import Reflection, describe
from darkroom.serving.server.prediction_service import PredictionService

_log = logging.getLogger(__name__)

_STATUS = {code.value[0]: code for code in grpc.StatusCode}
_PREDICTION_SERVICE = "tensorflow.serving.PredictionService"
_MODEL_SERVICE = "tensorflow.serving.ModelService"
SERVICES = (_PREDICTION_SERVICE, _MODEL_SERVICE)

_SMALL = 2**18  # bytes that are parsed in some milliseconds, whatever is in them
_HANDSHAKE_SECONDS = 20  # for a connection's first words, and for an answer to a ping
_KEEP_ALIVE_SECONDS = 75  # without a word, until a client is asked whether it is there
_RELOAD, _PROFILE = _ADMINISTRATION = ("HandleReloadConfigRequest", "Profile")
_COUNTED = ("Predict", "Classify", "Regress", "MultiInference")  # as requests, in the metrics

_Answer = Callable[[Any], Any]  # a request's response, or what is awaited for it


class GrpcServer:
    """Listens, and turns messages into calls of the service."""

    def __init__(
        self,
        service: PredictionService,
        keys: Keys,
        admins: Administrators,
        flags: Flags,
        tls: Message | None,
    ):
        """Takes its ports, encrypted by an SSLConfig; raises ServingError where it can't."""
        self._service, self._keys = service, keys  # that clients must have
        self._admins, self._has_profiler = admins, flags.enable_profiler
        options = {
            "grpc.max_receive_message_length": flags.max_request_bytes,
            "grpc.max_send_message_length": -1,
            # Without it a second server would share the port of a first one.
            "grpc.so_reuseport": 0,
            # Else 300 MB are unpacked before they are refused; images are compressed already.
            "grpc.compression_enabled_algorithms_bitset": 1,
            # Clients that connect and say nothing, or have gone without a word, don't stay.
            "grpc.max_allowed_incoming_connections": ports.most_connections(),
            "grpc.server_handshake_timeout_ms": _HANDSHAKE_SECONDS * 1000,
            "grpc.keepalive_time_ms": _KEEP_ALIVE_SECONDS * 1000,
            "grpc.keepalive_timeout_ms": _HANDSHAKE_SECONDS * 1000,
            **_arguments(flags.grpc_channel_arguments),
        }
        self._server = grpc.aio.server(options=list(options.items()))
        self.health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        methods = self._methods()
        for name, own in methods.items():
            describe(name, own)
        Reflection((*methods, health.SERVICE_NAME), keys).add_to(self._server)
        self._server.add_generic_rpc_handlers(self._handlers(methods))
        if flags.port:
            self._listen(f"{flags.host}:{flags.port}", tls)
        if flags.grpc_socket_path:
            self._listen(f"unix:{flags.grpc_socket_path}", tls)

    def _listen(self, address: str, tls: Message | None) -> None:
        try:
            if tls is None:
                self._server.add_insecure_port(address)
                return
            credentials = grpc.ssl_server_credentials(
                [(tls.server_key.encode(), tls.server_cert.encode())],
                tls.custom_ca.encode() or None,
                tls.client_verify,
            )
            self._server.add_secure_port(address, credentials)
        except (RuntimeError, ValueError) as error:
            remedy = "is another server there? Choose another --port."
            message = f"gRPC can't listen on {address}: {remedy}"
            raise ServingError(Code.UNAVAILABLE, message) from error

    async def start(self) -> None:
        await self._server.start()

    async def set_ready(self, ready: bool) -> None:
        """Sets what the health service says of the server and of both services."""
        serving = health_pb2.HealthCheckResponse.SERVING
        status = serving if ready else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", *SERVICES):
            await self.health.set(name, status)

    async def stop(self, grace_seconds: float) -> None:
        """Takes no more requests; those under way are finished."""
        await self.health.enter_graceful_shutdown()
        await self._server.stop(grace_seconds)

    def _methods(self) -> dict[str, dict[str, _Answer]]:
        service = self._service
        methods: dict[str, dict[str, _Answer]] = {
            _PREDICTION_SERVICE: {
                "Predict": service.predict,
                "Classify": service.classify,
                "Regress": service.regress,
                "MultiInference": service.multi_inference,
                "GetModelMetadata": service.metadata,
            },
            _MODEL_SERVICE: {
                "GetModelStatus": service.status,
                _RELOAD: service.reload,
            },
        }
        if self._has_profiler:
            from darkroom.serving.protocols import profiler

            methods[profiler.SERVICE] = {_PROFILE: profiler.profile}
        return methods

    def _handlers(self, methods: dict[str, dict[str, _Answer]]) -> list[grpc.GenericRpcHandler]:
        return [
            grpc.method_handlers_generic_handler(
                name,
                {method: self._handler(name, method, answer) for method, answer in own.items()},
            )
            for name, own in methods.items()
        ]

    def _handler(self, service: str, method: str, answer: _Answer) -> grpc.RpcMethodHandler:
        kind: type[Message] = typing.get_type_hints(answer)["request"]
        attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}

        async def handle(content: bytes, context: grpc.aio.ServicerContext) -> bytes:
            def sent() -> dict[str, str]:  # only where somebody asks: it takes a while
                return dict(context.invocation_metadata() or ())

            with telemetry.span(f"{service}/{method}", attributes, lambda: sent().items()):
                code, message = Code.CANCELLED, ""
                try:
                    checker = self._admins if method in _ADMINISTRATION else self._keys
                    checker.check(lambda name: sent().get(name))
                    if len(content) > _SMALL:
                        await asyncio.to_thread(wire.require_few, content, kind.DESCRIPTOR)
                    # Parsed here and not by gRPC, which would answer INTERNAL to what isn't a
                    # message.
                    try:
                        request = kind.FromString(content)
                    except Exception as error:
                        raise invalid(f"The request is no {kind.DESCRIPTOR.name}.") from error
                    response = await self._answer(method, answer, request)
                    code = Code.OK
                    return response
                except ServingError as error:
                    code, message = error.code, error.message
                except Exception:
                    _log.exception("A %s failed.", kind.DESCRIPTOR.name)
                    code, message = Code.INTERNAL, "Internal error; the server's log has more."
                finally:
                    telemetry.note({"rpc.grpc.status_code": code})
                    if code.is_fault:
                        telemetry.fail(message)
                await context.abort(_STATUS[code], message)
                raise AssertionError("abort raises")

        return grpc.unary_unary_rpc_method_handler(handle)

    async def _answer(self, method: str, answer: _Answer, request: Any) -> bytes:
        if method in _COUNTED:
            tasks = getattr(request, "tasks", [request])  # MultiInference's
            name = tasks[0].model_spec.name if tasks else ""
            with self._service.counted(name, method, "GRPC"):
                response = await answer(request)
        else:
            response = answer(request)
            if inspect.isawaitable(response):
                response = await response
        return bytes(response.SerializeToString())


def _arguments(text: str) -> dict[str, int | str]:
    arguments: dict[str, int | str] = {}
    for pair in filter(None, text.split(",")):
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise invalid(f"--grpc_channel_arguments: expected key=value, received {pair!r}")
        arguments[key] = value
        with contextlib.suppress(ValueError):
            arguments[key] = int(value)
    return arguments
