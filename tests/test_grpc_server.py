"""What TensorFlow Serving promises over gRPC, item by item, of a real server."""

from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

from tests.conftest import encoded
from tests.model_servers import Server

SECONDS = 30.0
HALF = "half_plus_two"


def predict_request(
    model: str = HALF, signature: str = "", outputs: tuple[str, ...] = (), **inputs: Any
) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest(output_filter=outputs)
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request


def examples(request: Any, *values: float, key: str = "x") -> None:
    for value in values:
        example = request.input.example_list.examples.add()
        example.features.feature[key].float_list.value.append(value)


def failure(call: Any, request: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(request, SECONDS)
    return caught.value.code(), caught.value.details()


INVALID = grpc.StatusCode.INVALID_ARGUMENT
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
NOT_FOUND = grpc.StatusCode.NOT_FOUND


def test_predict_answers_in_the_fields_of_the_type_with_the_effective_spec(
    server: Server,
) -> None:
    response = server.stub.Predict(predict_request(x=[[2.0], [4.0]]), SECONDS)
    assert response.outputs["y"].float_val == [3.0, 4.0]
    assert [dim.size for dim in response.outputs["y"].tensor_shape.dim] == [2, 1]
    assert response.model_spec.name == HALF
    assert response.model_spec.version.value == 123
    assert response.model_spec.signature_name == "serving_default"


def test_version_and_label(server: Server) -> None:
    request = predict_request(x=[2.0])
    request.model_spec.version.value = 123
    assert server.stub.Predict(request, SECONDS).outputs["y"].float_val == [3.0]
    request.model_spec.version.value = 7
    assert failure(server.stub.Predict, request) == (
        NOT_FOUND,
        "Servable not found for request: Specific(half_plus_two, 7)",
    )
    request.model_spec.version_label = "stable"
    assert server.stub.Predict(request, SECONDS).model_spec.version.value == 123
    request.model_spec.version_label = "no"
    assert failure(server.stub.Predict, request) == (
        INVALID,
        "Unrecognized servable version label: no",
    )


def test_a_name_is_required_and_must_be_known(server: Server) -> None:
    assert failure(server.stub.Predict, predict_request("", x=[1.0])) == (
        INVALID,
        "ModelSpec has no name specified.",
    )
    assert failure(server.stub.Predict, predict_request("no", x=[1.0])) == (
        NOT_FOUND,
        "Servable not found for request: Latest(no)",
    )


def test_output_filter(server: Server) -> None:
    two = {"a": np.float32([1.0]), "b": np.int64([1])}
    request = predict_request("every", "two", ("name",), **two)
    assert list(server.stub.Predict(request, SECONDS).outputs) == ["name"]
    code, message = failure(server.stub.Predict, predict_request("every", "two", ("no",), **two))
    assert code is INVALID
    assert "output tensor alias not found in signature: no" in message
    request = predict_request("every", "two", ("name", "name"), **two)
    assert failure(server.stub.Predict, request) == (
        INVALID,
        "duplicate output tensor alias: name",
    )


def test_a_missing_signature_and_wrong_inputs(server: Server) -> None:
    assert failure(server.stub.Predict, predict_request(signature="no", x=[1.0])) == (
        PRECONDITION,
        'Serving signature key "no" not found.',
    )
    code, message = failure(server.stub.Predict, predict_request(z=[1.0], w=[1.0]))
    assert code is INVALID
    assert "Sent extra: {w,z}. Missing but required: {x}." in message
    code, message = failure(server.stub.Predict, predict_request(x=[1]))
    assert code is INVALID
    assert message == 'input "x" must be of type float, received int32'


@pytest.mark.parametrize("name", ["float32", "float64", "int8", "uint64", "bool", "float16"])
def test_dtypes_come_back_as_they_were_sent(server: Server, name: str) -> None:
    values = np.array([[0, 1, 100], [1, 0, 7]]).astype(name)
    request = predict_request("every", f"echo_{name}", x=values)
    found = tf.make_ndarray(server.stub.Predict(request, SECONDS).outputs["y"])
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values)


def test_large_messages(server: Server) -> None:
    values = np.arange(900_000, dtype=np.float32)
    request = predict_request("every", "echo_float32", x=values)
    channel = grpc.insecure_channel(
        f"localhost:{server.grpc_port}", [("grpc.max_receive_message_length", -1)]
    )
    call = channel.unary_unary(
        "/tensorflow.serving.PredictionService/Predict",
        predict_pb2.PredictRequest.SerializeToString,
        predict_pb2.PredictResponse.FromString,
    )
    np.testing.assert_array_equal(
        tf.make_ndarray(call(request, timeout=SECONDS).outputs["y"]), values
    )
    request = predict_request("every", "echo_float32", x=np.zeros(2_000_000, np.float32))
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=SECONDS)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    channel.close()


def test_a_deadline_is_honoured(server: Server) -> None:
    request = predict_request("every", "slow", steps=np.int32([20_000]))
    with pytest.raises(grpc.RpcError) as caught:
        server.stub.Predict(request, 0.2)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert server.stub.Predict(predict_request(x=[2.0]), SECONDS).outputs["y"].float_val == [3.0]


def test_classify(server: Server) -> None:
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = HALF
    request.model_spec.signature_name = "classify_x_to_y"
    examples(request, 2.0, 4.0)
    response = server.stub.Classify(request, SECONDS)
    scores = [c.classes[0].score for c in response.result.classifications]
    assert scores == [3.0, 4.0]
    assert response.model_spec.signature_name == "classify_x_to_y"
    assert response.model_spec.version.value == 123
    request.model_spec.signature_name = "predict_scores"
    of_tensorflow_2 = server.stub.Classify(request, SECONDS).result
    assert of_tensorflow_2 == response.result
    request.model_spec.signature_name = "regress_x_to_y"
    code, message = failure(server.stub.Classify, request)
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert message.startswith("Expected classification signature outputs to contain at least one")
    request.model_spec.signature_name = "classify_x_to_y"
    request.ClearField("input")
    assert failure(server.stub.Classify, request) == (INVALID, "Input is empty.")


def test_classes_with_and_without_scores(server: Server) -> None:
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = HALF
    examples(request, 2.0, 4.0)
    found = {}
    for name in ("classify_both", "classify_names"):
        request.model_spec.signature_name = name
        classified = server.stub.Classify(request, SECONDS).result.classifications
        found[name] = [[(c.label, c.score) for c in each.classes] for each in classified]
    assert found["classify_both"] == [[("x", 2.0), ("y", 3.0)], [("x", 4.0), ("y", 4.0)]]
    assert found["classify_names"] == [[("x", 0.0), ("y", 0.0)]] * 2


def test_a_regression_is_a_number_for_each_example(server: Server) -> None:
    request = regression_pb2.RegressionRequest()
    request.model_spec.name = HALF
    request.model_spec.signature_name = "regress_flat"
    examples(request, 2.0, 4.0)
    found = server.stub.Regress(request, SECONDS).result.regressions
    assert [regression.value for regression in found] == [3.0, 4.0]
    request.model_spec.signature_name = "regress_wide"
    assert failure(server.stub.Regress, request)[0] is INVALID


def test_regress_with_a_common_context(server: Server) -> None:
    request = regression_pb2.RegressionRequest()
    request.model_spec.name = HALF
    request.model_spec.signature_name = "regress_x2_to_y3"
    given_input = request.input.example_list_with_context
    given_input.context.features.feature["x2"].float_list.value.append(4.0)
    for value in (1.0, 2.0):
        example = given_input.examples.add()
        example.features.feature["x"].float_list.value.append(value)
    response = server.stub.Regress(request, SECONDS)
    assert [regression.value for regression in response.result.regressions] == [5.0, 5.0]
    request.model_spec.signature_name = "no"
    assert failure(server.stub.Regress, request) == (
        INVALID,
        "No signature was found with the name: no",
    )


def inference_request(*tasks: tuple[str, str]) -> inference_pb2.MultiInferenceRequest:
    request = inference_pb2.MultiInferenceRequest()
    for signature, method in tasks:
        task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.name = HALF
        task.model_spec.signature_name = signature
    examples(request, 2.0)
    return request


def test_multi_inference(server: Server) -> None:
    request = inference_request(("regress_x_to_y", "regress"), ("classify_x_to_y", "classify"))
    results = server.stub.MultiInference(request, SECONDS).results
    assert results[0].regression_result.regressions[0].value == 3.0
    assert results[1].classification_result.classifications[0].classes[0].score == 3.0
    assert [r.model_spec.signature_name for r in results] == ["regress_x_to_y", "classify_x_to_y"]
    assert {r.model_spec.version.value for r in results} == {123}


def test_wrong_multi_inferences(server: Server) -> None:
    ask = server.stub.MultiInference
    twice = inference_request(("regress_x_to_y", "regress"), ("regress_x_to_y", "regress"))
    assert failure(ask, twice) == (INVALID, "Duplicate evaluation of signature: regress_x_to_y")
    other = inference_request(("serving_default", "predict"))
    assert failure(ask, other)[0] is grpc.StatusCode.UNIMPLEMENTED
    two_models = inference_request(("regress_x_to_y", "regress"), ("half", "regress"))
    two_models.tasks[1].model_spec.name = "every"
    assert failure(ask, two_models)[0] is INVALID
    two_inputs = inference_request(("regress_x_to_y", "regress"), ("regress_x_direct", "regress"))
    assert failure(ask, two_inputs) == (
        INVALID,
        "Input tensor must be the same for all Signatures.",
    )
    assert failure(ask, inference_pb2.MultiInferenceRequest())[0] is INVALID


def test_metadata(server: Server) -> None:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = HALF
    response = server.stub.GetModelMetadata(request, SECONDS)
    found = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(found)
    assert found.signature_def["serving_default"].inputs["x"].name == "x:0"
    assert response.model_spec.version.value == 123
    request.metadata_field[:] = ["no"]
    assert failure(server.stub.GetModelMetadata, request)[0] is INVALID
    request.metadata_field[:] = []
    assert failure(server.stub.GetModelMetadata, request)[0] is INVALID


def test_status(server: Server) -> None:
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = HALF
    [status] = server.models.GetModelStatus(request, SECONDS).model_version_status
    assert (status.version, status.state, status.status.error_code) == (123, 30, 0)
    request.model_spec.name = "no"
    assert failure(server.models.GetModelStatus, request)[0] is NOT_FOUND


def test_a_config_that_cannot_be_taken_changes_nothing(server: Server, tmp_path: Path) -> None:
    for models in (
        [("a", "/m"), ("a", "/n")],
        [("a", "relative/path")],
        [("", "/m")],
    ):
        request = model_management_pb2.ReloadConfigRequest()
        for name, path in models:
            request.config.model_config_list.config.add(
                name=name, base_path=path, model_platform="tensorflow"
            )
        assert failure(server.models.HandleReloadConfigRequest, request)[0] is INVALID
    assert server.stub.Predict(predict_request(x=[2.0]), SECONDS).outputs["y"].float_val == [3.0]


def test_health(server: Server) -> None:
    health = health_pb2_grpc.HealthStub(server.channel)
    for service in ("", "tensorflow.serving.PredictionService"):
        answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=SECONDS)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_a_bad_image_in_a_batch_fails_alone(server: Server) -> None:
    image = encoded(np.full((8, 8, 3), 255, np.uint8))
    poisoned = [3, 11, 12, 40]
    requests = [
        predict_request("images", image_bytes=[image[:-20] if at in poisoned else image])
        for at in range(64)
    ]
    calls = [server.stub.Predict.future(request, SECONDS) for request in requests]
    for at, call in enumerate(calls):
        if at in poisoned:
            error = call.exception()
            assert error.code() is INVALID
            assert "PNG" in error.details()
        else:
            assert call.result().outputs["scores"].float_val == [0.0, 1.0]


def test_what_is_no_message_is_the_clients_mistake(server: Server) -> None:
    call = server.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    with pytest.raises(grpc.RpcError) as caught:
        call(b"\xff\xff\xff", timeout=SECONDS)
    assert caught.value.code() is INVALID
    with pytest.raises(grpc.RpcError) as caught:
        server.channel.unary_unary("/tensorflow.serving.PredictionService/No")(b"", timeout=SECONDS)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


DOCUMENTED = {INVALID, PRECONDITION, NOT_FOUND, grpc.StatusCode.UNIMPLEMENTED}


@settings(max_examples=300)
@given(data=st.data())
def test_mutated_messages_get_documented_codes(server: Server, data: st.DataObject) -> None:
    content = bytearray(predict_request(x=[2.0]).SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content)))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    call = server.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    answer = call.future(bytes(content), timeout=SECONDS)
    assert answer.code() in DOCUMENTED | {grpc.StatusCode.OK}, answer.details()
