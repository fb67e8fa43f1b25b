"""Tensors between the wire and NumPy."""

import itertools
import math

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.framework.tensor_pb2 import TensorProto

from darkroom.serving.codecs import wire
from darkroom.serving.errors import invalid

STRING = types_pb2.DT_STRING
# In these TensorProto packs values as they lie in memory, so that they are copied at once.
_RAW_FIELDS = {types_pb2.DT_FLOAT: "float_val", types_pb2.DT_DOUBLE: "double_val"}
_SMALL = ("INT8", "INT16", "INT32", "UINT8", "UINT16")  # which share the field int_val
_LIST_FIELDS = {
    **{types_pb2.DataType.Value(f"DT_{name}"): "int_val" for name in _SMALL},
    types_pb2.DT_INT64: "int64_val",
    types_pb2.DT_UINT32: "uint32_val",
    types_pb2.DT_UINT64: "uint64_val",
    types_pb2.DT_BOOL: "bool_val",
}
# 16 bits each, in the field half_val.
_HALVES = (types_pb2.DT_HALF, types_pb2.DT_BFLOAT16)
# Real and imaginary part by turns.
_COMPLEX = {types_pb2.DT_COMPLEX64: "scomplex_val", types_pb2.DT_COMPLEX128: "dcomplex_val"}
DTYPES: dict[int, np.dtype] = {
    number: np.dtype(tf.as_dtype(number).as_numpy_dtype)
    for number in (*_RAW_FIELDS, *_LIST_FIELDS, *_HALVES, *_COMPLEX)
}
_NUMBERS = {dtype: number for number, dtype in DTYPES.items()}
_MOST_DIMENSIONS = 32  # of an array in NumPy 1
_LENGTH_DELIMITED = 2  # protobuf's wire type of packed fields
_TAGS = {
    number: bytes([TensorProto.DESCRIPTOR.fields_by_name[name].number << 3 | _LENGTH_DELIMITED])
    for number, name in _RAW_FIELDS.items()
}


def dtype_name(number: int) -> str:
    """TensorFlow's name of a DataType, such as float; its number where it has none."""
    try:
        return str(types_pb2.DataType.Name(number))[len("DT_") :].lower()
    except ValueError:
        return f"unknown type {number}"


def to_array(name: str, proto: TensorProto, max_bytes: int) -> np.ndarray:
    """The array of an input on the wire, in the shape that it claims; strings as bytes objects.

    A shorter list of values is filled up with its last, as TensorFlow does. Raises ServingError of
    more than ``max_bytes``, and where shape, type and values don't belong together.
    """
    if proto.tensor_shape.unknown_rank:
        raise invalid(f'input "{name}" has a shape of unknown rank')
    shape = [dim.size for dim in proto.tensor_shape.dim]
    if min(shape, default=0) < 0:
        raise invalid(f'input "{name}" has a negative dimension: {shape}')
    count = math.prod(shape)
    # NumPy can't have more dimensions, nor any size beside a dimension of 0.
    too_large = not count and math.prod(filter(None, shape)) > max_bytes
    if too_large or len(shape) > _MOST_DIMENSIONS:
        raise invalid(f'input "{name}" has a shape that is too large: {shape[:_MOST_DIMENSIONS]}')
    if proto.dtype == STRING:
        texts: list[bytes] = proto.string_val
        if proto.tensor_content:
            texts = _strings(name, proto.tensor_content, min(count, max_bytes))
        if len(texts) == 1 == count:  # by far the most frequent
            array = np.empty(1, dtype=object)
            array[0] = texts[0]
            return array.reshape(shape)
        _check_count(name, len(texts), count, 8, max_bytes)
        array = np.full(count, texts[-1] if texts else b"", object)
        array[: len(texts)] = texts
        return array.reshape(shape)
    dtype = DTYPES.get(proto.dtype)
    if dtype is None:
        raise invalid(f'input "{name}" has type {dtype_name(proto.dtype)}, which is not supported')
    if proto.tensor_content:
        if len(proto.tensor_content) != count * dtype.itemsize:
            raise invalid(
                f'input "{name}" has {len(proto.tensor_content)} bytes of content; its shape '
                f"{shape} and type {dtype_name(proto.dtype)} need {count * dtype.itemsize}"
            )
        return np.frombuffer(proto.tensor_content, dtype).reshape(shape)
    if proto.dtype in _HALVES:
        values = np.array(proto.half_val, np.int64).astype(np.uint16).view(dtype)
    elif proto.dtype in _COMPLEX:
        parts = np.array(getattr(proto, _COMPLEX[proto.dtype]), dtype.type(0).real.dtype)
        values = parts[: len(parts) // 2 * 2].view(dtype)
    else:
        field = _RAW_FIELDS.get(proto.dtype) or _LIST_FIELDS[proto.dtype]
        # The wire's own type: without one, NumPy takes float64 for large and small uint64 together.
        # Values beyond the type of the tensor wrap around, as in TensorFlow.
        wire = np.int32 if field == "int_val" else dtype
        values = np.array(getattr(proto, field), wire).astype(dtype, copy=False)
    _check_count(name, len(values), count, dtype.itemsize, max_bytes)
    if len(values) < count:
        last = values[-1] if len(values) else 0
        values = np.concatenate([values, np.full(count - len(values), last, dtype)])
    return values.reshape(shape)


def _strings(name: str, content: bytes, count: int) -> list[bytes]:
    """The strings in TensorFlow's ``tensor_content``: the length of each, then all of them."""
    sizes, at = [], 0
    try:
        for _ in range(count):
            size, at = wire.varint(content, at)
            sizes.append(size)
    except IndexError:
        sizes.append(len(content) + 1)  # more than there are
    if at + sum(sizes) != len(content):
        raise invalid(f'input "{name}" has a tensor_content that is not {count} strings')
    ends = list(itertools.accumulate(sizes, initial=at))
    return [content[begin:end] for begin, end in itertools.pairwise(ends)]


def _check_count(name: str, count: int, expected: int, item_size: int, max_bytes: int) -> None:
    if count > expected:
        raise invalid(f'input "{name}" has {count} values; its shape has room for {expected}')
    if expected * item_size > max_bytes:
        most = f"at most {max_bytes} bytes are accepted"
        raise invalid(f'input "{name}" claims {expected} values; {most}')


def fill(proto: TensorProto, array: np.ndarray) -> None:
    """Writes an array into its type's own field, which clients read, not ``tensor_content``."""
    for size in array.shape:
        proto.tensor_shape.dim.add().size = size
    if array.dtype == object:
        proto.dtype = STRING
        values: list[bytes | str] = array.ravel().tolist()
        proto.string_val.extend(v.encode() if isinstance(v, str) else v for v in values)
        return
    number = _NUMBERS.get(array.dtype)
    if number in _RAW_FIELDS:
        proto.dtype = number
        # Merging makes no Python number of each value.
        content = array.tobytes()
        proto.MergeFromString(_TAGS[number] + _varint(len(content)) + content)
    elif number in _LIST_FIELDS:
        proto.dtype = number
        getattr(proto, _LIST_FIELDS[number]).extend(array.ravel().tolist())
    elif number in _HALVES:
        proto.dtype = number
        proto.half_val.extend(array.view(np.uint16).ravel().tolist())
    else:
        del proto.tensor_shape.dim[:]
        proto.MergeFrom(tf.make_tensor_proto(array))


def _varint(number: int) -> bytes:
    octets = bytearray()
    while number > 127:
        octets.append(number & 127 | 128)
        number >>= 7
    octets.append(number)
    return bytes(octets)
