from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tensorflow.core.framework import types_pb2
from tensorflow.core.framework.tensor_pb2 import TensorProto

from darkroom.serving.codecs import tensors
from darkroom.serving.errors import Code, ServingError

ROOM = 10**6  # bytes
FIELDS = {
    "bool": "bool_val",
    "int8": "int_val",
    "int16": "int_val",
    "int32": "int_val",
    "uint8": "int_val",
    "uint16": "int_val",
    "int64": "int64_val",
    "uint32": "uint32_val",
    "uint64": "uint64_val",
    "float16": "half_val",
    "float32": "float_val",
    "float64": "double_val",
}
SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
NUMBERS = st.sampled_from(list(FIELDS)).flatmap(lambda name: arrays.arrays(name, SHAPES))
TEXTS = SHAPES.flatmap(
    lambda shape: arrays.arrays(object, shape, elements=st.binary(max_size=9), fill=st.nothing())
)


def proto(dtype: int, shape: Any, **fields: Any) -> TensorProto:
    made = TensorProto(dtype=dtype, **fields)
    for size in shape:
        made.tensor_shape.dim.add().size = size
    return made


def refused(given: TensorProto, room: int = ROOM) -> str:
    with pytest.raises(ServingError) as raised:
        tensors.to_array("x", given, room)
    assert raised.value.code is Code.INVALID_ARGUMENT
    return raised.value.message


def same(got: np.ndarray, wanted: np.ndarray) -> None:
    assert got.dtype == wanted.dtype
    assert got.shape == wanted.shape
    np.testing.assert_array_equal(got, wanted)


@given(NUMBERS | TEXTS)
def test_what_is_filled_in_tensorflow_reads_and_so_do_we(array: np.ndarray) -> None:
    filled = TensorProto()
    tensors.fill(filled, array)
    assert not filled.tensor_content
    same(tf.make_ndarray(filled), array)
    same(tensors.to_array("x", filled, ROOM), array)


@given(NUMBERS | TEXTS)
def test_what_tensorflow_makes_is_read(array: np.ndarray) -> None:
    same(tensors.to_array("x", tf.make_tensor_proto(array, shape=array.shape), ROOM), array)


@pytest.mark.parametrize("name", FIELDS)
def test_values_are_in_the_field_of_their_type(name: str) -> None:
    filled = TensorProto()
    tensors.fill(filled, np.array([0, 1, 1], name))
    assert len(getattr(filled, FIELDS[name])) == 3
    assert filled.dtype == tf.as_dtype(name).as_datatype_enum


@pytest.mark.parametrize(
    "array",
    [
        np.array([1 + 2j], np.complex64),
        np.array([[1, 2]], tf.bfloat16.as_numpy_dtype),
        np.array(["a", "é"]),
        np.arange(12, dtype=np.float32).reshape(3, 4).T[::2],
        np.float32(3),
    ],
)
def test_rare_arrays_are_filled_in_too(array: np.ndarray) -> None:
    filled = TensorProto()
    tensors.fill(filled, array)
    found = tf.make_ndarray(filled)
    assert found.shape == array.shape
    texts = array.dtype.kind == "U"
    np.testing.assert_array_equal(np.vectorize(bytes.decode)(found) if texts else found, array)


def test_text_becomes_utf8() -> None:
    filled = TensorProto()
    tensors.fill(filled, np.array(["é", b"\xff"], object))
    assert list(filled.string_val) == ["é".encode(), b"\xff"]


@given(NUMBERS, st.data())
def test_missing_values_are_as_tensorflow_has_them(array: np.ndarray, data: st.DataObject) -> None:
    filled = TensorProto()
    tensors.fill(filled, array)
    [field] = [getattr(filled, FIELDS[array.dtype.name])]
    del field[data.draw(st.integers(1, max(1, len(field)))) :]
    same(tensors.to_array("x", filled, ROOM), tf.make_ndarray(filled))


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        (tf.bfloat16, [1.5, -2.0, 0.0]),
        (tf.complex64, [1 + 2j, -3j, 0]),
        (tf.complex128, [1 + 2j, -3j, 0.1]),
        (tf.half, [1.5, -2.0, 0.1]),
    ],
)
@pytest.mark.parametrize("content", [False, True])
def test_rare_types_are_read_as_tensorflow_writes_them(
    dtype: tf.DType, values: list[complex], content: bool
) -> None:
    array = np.array(values).astype(dtype.as_numpy_dtype)
    made = tf.make_tensor_proto(array)
    if content:
        made = TensorProto(dtype=dtype.as_datatype_enum, tensor_content=array.tobytes())
        made.tensor_shape.dim.add().size = 3
    same(tensors.to_array("x", made, ROOM), array)
    filled = TensorProto()
    tensors.fill(filled, array)
    same(tensors.to_array("x", filled, ROOM), array)


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_texts_in_tensor_content(texts: list[bytes]) -> None:
    made = TensorProto(dtype=types_pb2.DT_STRING)
    made.tensor_shape.dim.add().size = len(texts)
    made.tensor_content = b"".join(map(varint, map(len, texts))) + b"".join(texts)
    array = np.empty(len(texts), object)
    array[:] = texts
    same(tensors.to_array("x", made, ROOM), array)


@pytest.mark.parametrize("content", [b"a", b"\x01", b"\x05abc", b"\x01ab", b"\x00\x01a", b"\xff"])
def test_content_that_is_no_texts(content: bytes) -> None:
    made = TensorProto(dtype=types_pb2.DT_STRING, tensor_content=content)
    assert "tensor_content that is not 1 strings" in refused(made)


def varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def test_missing_texts_are_the_last_one() -> None:
    given = proto(types_pb2.DT_STRING, [2, 2], string_val=[b"a", b"b"])
    assert tensors.to_array("x", given, ROOM).tolist() == [[b"a", b"b"], [b"b", b"b"]]


def test_no_values_are_zeros() -> None:
    same(tensors.to_array("x", proto(types_pb2.DT_INT8, [2]), ROOM), np.zeros(2, np.int8))
    given = proto(types_pb2.DT_STRING, [2])
    assert tensors.to_array("x", given, ROOM).tolist() == [b"", b""]


def test_values_beyond_their_type_wrap_around() -> None:
    given = proto(types_pb2.DT_UINT8, [2], int_val=[256, -1])
    same(tensors.to_array("x", given, ROOM), np.array([0, 255], np.uint8))


def test_large_and_small_numbers_keep_all_their_digits() -> None:
    values = [2**63 + 1, 0, 2**64 - 1]
    found = tensors.to_array("x", proto(types_pb2.DT_UINT64, [3], uint64_val=values), ROOM)
    assert found.tolist() == values


def test_a_tensor_may_be_as_large_as_is_allowed() -> None:
    assert tensors.to_array("x", proto(types_pb2.DT_FLOAT, [250]), 1000).shape == (250,)
    assert "at most 1000 bytes" in refused(proto(types_pb2.DT_FLOAT, [251]), 1000)


@pytest.mark.parametrize("dtype", [types_pb2.DT_FLOAT, types_pb2.DT_STRING, types_pb2.DT_HALF])
def test_a_few_bytes_can_not_claim_a_large_tensor(dtype: int) -> None:
    for shape in ([10**12], [10**6, 10**6], [2**62] * 3):
        assert "claims 1" in refused(proto(dtype, shape)) or shape[0] == 2**62
    assert "at most 1000000 bytes are accepted" in refused(proto(dtype, [2**62] * 3))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (proto(types_pb2.DT_FLOAT, [2, -1]), 'input "x" has a negative dimension: [2, -1]'),
        (proto(types_pb2.DT_FLOAT, [0, 2**62, 2**62]), "has a shape that is too large: [0, 4"),
        (proto(types_pb2.DT_FLOAT, [1] * 40), "has a shape that is too large: [1, 1"),
        (proto(types_pb2.DT_STRING, [1] * 40, string_val=[b""]), "a shape that is too large"),
        (proto(types_pb2.DT_INT32, [1], int_val=[1, 2]), "2 values; its shape has room for 1"),
        (proto(types_pb2.DT_STRING, [0], string_val=[b""]), "1 values; its shape has room for 0"),
        (
            proto(types_pb2.DT_FLOAT, [2], tensor_content=b"1234567"),
            "has 7 bytes of content; its shape [2] and type float need 8",
        ),
        (proto(types_pb2.DT_FLOAT, [10**12], tensor_content=b"1234"), "has 4 bytes of content"),
        (proto(types_pb2.DT_QINT8, [1]), "has type qint8, which is not supported"),
        (proto(types_pb2.DT_RESOURCE, [1]), "has type resource, which is not supported"),
        (proto(types_pb2.DT_INVALID, [1]), "has type invalid, which is not supported"),
        (proto(4711, [1]), "has type unknown type 4711, which is not supported"),
    ],
)
def test_tensors_that_are_refused(given: TensorProto, message: str) -> None:
    assert message in refused(given)


def test_a_shape_of_unknown_rank_is_refused() -> None:
    given = TensorProto(dtype=types_pb2.DT_FLOAT)
    given.tensor_shape.unknown_rank = True
    assert refused(given) == 'input "x" has a shape of unknown rank'


@given(NUMBERS | TEXTS, st.data())
def test_damaged_bytes_are_read_or_refused(array: np.ndarray, data: st.DataObject) -> None:
    made = TensorProto()
    if data.draw(st.booleans()):
        tensors.fill(made, array)
    else:
        made = tf.make_tensor_proto(array, shape=array.shape)
    content = bytearray(made.SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content)))
        content[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=4))
    try:
        damaged = TensorProto.FromString(bytes(content))
    except DecodeError:
        return
    try:
        found = tensors.to_array("x", damaged, ROOM)
    except ServingError:
        return
    assert found.shape == tuple(dim.size for dim in damaged.tensor_shape.dim)
    assert found.nbytes <= ROOM
