import base64
import contextlib
import json
import re
from typing import Any

import hypothesis
import numpy as np
import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf.meta_graph_pb2 import TensorInfo
from tensorflow_serving.apis import classification_pb2, input_pb2, regression_pb2

from darkroom.serving.codecs import json_tensor
from darkroom.serving.codecs.json_tensor import Format
from darkroom.serving.errors import Code, ServingError

BOOL, STRING = types_pb2.DT_BOOL, types_pb2.DT_STRING
INT32, INT64, UINT64 = types_pb2.DT_INT32, types_pb2.DT_INT64, types_pb2.DT_UINT64
FLOAT, DOUBLE = types_pb2.DT_FLOAT, types_pb2.DT_DOUBLE
NUMPY = {
    BOOL: np.bool_,
    types_pb2.DT_INT8: np.int8,
    types_pb2.DT_INT16: np.int16,
    INT32: np.int32,
    INT64: np.int64,
    types_pb2.DT_UINT8: np.uint8,
    types_pb2.DT_UINT32: np.uint32,
    UINT64: np.uint64,
    FLOAT: np.float32,
    DOUBLE: np.float64,
}
INTEGERS = [dtype for dtype, kind in NUMPY.items() if np.issubdtype(kind, np.integer)]


def infos(**dtypes: int) -> dict[str, TensorInfo]:
    return {name: TensorInfo(dtype=dtype) for name, dtype in dtypes.items()}


def read(body: str | bytes, **dtypes: int) -> dict[str, np.ndarray]:
    document = json_tensor.parse(body.encode() if isinstance(body, str) else body)
    tensors, _ = json_tensor.inputs(document, infos(**dtypes))
    return tensors


def only(body: str | bytes, dtype: int) -> np.ndarray:
    return read(body, x=dtype)["x"]


def refused(body: str | bytes, **dtypes: int) -> str:
    with pytest.raises(ServingError) as raised:
        read(body, **dtypes)
    assert raised.value.code is Code.INVALID_ARGUMENT
    return raised.value.message


def same(got: np.ndarray, wanted: Any, dtype: Any) -> None:
    wanted = np.array(wanted, dtype)
    assert got.dtype == wanted.dtype
    assert got.shape == wanted.shape
    np.testing.assert_array_equal(got, wanted)


def written(way: Format = Format.ROW, **tensors: Any) -> Any:
    return json.loads(json_tensor.outputs(tensors, way))


def strings(values: Any) -> np.ndarray:
    return np.array(values, dtype=object)


# What requests say.


def test_rows_of_one_input_get_a_batch_dimension() -> None:
    document = json_tensor.parse(b'{"instances": [[1,2],[3,4],[5,6]]}')
    tensors, way = json_tensor.inputs(document, infos(x=INT32))
    assert way is Format.ROW
    same(tensors["x"], [[1, 2], [3, 4], [5, 6]], np.int32)


@pytest.mark.parametrize("dtype", [FLOAT, DOUBLE])
def test_integers_and_decimals_mix_in_a_float_tensor(dtype: int) -> None:
    numbers = [1, 2.0, 3, 4, 5.003, 0.007, -0.0]
    same(only(json.dumps({"instances": numbers}), dtype), numbers, NUMPY[dtype])


def test_a_signature_is_named_or_not() -> None:
    assert json_tensor.signature_name(json_tensor.parse(b'{"signature_name": "top"}')) == "top"
    assert json_tensor.signature_name(json_tensor.parse(b"{}")) == ""
    with pytest.raises(ServingError, match="'signature_name' key must be a string value"):
        json_tensor.signature_name(json_tensor.parse(b'{"signature_name": 5}'))


@pytest.mark.parametrize(
    ("instances", "wanted"),
    [
        ('{"b64": "aGVsbG8="}, {"b64": "d29ybGQ="}', [b"hello", b"world"]),
        ('[{"b64": "aGVsbG8="}], [{"b64": "d29ybGQ="}]', [[b"hello"], [b"world"]]),
        ('{"x": [[{"b64": "aGVsbG8="}], ["w"]]}', [[[b"hello"], [b"w"]]]),
        ('{"x": {"b64": "AAD/AA=="}}', [b"\0\0\xff\0"]),
        ('"é\\u0000", ""', ["é\0".encode(), b""]),
    ],
)
def test_text_and_base64(instances: str, wanted: Any) -> None:
    same(only(f'{{"instances": [{instances}]}}', STRING), wanted, object)


def test_rows_of_several_inputs_with_numbers_that_json_does_not_know() -> None:
    tensors = read(
        """{"instances": [
          {"ints": [[1,2],[3,4],[5,6]], "texts": ["foo", "bar NaN \\" -Inf"],
           "floats": [1.0, NaN], "doubles": [NaN]},
          {"ints": [[7,8],[9,0],[1,2]], "texts": ["baz", "bat"],
           "floats": [-Inf, Infinity], "doubles": [-Infinity]}
        ]}""",
        ints=INT32,
        texts=STRING,
        floats=FLOAT,
        doubles=DOUBLE,
    )
    same(tensors["ints"], [[[1, 2], [3, 4], [5, 6]], [[7, 8], [9, 0], [1, 2]]], np.int32)
    same(tensors["texts"], [[b"foo", b'bar NaN " -Inf'], [b"baz", b"bat"]], object)
    same(tensors["floats"], [[1, np.nan], [-np.inf, np.inf]], np.float32)
    same(tensors["doubles"], [[np.nan], [-np.inf]], np.float64)


@pytest.mark.parametrize("value", ['{"x": [[[1,2],[3,4]]]}', "[[[1,2],[3,4]]]"])
def test_a_column_is_named_or_not(value: str) -> None:
    document = json_tensor.parse(f'{{"inputs": {value}}}'.encode())
    tensors, way = json_tensor.inputs(document, infos(x=INT32))
    assert way is Format.COLUMNAR
    same(tensors["x"], [[[1, 2], [3, 4]]], np.int32)


def test_columns_have_shapes_of_their_own() -> None:
    body = """{"inputs": {
      "ints": [[[1,2],[3,4]]], "texts": ["foo", "bar"], "image": {"b64": "aGVsbG8="}, "other": 1
    }}"""
    tensors = read(body, ints=INT32, texts=STRING, image=STRING)
    assert set(tensors) == {"ints", "texts", "image"}
    same(tensors["texts"], [b"foo", b"bar"], object)
    same(tensors["image"], b"hello", object)


def test_a_byte_order_mark_is_passed_over() -> None:
    same(only(b'\xef\xbb\xbf{"instances": [1]}', INT32), [1], np.int32)


def test_empty_lists_are_dimensions_of_none() -> None:
    same(only('{"instances": [[], []]}', FLOAT), np.zeros((2, 0)), np.float32)
    same(only('{"inputs": []}', BOOL), [], np.bool_)


# What is wrong with them.


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "JSON Parse error: The document is empty"),
        (" \n", "JSON Parse error: The document is empty"),
        ("[1]", "Is not object"),
        ('{"instances": [1]', "JSON Parse error: "),
        ('{"instances": [1NaN]}', "JSON Parse error: "),
        ('{"instances": [NaN1]}', "JSON Parse error: "),
        ('{"instances": [NaN, 1e999]}', "JSON Parse error: "),
        ('{"instances": ["\\ud800"]}', "JSON Parse error: "),
        ('{"instances": [NaN, "\\ud800"]}', "JSON Parse error: "),
        (b'{"instances": ["\xff"]}', "JSON Parse error: "),
        (b'{"instances": [NaN, "\xff"]}', "JSON Parse error: "),
        ("{}", "Missing 'inputs' or 'instances' key"),
        ('{"instances": [1], "inputs": [1]}', "Not formatted correctly expecting only one of"),
        ('{"instances": 1}', "Excepting 'instances' to be an list/array"),
        ('{"instances": []}', "No values in 'instances' array"),
        ('{"instances": [[1,2],[3,4],[5,6,7]]}', "Expecting tensor size: 2 but got: 3"),
        ('{"instances": [[1,2],[3,4],[[5,6]]]}', "Expecting shape [2] but got: [1,2]"),
        ('{"instances": [1, [1]]}', "Expecting shape [] but got: [1]"),
        (
            '{"instances": [[1,2],["a", "b"]]}',
            "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: "
            'JSON Value: "a" Type: String is not of expected type: int32',
        ),
        ('{"instances": [[[1,2],[3]]]}', "list at unexpected size: 1 at level: 1 expected size: 2"),
        ('{"inputs": [[1], 2]}', "2 found at incorrect level: 2 in the JSON DOM. Expected at lev"),
        ('{"inputs": [1, [2]]}', "Encountered list at unexpected level: 1 expected < 1"),
        ('{"inputs": {"y": 1}}', "Missing named input: x in 'inputs' object."),
        ('{"inputs": null}', "JSON Value: null Type: Null is not of expected type: int32"),
        ('{"instances": [[{"y": 1}]]}', "Type: Object is not of expected type: int32"),
        ('{"instances": [{"b64": "aaaa"}]}', "Type: Object is not of expected type: int32"),
        ('{"instances": [1, {"x": 1}]}', "Expecting value/list but got object at item 1"),
        ('{"instances": [{"x": 1}, 1]}', "Expecting object but got list at item 1 of input list"),
        (
            '{"instances": [{"x": 1}, {"y": 1}]}',
            "element: 1 key: y of 'instances' list. Error: INVALID_ARGUMENT: JSON object: does not",
        ),
        ('{"instances": [{"x": 1}, {}]}', "keys must be equal to: x"),
        ('{"instances": [{"x": 1}, {"x": "a"}]}', "Failed to process element: 1 key: x of"),
    ],
)
def test_mistakes_are_told_in_tensorflow_servings_words(body: str | bytes, message: str) -> None:
    assert message in refused(body, x=INT32)


def test_numbers_and_nesting_without_end_are_refused() -> None:
    deep, deeper = "[" * 1000 + "]" * 1000, "[" * 10**6 + "]" * 10**6
    for start in ("", "NaN, "):
        assert "JSON Parse error: " in refused(f'{{"inputs": [{start}{"1" * 5000}]}}', x=FLOAT)
        assert "JSON Parse error: " in refused(f'{{"inputs": [{start}{deeper}]}}', x=FLOAT)
        refused(f'{{"inputs": [{start}{deep}]}}', x=FLOAT)
    assert "can't have 1000 dimensions" in refused(f'{{"inputs": {deep}}}', x=FLOAT)
    assert "can't have 999 dimensions" in refused(f'{{"instances": {deep}}}', x=FLOAT)


@pytest.mark.parametrize("body", ['{"instances": [1]}', '{"instances": [{"b64": "aaaa"}]}'])
def test_several_inputs_need_objects(body: str) -> None:
    assert "instances is a plain list, but expecting list of objects" in refused(
        body, x=STRING, y=INT32
    )
    body = body.replace("instances", "inputs")
    assert "inputs is a plain value/list, but expecting an object" in refused(
        body, x=STRING, y=INT32
    )


def test_a_signature_without_inputs_is_an_error() -> None:
    assert refused('{"instances": [1]}') == "Failed to get input map for signature: DEFAULT"


@pytest.mark.parametrize("body", ['{"instances": [[1]]}', '{"inputs": [1]}', '{"inputs": []}'])
def test_a_dtype_that_json_can_not_fill_is_unimplemented(body: str) -> None:
    with pytest.raises(ServingError, match="to type: complex64") as raised:
        only(body, types_pb2.DT_COMPLEX64)
    assert raised.value.code is Code.UNIMPLEMENTED


@pytest.mark.parametrize("dtype", NUMPY)
def test_nothing_is_coerced(dtype: int) -> None:
    number = "1" if dtype in (FLOAT, DOUBLE) else "1.5"
    values = ['"1"', "null", "true", '{"b64": "aaaa"}', *(["1.0"] if dtype in INTEGERS else [])]
    if dtype == BOOL:
        number, values = "true", ["0", "1", "0.0", '"true"', "null"]
    for value in values:
        wrong = f'{{"inputs": [{number if dtype not in INTEGERS else 1}, {value}]}}'
        assert f"JSON Value: {value[:1]}" in refused(wrong, x=dtype)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_are_taken_to_the_ends_of_their_dtype_and_no_further(dtype: int) -> None:
    low, high = int(np.iinfo(NUMPY[dtype]).min), int(np.iinfo(NUMPY[dtype]).max)
    for body in ({"inputs": [low, high]}, {"instances": [low, high]}):
        same(only(json.dumps(body), dtype), [low, high], NUMPY[dtype])
    for wrong in (low - 1, high + 1, 10**30, -(10**30)):
        assert "is not of expected type" in refused(json.dumps({"inputs": [0, wrong]}), x=dtype)


@pytest.mark.parametrize(("dtype", "bits"), [(FLOAT, 24), (DOUBLE, 53)])
def test_integers_must_fit_the_digits_of_a_float(dtype: int, bits: int) -> None:
    most = 2**bits - 1
    same(only(f'{{"inputs": [{most}, -{most}, 0.5]}}', dtype), [most, -most, 0.5], NUMPY[dtype])
    for wrong in (most + 2, -most - 2, 2**63):
        assert "without loss of precision" in refused(f'{{"inputs": [0.5, {wrong}]}}', x=dtype)
    # As decimals they are rounded, as any decimal is.
    same(only(f'{{"inputs": [{most + 2}.0, 1e30]}}', dtype), [most + 2, 1e30], NUMPY[dtype])
    # What needs more than 64 bits is read as a decimal; with NaN too, by another parser.
    same(only(f'{{"inputs": [{2**70}, NaN]}}', dtype), [2**70, np.nan], NUMPY[dtype])


def test_decimals_must_fit_the_range_of_a_float() -> None:
    highest = float(np.finfo(np.float32).max)
    same(only('{"inputs": [3.4028235e38, -3.4028235e38]}', FLOAT), [highest, -highest], np.float32)
    for wrong in ("1.7976931348623157e308", "-3.5e38"):
        assert "to float without loss of precision" in refused(f'{{"inputs": [{wrong}]}}', x=FLOAT)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("1", "JSON Value: 1 Type: Number is not of expected type: string"),
        ("null", "Type: Null is not of expected type: string"),
        ('[{"b64": 1}]', "not formatted correctly for base64 data"),
        ('[{"b64": "aaaa", "x": 1}]', "not formatted correctly for base64 data"),
        ('{"b64": "a"}', "Unable to base64 decode"),
        ('{"b64": "aa-_"}', "Unable to base64 decode"),
        ('{"b64": "aaé="}', "Unable to base64 decode"),
    ],
)
def test_mistakes_in_text(value: str, message: str) -> None:
    for key in ("inputs", "instances"):
        assert message in refused(f'{{"{key}": [{value}]}}', x=STRING)


def test_the_first_wrong_element_is_found_among_many() -> None:
    for place in (0, 1, 500, 998, 999):
        values: list[Any] = [[0.5]] * 1000
        values[place] = ["a"]
        values[999] = ["a"]
        message = refused(json.dumps({"instances": values}), x=FLOAT)
        assert message.startswith(f"Failed to process element: {place} of")


@pytest.mark.parametrize(
    "document",
    [
        {"instances": ["a" * 10**6]},
        {"instances": [1, 2], "inputs": [[i] for i in range(10**5)]},
        {"instances": [{"x" * 10**6: 1}]},
        {"instances": [{"x": {str(i): i for i in range(10**5)}}]},
    ],
)
def test_no_message_quotes_megabytes(document: dict[str, Any]) -> None:
    with pytest.raises(ServingError) as raised:
        json_tensor.inputs(document, infos(x=INT32))
    assert len(raised.value.message) < 600
    with pytest.raises(ServingError) as raised:
        json_tensor.signature_name({**document, "signature_name": 1})
    assert len(raised.value.message) < 600


# Any bytes and any document.

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**24, 2**53 + 1, 2**63, 2**64, -(2**63), 10**400])
    | st.floats()
    | st.text()
    | st.characters(categories=["Cs"])
    | st.builds(lambda text: {"b64": text}, st.text(alphabet="Aa+/=. \n-") | st.integers())
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["x", "y", "b64"]) | st.text(), inner, max_size=3)
    ),
    max_leaves=12,
)
KEYS = ["instances", "inputs", "examples", "context", "signature_name"]


def answered(body: bytes) -> None:
    """All that a server does with a body; what it says is told or raised as an error."""
    try:
        document = json_tensor.parse(body)
    except ServingError:
        return
    signatures = [infos(x=dtype) for dtype in (*NUMPY, STRING, types_pb2.DT_HALF)]
    for signature in [*signatures, infos(x=STRING, y=FLOAT), {}]:
        try:
            tensors, way = json_tensor.inputs(document, signature)
        except ServingError:
            pass
        else:
            assert set(tensors) == set(signature)
            for name, tensor in tensors.items():
                wanted = NUMPY.get(signature[name].dtype, object)
                assert tensor.dtype == wanted
            json.loads(json_tensor.outputs(tensors, way))
    for function in (json_tensor.examples, json_tensor.signature_name):
        with contextlib.suppress(ServingError):
            function(document)


@given(st.binary() | st.binary().map(lambda end: b'{"instances": [NaN, "' + end))
def test_any_bytes_are_answered(body: bytes) -> None:
    answered(body)


@given(st.dictionaries(st.sampled_from(KEYS), VALUES | st.lists(VALUES, min_size=1)))
def test_any_document_is_answered(document: dict[str, Any]) -> None:
    answered(json.dumps(document).encode())


def finite(digits: str) -> float:
    if np.isinf(number := float(digits)):
        raise ValueError
    return number


TOKENS = [*'{}[]:,"\\-+10 .é', "e9", "e999", "NaN", "Infinity", '"a"', "\\u0041", "null", "[1,"]


@given(st.lists(st.sampled_from(TOKENS), max_size=12).map("".join))
def test_nothing_is_read_otherwise_than_python_reads_it(value: str) -> None:
    hypothesis.assume("-NaN" not in value)  # Python refuses it, rapidjson does not
    text = f'{{"inputs":{value}}}'
    try:
        document = json_tensor.parse(text.encode())
    except ServingError:
        with pytest.raises(ValueError):  # noqa: PT011
            json.loads(text, parse_float=finite)
    else:
        assert repr(document) == repr(json.loads(text))


@given(st.binary(max_size=30), st.data())
def test_base64_is_taken_as_abseil_takes_it(value: bytes, data: st.DataObject) -> None:
    text = base64.b64encode(value).decode()
    bare = text.rstrip("=")
    dots = bare + "." * (len(text) - len(bare))
    place = data.draw(st.integers(0, len(text)))
    spaced = text[:place] + data.draw(st.text(alphabet=" \t\n\v\f\r")) + text[place:]
    for way in (text, bare, dots, spaced):
        same(only(json.dumps({"inputs": {"b64": way}}), STRING), value, object)


@given(st.text(alphabet="AQgwZ09+/=. \n") | st.text(alphabet="AQgw=-é"))
def test_nothing_else_is_base64(text: str) -> None:
    packed = re.sub(r"[ \t\n\v\f\r]", "", text)
    digits, padding = re.fullmatch("([^=.]*)(.*)", packed, re.DOTALL).groups()
    padded = digits + "=" * (-len(digits) % 4)
    proper = re.fullmatch("([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2,3})?", digits) and (
        not padding or (re.fullmatch("[=.]*", padding) and len(packed) == len(padded))
    )
    body = json.dumps({"inputs": {"b64": text}})
    if proper:
        same(only(body, STRING), base64.b64decode(padded), object)
    else:
        assert refused(body, x=STRING) == "Unable to base64 decode"


# What answers say.


def any_array(dtype: Any, least: int = 1) -> st.SearchStrategy[np.ndarray]:
    shapes = arrays.array_shapes(min_dims=1, max_dims=4, min_side=least, max_side=4)
    if dtype is object:
        return shapes.flatmap(
            lambda shape: st.lists(
                st.binary(max_size=5),
                min_size=int(np.prod(shape)),
                max_size=int(np.prod(shape)),
            ).map(lambda values: strings(values).reshape(shape))
        )
    return arrays.arrays(dtype, shapes)


@pytest.mark.parametrize("way", Format)
@pytest.mark.parametrize("dtype", [*NUMPY, STRING])
@given(data=st.data())
def test_arrays_come_and_go_unchanged(dtype: int, way: Format, data: st.DataObject) -> None:
    kind = NUMPY.get(dtype, object)
    array = data.draw(any_array(kind))
    plain = np.frompyfunc(lambda value: {"b64": base64.b64encode(value).decode()}, 1, 1)
    values = (plain(array) if kind is object else array).tolist()
    named = {"x": values} if way is Format.COLUMNAR else [{"x": value} for value in values]
    for value in (values, named):
        same(only(json.dumps({way.value: value}), dtype), array, kind)

    [(key, back)] = written(way, x_bytes=array).items()
    assert key == {Format.ROW: "predictions", Format.COLUMNAR: "outputs"}[way]
    if dtype in (FLOAT, DOUBLE):
        assert all(type(number) is float for number in np.array(back, object).flat)
        same(np.array(back, kind), array, kind)
    else:
        assert back == values
    same(only(json.dumps({way.value: back}), dtype), array, kind)


@given(st.data(), st.integers(0, 3))
def test_rows_of_several_outputs_are_objects(data: st.DataObject, rows: int) -> None:
    shape = (rows, data.draw(st.integers(0, 3)))
    scores = data.draw(arrays.arrays(np.float32, shape))
    label = strings([b"null", b"caf\xc3\xa9", b'\xff"\\'][:rows])
    count = data.draw(arrays.arrays(np.int64, (rows,)))
    body = json_tensor.outputs({"scores": scores, "label": label, "count": count}, Format.ROW)
    found = json.loads(body)["predictions"]
    assert [row["label"] for row in found] == ["null", "café", '\N{REPLACEMENT CHARACTER}"\\'][
        :rows
    ]
    assert [row["count"] for row in found] == count.tolist()
    same(np.array([row["scores"] for row in found], np.float32).reshape(shape), scores, np.float32)


def test_single_outputs_are_unwrapped() -> None:
    numbers = np.array([[1, 2], [3, 4]], np.int32)
    assert written(x=numbers) == {"predictions": [[1, 2], [3, 4]]}
    assert written(Format.COLUMNAR, x=numbers) == {"outputs": [[1, 2], [3, 4]]}
    assert written(x=np.arange(3)) == {"predictions": [0, 1, 2]}


@pytest.mark.parametrize(
    ("scalar", "wanted"),
    [
        (np.array(0.1, np.float32), 0.1),
        (np.array(2**64 - 1, np.uint64), 2**64 - 1),
        (np.array(True), True),
        (strings(b"a"), "a"),
    ],
)
def test_a_column_may_be_a_scalar(scalar: np.ndarray, wanted: Any) -> None:
    assert written(Format.COLUMNAR, x=scalar) == {"outputs": wanted}
    nan = np.array(np.nan)
    columns = written(Format.COLUMNAR, x=scalar, y=nan)["outputs"]
    assert columns["x"] == wanted
    assert np.isnan(columns["y"])


def test_strings_named_bytes_are_base64() -> None:
    texts = strings([[b"hello", b"\xff\0"], [b"", b"tf"]])
    assert written(a_bytes=texts)["predictions"] == [
        [{"b64": "aGVsbG8="}, {"b64": "/wA="}],
        [{"b64": ""}, {"b64": "dGY="}],
    ]
    several = written(Format.COLUMNAR, a_bytes=texts[:, 0], text=texts[:, 0])
    assert several == {
        "outputs": {"a_bytes": [{"b64": "aGVsbG8="}, {"b64": ""}], "text": ["hello", ""]}
    }


def test_floats_are_written_with_their_shortest_digits() -> None:
    numbers = np.array([[1, 0.1, 9000000, 0.5], [0.0003, 3e-05, 555557.5, -0.0]], np.float32)
    shortest = b'{"predictions":[[1.0,0.1,9000000.0,0.5],[0.0003,0.00003,555557.5,-0.0]]}'
    assert json_tensor.outputs({"x": numbers}, Format.ROW) == shortest
    assert json_tensor.outputs({"x": numbers.astype(">f4")}, Format.ROW) == shortest
    assert json_tensor.outputs({"x": np.asfortranarray(numbers)}, Format.ROW) == shortest
    half = np.array([0.5, 0.1], np.float16)
    assert json_tensor.outputs({"x": half}, Format.ROW) == b'{"predictions":[0.5,0.099975586]}'


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_numbers_that_json_does_not_know_are_written_too(dtype: Any) -> None:
    numbers = np.array([[np.nan, np.inf], [3, -np.inf]], dtype)
    assert json_tensor.outputs({"x": numbers}, Format.ROW) == (
        b'{"predictions": [[NaN, Infinity], [3.0, -Infinity]]}'
    )
    body = json_tensor.outputs({"x": numbers, "y": np.array([0.1, 7], np.float32)}, Format.ROW)
    assert body.endswith(b'{"x": [3.0, -Infinity], "y": 7.0}]}')
    assert b'"y": 0.1}' in body


@pytest.mark.parametrize("more", [{}, {"y": np.zeros((0, 3, 4), np.float32)}])
def test_no_rows_are_an_empty_list(more: dict[str, np.ndarray]) -> None:
    for array in (np.zeros((0, 2), np.int32), strings([]).reshape(0, 1, 2)):
        assert written(x=array, **more) == {"predictions": []}


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({}, "Cannot convert empty tensor map to JSON"),
        ({"x": np.zeros(2, np.complex64)}, "JSON value for tensor type: complex64"),
        ({"x": np.zeros(2, np.uint16)}, "JSON value for tensor type: uint16"),
        ({"x": np.array(1)}, "Tensor name: x has no shape information"),
        ({"x": strings(b"a")}, "Tensor name: x has no shape information"),
        (
            {"x": np.zeros((2, 3)), "y": strings([[b"foo"]])},
            "Tensor name: y has inconsistent batch size: 1 expecting: 2",
        ),
        (
            {"x": np.zeros((0, 2)), "y": strings([[b"foo"]])},
            "Tensor name: y has inconsistent batch size: 1 expecting: 0",
        ),
    ],
)
def test_outputs_that_can_not_be_written(tensors: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ServingError, match=message) as raised:
        json_tensor.outputs(tensors, Format.ROW)
    assert raised.value.code is Code.INVALID_ARGUMENT


@given(st.text() | st.characters(categories=["Cs"]))
def test_an_error_is_its_message(message: str) -> None:
    found = json.loads(json_tensor.error(message))
    assert found == {"error": message.encode(errors="replace").decode()}


# Classify and regress.


def examples(body: str) -> input_pb2.Input:
    return json_tensor.examples(json_tensor.parse(body.encode()))


def test_examples_without_context() -> None:
    found = examples(
        """{"examples": [
          {"names": ["foo", "bar"], "ratings": [8.0, 9.0], "age": 20},
          {"names": ["baz"], "ratings": 6.0, "none": []}
        ]}"""
    )
    assert found == text_format.Parse(
        """example_list {
          examples { features {
            feature { key: "names" value { bytes_list { value: "foo" value: "bar" } } }
            feature { key: "ratings" value { float_list { value: 8.0 value: 9.0 } } }
            feature { key: "age" value { int64_list { value: 20 } } }
          } }
          examples { features {
            feature { key: "names" value { bytes_list { value: "baz" } } }
            feature { key: "ratings" value { float_list { value: 6.0 } } }
            feature { key: "none" value { } }
          } }
        }""",
        input_pb2.Input(),
    )


def test_examples_with_context() -> None:
    found = examples(
        """{
          "context": {"query": "pizza", "location": ["sfo"]},
          "examples": [
            {"ratings": [8.0, Infinity], "names": ["baz", {"b64": "aGVsbG8="}]},
            {"mix": [1, true, false], "ratings": -Infinity}
          ]
        }"""
    )
    assert found == text_format.Parse(
        """example_list_with_context {
          context { features {
            feature { key: "query" value { bytes_list { value: "pizza" } } }
            feature { key: "location" value { bytes_list { value: "sfo" } } }
          } }
          examples { features {
            feature { key: "ratings" value { float_list { value: 8.0 value: inf } } }
            feature { key: "names" value { bytes_list { value: "baz" value: "hello" } } }
          } }
          examples { features {
            feature { key: "mix" value { int64_list { value: 1 value: 1 value: 0 } } }
            feature { key: "ratings" value { float_list { value: -inf } } }
          } }
        }""",
        input_pb2.Input(),
    )
    empty = examples('{"context": {}, "examples": [{}]}')
    assert empty.example_list_with_context.HasField("context")
    assert len(empty.example_list_with_context.examples) == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"context": [{"names": ["foo"]}]}', "Example must be JSON object but got JSON Array"),
        ("{}", "When method is classify, key 'examples' is expected and was not found"),
        ('{"examples": {"names": ["foo"]}}', "Expecting 'examples' value to be an list/array"),
        ('{"examples": []}', "'examples' value is an empty array"),
        ('{"examples": [[{"names": 1}]]}', "Example must be JSON object but got JSON Array"),
        ('{"examples": [{"a": [1, null]}]}', "Feature: a has element with unexpected JSON type: N"),
        ('{"examples": [{"a": [1, 1.0]}]}', "element type in feature: a expecting type: int64"),
        ('{"examples": [{"a": [1.0, "b"]}]}', "element type in feature: a expecting type: float"),
        ('{"examples": [{"a": ["b", true]}]}', "element type in feature: a expecting type: bytes"),
        ('{"examples": [{"a": {"b": 1}}]}', "a has element with unexpected JSON type: Object"),
        ('{"examples": [{"a": [[1], 2]}]}', "a has element with unexpected JSON type: Array"),
        ('{"examples": [{"a": 18446744073709551603}]}', "Only int64 is supported"),
        ('{"examples": [{"a": 1.7e308}]}', "to float without loss of precision"),
        ('{"examples": [{"a": {"b64": "a"}}]}', "Unable to base64 decode"),
    ],
)
def test_mistakes_in_examples(body: str, message: str) -> None:
    with pytest.raises(ServingError) as raised:
        examples(body)
    assert message in raised.value.message
    assert raised.value.code is Code.INVALID_ARGUMENT


def test_classifications_are_labels_with_scores() -> None:
    result = text_format.Parse(
        """classifications { classes { label: "car" score: 0.2 } classes { label: "b" score: 1 } }
        classifications { }
        classifications { classes { label: "null" score: nan } }""",
        classification_pb2.ClassificationResult(),
    )
    body = json_tensor.classifications(result)
    assert body == b'{"results": [[["car", 0.2], ["b", 1.0]], [], [["null", NaN]]]}'
    del result.classifications[2]
    assert json_tensor.classifications(result) == b'{"results":[[["car",0.2],["b",1.0]],[]]}'
    with pytest.raises(ServingError, match="empty ClassificationResults"):
        json_tensor.classifications(classification_pb2.ClassificationResult())


def test_regressions_are_values() -> None:
    result = text_format.Parse(
        "regressions { value: 0.2 } regressions { value: 1 } regressions { value: -inf }",
        regression_pb2.RegressionResult(),
    )
    assert json_tensor.regressions(result) == b'{"results": [0.2, 1.0, -Infinity]}'
    del result.regressions[2]
    assert json_tensor.regressions(result) == b'{"results":[0.2,1.0]}'
    with pytest.raises(ServingError, match="empty RegressionResults"):
        json_tensor.regressions(regression_pb2.RegressionResult())
