"""Clients without .proto files, of a real server."""

import pytest
import tensorflow as tf
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from tests.model_servers import Server

SECONDS = 30.0


def test_a_client_that_knows_no_message_finds_out_and_asks(server: Server) -> None:
    reflected = ProtoReflectionDescriptorDatabase(server.channel)
    assert reflected.get_services() == [
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "tensorflow.serving.ModelService",
        "tensorflow.serving.PredictionService",
    ]
    pool = DescriptorPool(reflected)
    service = pool.FindServiceByName("tensorflow.serving.PredictionService")
    assert [method.name for method in service.methods] == [
        "Predict", "Classify", "Regress", "MultiInference", "GetModelMetadata",
    ]  # fmt: skip
    predict = service.FindMethodByName("Predict")
    request = GetMessageClass(predict.input_type)()
    request.model_spec.name = "half_plus_two"
    request.inputs["x"].dtype = tf.float32.as_datatype_enum
    request.inputs["x"].tensor_shape.dim.add(size=1)
    request.inputs["x"].float_val.append(2.0)
    call = server.channel.unary_unary(
        f"/{service.full_name}/{predict.name}",
        type(request).SerializeToString,
        GetMessageClass(predict.output_type).FromString,
    )
    assert call(request, timeout=SECONDS).outputs["y"].float_val == [3.0]
    with pytest.raises(KeyError):
        pool.FindServiceByName("tensorflow.serving.NoService")
