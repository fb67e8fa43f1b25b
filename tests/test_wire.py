import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_serving.apis.classification_pb2 import ClassificationRequest
from tensorflow_serving.apis.inference_pb2 import MultiInferenceRequest
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from darkroom.serving.codecs import wire
from darkroom.serving.errors import ServingError


def request(**tensor: object) -> bytes:
    made = PredictRequest()
    made.model_spec.name = "digits"
    for key, value in tensor.items():
        getattr(made.inputs["x"], key).extend(value)
    return bytes(made.SerializeToString())


def examples(count: int) -> bytes:
    made = ClassificationRequest()
    for _ in range(count):
        one = made.input.example_list.examples.add()
        one.features.feature["image"].bytes_list.value.append(b"png")
    return bytes(made.SerializeToString())


@pytest.mark.parametrize(
    "content",
    [
        request(float_val=[0.5] * 1_000_000),
        request(int_val=[200] * 3_900_000),
        request(string_val=[b"a"] * 99_000),
        request(string_val=[b"a" * 10_000_000]),
    ],
    ids=["floats", "integers", "strings", "one string"],
)
def test_what_a_request_may_have(content: bytes) -> None:
    wire.require_few(content, PredictRequest.DESCRIPTOR)
    wire.require_few(examples(10_000), ClassificationRequest.DESCRIPTOR)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (request(string_val=[b""] * 100_001), PredictRequest),
        (request(int_val=[1] * 8_000_001), PredictRequest),
        (request(int64_val=[1] * 8_000_001), PredictRequest),
        (request(bool_val=[True] * 8_000_001), PredictRequest),
        (b"\x12\x00" * 100_001, PredictRequest),  # inputs
        (b"\x1a\x00" * 100_001, PredictRequest),  # the output filter
        (b"\xfa\x7f\x00" * 100_001, PredictRequest),  # a field that there is not
        (b"\x0a\x00" * 100_001, MultiInferenceRequest),  # tasks
        (examples(20_000), ClassificationRequest),
    ],
)
def test_what_is_too_much(content: bytes, kind: type[PredictRequest]) -> None:
    kind.FromString(content)
    with pytest.raises(ServingError, match="A request may have 100,000 fields"):
        wire.require_few(content, kind.DESCRIPTOR)


@given(st.binary(max_size=200), st.integers(0, 200))
def test_what_is_no_message_is_left_to_the_parser(content: bytes, at: int) -> None:
    wire.require_few(content, PredictRequest.DESCRIPTOR)
    whole = request(string_val=[b"abc", b"d"], int_val=[1, 300])
    wire.require_few(whole[:at] + content + whole[at:], PredictRequest.DESCRIPTOR)
