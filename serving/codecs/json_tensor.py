"""JSON of requests and answers, as TensorFlow Serving reads and writes it.

What it can't read or write, all functions here refuse with a ServingError. Its messages are kept to
the letter, since clients match on them; JSON that they quote is cut.
"""

import binascii
import enum
import json
import math
import re
from collections.abc import Collection, Mapping
from itertools import chain
from typing import Any, TypeAlias, TypeGuard

import numpy as np
import orjson
from tensorflow.core.example.example_pb2 import Example
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf.meta_graph_pb2 import TensorInfo
from tensorflow_serving.apis.classification_pb2 import ClassificationResult
from tensorflow_serving.apis.input_pb2 import Input
from tensorflow_serving.apis.regression_pb2 import RegressionResult

from darkroom.serving.codecs.tensors import DTYPES, dtype_name
from darkroom.serving.errors import Code, ServingError, invalid

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Document: TypeAlias = dict[str, Json]  # a request

_SEVERAL = "as multiple input tensors required as per tensorinfo_map"
_QUOTED = 200  # characters of a JSON value or name in a message

# TensorFlow Serving's JSON has no other numbers, and writes float16 only.
_UNKNOWN = ("uint16", "float16", "bfloat16", "complex64", "complex128")
_NUMBERS = {n: dtype for n, dtype in DTYPES.items() if dtype.name not in _UNKNOWN}
_WRITTEN = {*_NUMBERS.values(), np.dtype(np.float16)}  # what an output may be, besides text
# What a JSON value must be, by the kind of dtype.
_TYPES: dict[str, set[type]] = {"b": {bool}, "i": {int}, "u": {int}, "f": {int, float}}

_ENCODER = json.JSONEncoder(indent=4, ensure_ascii=False)
# A string, ended or not, or a number that JSON doesn't know. Never goes back: linear in time.
_STRING_OR_CONSTANT = re.compile(
    rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|-?(?:NaN|Inf(?:inity)?)', re.DOTALL
)
_NO_WHITESPACE = str.maketrans("", "", " \t\n\v\f\r")


class Format(enum.Enum):
    """How a predict request is written, by its key; the answer has the same format."""

    ROW = "instances"
    COLUMNAR = "inputs"


def parse(body: bytes) -> Document:
    """A request's JSON object; NaN, Infinity, Inf and their negatives are numbers."""
    body = body.removeprefix(b"\xef\xbb\xbf")
    try:
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError:
            document = _parse_constants(body)
    except json.JSONDecodeError as error:
        if not body.strip():
            raise invalid("JSON Parse error: The document is empty") from error
        raise invalid(f"JSON Parse error: {error.msg} at offset: {error.pos}") from error
    except RecursionError as error:
        raise invalid("JSON Parse error: nested too deeply") from error
    if not isinstance(document, dict):
        raise _wrong(document, "Is not object")
    return document


def signature_name(document: Document) -> str:
    """The signature that a request names, or ""."""
    name = document.get("signature_name", "")
    if isinstance(name, str):
        return name
    wrong = "not formatted correctly. 'signature_name' key must be a string value."
    raise _wrong(document, wrong)


def inputs(
    document: Document, infos: Mapping[str, TensorInfo]
) -> tuple[dict[str, np.ndarray], Format]:
    """A predict request's inputs, rows as dimension 0, strings as bytes objects; its format."""
    if not infos:
        name = _cut(signature_name(document)) or "DEFAULT"
        raise invalid(f"Failed to get input map for signature: {name}")
    formats = [one for one in Format if one.value in document]
    if not formats:
        raise invalid("Missing 'inputs' or 'instances' key")
    if len(formats) > 1:
        complaint = "expecting only one of 'inputs' or 'instances' keys to exist"
        raise _wrong(document, f"Not formatted correctly {complaint}")
    value = document[formats[0].value]
    if formats[0] is Format.COLUMNAR:
        return _from_columns(value, infos), Format.COLUMNAR
    if not isinstance(value, list):
        raise _wrong(document, "Excepting 'instances' to be an list/array")
    if not value:
        raise _wrong(document, "No values in 'instances' array")
    return _from_rows(value, infos), Format.ROW


def outputs(tensors: Mapping[str, np.ndarray], format: Format) -> bytes:  # noqa: A002
    """The body of a predict answer, in the request's format; strings are bytes objects."""
    if not tensors:
        raise invalid("Cannot convert empty tensor map to JSON")
    if format is Format.ROW:
        _check_rows(tensors)
    values = {name: _json_value(name, tensor) for name, tensor in tensors.items()}
    answer: object = values
    if len(values) == 1:
        [answer] = values.values()
    elif format is Format.ROW:
        answer = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    return _dump({"predictions" if format is Format.ROW else "outputs": answer})


def examples(document: Document) -> Input:
    """The examples of a classify or regress request, with their context where it has one."""
    request = Input()
    place = request.example_list
    if "context" in document:
        place = request.example_list_with_context
        _fill_example(document["context"], place.context)
    if "examples" not in document:
        complaint = "When method is classify, key 'examples' is expected and was not found"
        raise _wrong(document, complaint)
    values = document["examples"]
    if not isinstance(values, list):
        raise _wrong(document, "Expecting 'examples' value to be an list/array")
    if not values:
        raise _wrong(document, "'examples' value is an empty array")
    for value in values:
        _fill_example(value, place.examples.add())
    return request


def classifications(result: ClassificationResult) -> bytes:
    """The body of a classify answer: of each example its labels and scores."""
    if not result.classifications:
        raise invalid("Cannot convert empty ClassificationResults to JSON")
    examples = (one.classes for one in result.classifications)
    rows = [[[scored.label, np.float32(scored.score)] for scored in one] for one in examples]
    return _dump({"results": rows})


def regressions(result: RegressionResult) -> bytes:
    """The body of a regress answer: of each example its value."""
    if not result.regressions:
        raise invalid("Cannot convert empty RegressionResults to JSON")
    return _dump({"results": np.array([one.value for one in result.regressions], np.float32)})


def error(message: str) -> bytes:
    """The body of an answer that is an error."""
    # A message may name a file whose name isn't text.
    return orjson.dumps({"error": message.encode(errors="replace").decode()})


def _parse_constants(body: bytes) -> Json:
    """Parses with Python's own parser, which is slower but knows NaN and Infinity."""
    # orjson judges everything else, so that a document with NaN is read as strictly as any.
    orjson.loads(_STRING_OR_CONSTANT.sub(lambda m: m[0] if m[0][0] == ord('"') else b"0", body))
    document: Json = json.loads(_STRING_OR_CONSTANT.sub(_spelled, body), parse_int=_integer)
    return document


def _spelled(match: re.Match[bytes]) -> bytes:
    token = match[0]
    if token.endswith(b"NaN"):
        return token if token.startswith(b'"') else b"NaN"
    return {b"Inf": b"Infinity", b"-Inf": b"-Infinity"}.get(token, token)


def _integer(digits: str) -> int | float:
    """An integer as orjson and rapidjson read it: of more than 64 bits it is a double."""
    value = int(digits)
    return value if -(2**63) <= value < 2**64 else float(value)


def _from_rows(instances: list[Any], infos: Mapping[str, TensorInfo]) -> dict[str, np.ndarray]:
    if not _is_named(instances[0]):
        if len(infos) > 1:
            raise invalid(f"instances is a plain list, but expecting list of objects {_SEVERAL}")
        [(name, info)] = infos.items()
        return {name: _batch(instances, info.dtype)}
    for number, instance in enumerate(instances):
        if not isinstance(instance, dict) or instance.keys() != infos.keys():
            raise _wrong_names(number, instance, infos)
    return {
        name: _batch([instance[name] for instance in instances], info.dtype, f" key: {name}")
        for name, info in infos.items()
    }


def _from_columns(value: Json, infos: Mapping[str, TensorInfo]) -> dict[str, np.ndarray]:
    if not _is_named(value):
        if len(infos) > 1:
            raise invalid(f"inputs is a plain value/list, but expecting an object {_SEVERAL}")
        value = dict.fromkeys(infos, value)
    for name in infos:
        if name not in value:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    return {name: _tensor(value[name], info.dtype) for name, info in infos.items()}


def _is_named(value: Json) -> TypeGuard[dict[str, Json]]:
    """Whether its keys are inputs' names."""
    return isinstance(value, dict) and _base64(value) is None


def _base64(value: Json) -> str | None:
    """The text of ``{"b64": text}``; None of any other value."""
    text = value.get("b64") if isinstance(value, dict) and len(value) == 1 else None
    return text if isinstance(text, str) else None


def _wrong_names(number: int, instance: Json, names: Collection[str]) -> ServingError:
    if not _is_named(instance):
        return invalid(f"Expecting object but got list at item {number} of input list")
    where = f"Failed to process element: {number}"
    for name in (_cut(name) for name in instance if name not in names):
        error = f"INVALID_ARGUMENT: JSON object: does not have named input: {name}"
        return invalid(f"{where} key: {name} of 'instances' list. Error: {error}")
    keys = f"{_quoted(instance)} keys must be equal to: {','.join(sorted(names))}"
    return invalid(f"{where} of 'instances' list. JSON object: {keys}")


def _batch(values: list[Json], dtype: int, key: str = "") -> np.ndarray:
    """One tensor of all rows' values of an input, which ``key`` names in an error."""
    try:
        return _tensor(values, dtype)
    except ServingError as of_batch:
        error = of_batch
    # Raises the error of the first row because of which the rows are no batch.
    number = _first_wrong(values, dtype)
    if not key and _is_named(values[number]):
        raise invalid(f"Expecting value/list but got object at item {number} of input list")
    try:
        expected, actual = (_tensor(values[n], dtype).shape for n in (0, number))
        if math.prod(expected) != math.prod(actual):
            sizes = f"{math.prod(expected)} but got: {math.prod(actual)}"
            raise invalid(f"Expecting tensor size: {sizes}")
        if expected != actual:
            raise invalid(f"Expecting shape {_shape(expected)} but got: {_shape(actual)}")
    except ServingError as of_element:
        error = of_element
    where = f"Failed to process element: {number}{key} of 'instances' list."
    raise ServingError(error.code, f"{where} Error: {error.code.name}: {error.message}")


def _first_wrong(values: list[Json], dtype: int) -> int:
    """The place of the first value that is no tensor, or of another shape than values[0]."""
    # It looks in halves, since one by one a million numbers take seconds.
    low, high = 0, len(values)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            _tensor([values[0], *values[low:middle]], dtype)
        except ServingError:
            high = middle
        else:
            low = middle
    return low


def _shape(sizes: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, sizes))}]"


def _tensor(value: Json, dtype: int) -> np.ndarray:
    shape = []
    first = value
    while isinstance(first, list):
        shape.append(len(first))
        first = first[0] if first else None
    leaves: list[Any] = [value]
    for level, size in enumerate(shape):
        if set(map(type, leaves)) != {list}:
            stray = next(leaf for leaf in leaves if not isinstance(leaf, list))
            where = f"level: {level + 1} in the JSON DOM. Expected at level: {len(shape)}"
            raise _wrong(stray, f"found at incorrect {where}")
        if set(map(len, leaves)) != {size}:
            other = next(len(leaf) for leaf in leaves if len(leaf) != size)
            where = f"size: {other} at level: {level} expected size: {size}"
            raise invalid(f"Encountered list at unexpected {where}")
        leaves = list(chain.from_iterable(leaves))
    if list in set(map(type, leaves)):
        raise invalid(f"Encountered list at unexpected level: {len(shape)} expected < {len(shape)}")
    if dtype == types_pb2.DT_STRING:
        flat = np.array(list(map(_string, leaves)), dtype=object)
    else:
        flat = _numbers(leaves, dtype)
    try:
        return flat.reshape(shape)
    except ValueError as error:  # more dimensions than NumPy knows
        raise invalid(f"A tensor can't have {len(shape)} dimensions") from error


def _numbers(values: list[Any], number: int) -> np.ndarray:
    dtype = _NUMBERS.get(number)
    if dtype is None:
        conversion = f"{_quoted(values[0] if values else [])} to type: {dtype_name(number)}"
        raise ServingError(Code.UNIMPLEMENTED, f"Conversion of JSON Value: {conversion}")
    types = _TYPES[dtype.kind]
    if not set(map(type, values)) <= types:
        raise _wrong_type(next(v for v in values if type(v) not in types), number)
    if dtype.kind == "f":
        return _floats(values, number, dtype)
    if dtype.kind in "iu" and values:
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        if min(values) < low or max(values) > high:
            raise _wrong_type(next(v for v in values if not low <= v <= high), number)
    return np.array(values, dtype)


def _floats(values: list[int | float], number: int, dtype: np.dtype) -> np.ndarray:
    doubles = np.array(values, np.float64)
    with np.errstate(over="ignore"):
        array = doubles.astype(dtype)
    # TensorFlow Serving takes no greater integers. It also refuses doubles above a float's
    # maximum, and with them that maximum as it prints it; we take what rounds to a finite float.
    highest = 2.0 ** (np.finfo(dtype).nmant + 1) - 1
    for place in np.flatnonzero(np.abs(doubles) > highest):
        value = values[place]
        if isinstance(value, int) or math.isinf(array[place]) > math.isinf(value):
            conversion = f"{_quoted(value)} to {dtype_name(number)}"
            raise invalid(f"Cannot convert JSON value: {conversion} without loss of precision.")
    return array


def _string(value: Json) -> bytes:
    if isinstance(value, str):
        return value.encode()
    escaped = _base64(value)
    if escaped is not None:
        return _unescape(escaped)
    if isinstance(value, dict):
        raise _wrong(value, "not formatted correctly for base64 data")
    raise _wrong_type(value, types_pb2.DT_STRING)


def _unescape(text: str) -> bytes:
    """Base64 as Abseil takes it: whitespace anywhere, and padding of = or dots or none."""
    if (decoded := _decode(text)) is not None:
        return decoded
    text = text.translate(_NO_WHITESPACE)
    digits = text.rstrip("=.")
    missing = -len(digits) % 4
    decoded = _decode(digits + "=" * missing)
    if decoded is None or len(text) - len(digits) not in (0, missing):
        raise invalid("Unable to base64 decode")
    return decoded


def _decode(text: str) -> bytes | None:
    """Base64 of nothing but digits and full padding."""
    try:
        decoded = binascii.a2b_base64(text)
    except ValueError:
        return None
    # Other characters are passed over, quickly; then there is less than there must be.
    expected = len(text) / 4 * 3 - text[-2:].count("=")
    return decoded if len(decoded) == expected else None


def _fill_example(value: Json, example: Example) -> None:
    if not isinstance(value, dict):
        raise invalid(f"Example must be JSON object but got JSON {_type_name(value)}")
    example.SetInParent()  # an empty context is one too
    for name, content in value.items():
        feature = example.features.feature[name]
        kind = None
        elements = []
        for element in content if isinstance(content, list) else [content]:
            of_element, converted = _element(element, name)
            if kind not in (None, of_element):
                where = f"in feature: {_cut(name)} expecting type: {kind}"
                raise invalid(f"Unexpected element type {where}")
            kind = of_element
            elements.append(converted)
        if kind == "float":
            elements = _numbers(elements, types_pb2.DT_FLOAT).tolist()
        if kind:
            getattr(feature, f"{kind}_list").value.extend(elements)


def _element(value: Json, name: str) -> tuple[str, object]:
    """A value of a feature, and the kind of list that it belongs to."""
    if isinstance(value, str) or _base64(value) is not None:
        return "bytes", _string(value)
    if isinstance(value, float):
        return "float", value
    if isinstance(value, int):
        if value >= 2**63:
            raise invalid(f"Feature: {_cut(name)} has uint64 element. Only int64 is supported.")
        return "int64", int(value)
    kind = _type_name(value)
    raise invalid(f"Feature: {_cut(name)} has element with unexpected JSON type: {kind}")


def _check_rows(tensors: Mapping[str, np.ndarray]) -> None:
    rows = None
    for name, tensor in tensors.items():
        if not tensor.ndim:
            raise invalid(f"Tensor name: {name} has no shape information")
        if rows not in (None, len(tensor)):
            sizes = f"{len(tensor)} expecting: {rows}"
            raise invalid(f"Tensor name: {name} has inconsistent batch size: {sizes}")
        rows = len(tensor)


def _json_value(name: str, tensor: np.ndarray) -> object:
    """What orjson writes: an array, a NumPy number, text or lists of text."""
    if tensor.dtype == object:
        texts = (_base64_objects if name.endswith("_bytes") else _texts)(tensor)
        return np.asarray(texts, dtype=object).tolist()
    dtype = tensor.dtype.newbyteorder("=")
    if dtype not in _WRITTEN:
        raise invalid(f"Failed to write JSON value for tensor type: {dtype.name}")
    if dtype == np.float16:
        dtype = np.dtype(np.float32)
    tensor = np.asarray(tensor, dtype, order="C")
    return tensor if tensor.ndim else tensor[()]


def _text(value: bytes) -> str:
    # TensorFlow Serving writes bytes that aren't UTF-8 as they are, and no client can parse that.
    return value.decode(errors="replace")


def _base64_object(value: bytes) -> dict[str, str]:
    return {"b64": binascii.b2a_base64(value, newline=False).decode()}


_texts, _base64_objects = (np.frompyfunc(each, 1, 1) for each in (_text, _base64_object))


def _dump(document: Mapping[str, object]) -> bytes:
    body = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    if b"null" not in body:
        return body
    # A null is NaN or an infinity, or part of a string.
    return json.dumps(document, default=_plain).encode()


def _plain(value: np.ndarray | np.generic) -> object:
    """Python's own types, for Python's own JSON."""
    if value.dtype == np.float32:
        # Through its shortest digits, for a double has more.
        value = value.astype(str).astype(float)
    return value.tolist()


def _quoted(value: object) -> str:
    """JSON for a message, written no further than it is shown."""
    if isinstance(value, str):
        value = value[: _QUOTED + 1]
    text = ""
    for part in _ENCODER.iterencode(value):
        text += part
        if len(text) > _QUOTED:
            break
    return _cut(text)


def _cut(text: str) -> str:
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}..."


def _wrong(value: Json, complaint: str) -> ServingError:
    return invalid(f"JSON Value: {_quoted(value)} {complaint}")


def _wrong_type(value: Json, dtype: int) -> ServingError:
    expected = dtype_name(dtype)
    return _wrong(value, f"Type: {_type_name(value)} is not of expected type: {expected}")


def _type_name(value: Json) -> str:
    """Rapidjson's name of a value's type."""
    if isinstance(value, bool):
        return str(value)
    names = {type(None): "Null", dict: "Object", list: "Array", str: "String"}
    return names.get(type(value), "Number")
