"""gRPC's reflection: clients such as grpcurl learn what can be asked, without .proto files."""

import typing
from collections.abc import AsyncIterator, Callable, Iterable, Mapping

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

from darkroom.serving.errors import ServingError
from darkroom.serving.protocols.access import Keys


class Reflection(reflection.aio.ReflectionServicer):
    """Describes services to those who have a key."""

    def __init__(self, services: Iterable[str], keys: Keys):
        super().__init__((*services, reflection.SERVICE_NAME))
        self._keys = keys

    def add_to(self, server: grpc.aio.Server) -> None:
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(self, server)

    async def ServerReflectionInfo(  # noqa: N802  # the protocol's name
        self,
        requests: AsyncIterator[reflection_pb2.ServerReflectionRequest],
        context: grpc.aio.ServicerContext,
    ) -> AsyncIterator[reflection_pb2.ServerReflectionResponse]:
        try:
            self._keys.check(dict(context.invocation_metadata() or ()).get)
        except ServingError as error:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, error.message)
        async for response in super().ServerReflectionInfo(requests, context):
            yield response


def describe(service: str, methods: Mapping[str, Callable[..., object]]) -> None:
    """Adds a service to what protobuf knows of, by the types of its methods.

    TensorFlow Serving's own modules of its services can't be imported with today's protobuf.
    """
    package, _, name = service.rpartition(".")
    file = FileDescriptorProto(name=f"{service}.proto", package=package, syntax="proto3")
    described = file.service.add(name=name)
    for method, function in methods.items():
        types = typing.get_type_hints(function)
        asked, answered = types["request"].DESCRIPTOR, types["return"].DESCRIPTOR
        described.method.add(
            name=method,
            input_type=f".{asked.full_name}",
            output_type=f".{answered.full_name}",
        )
        file.dependency.extend({asked.file.name, answered.file.name} - {*file.dependency})
    descriptor_pool.Default().AddSerializedFile(file.SerializeToString())
