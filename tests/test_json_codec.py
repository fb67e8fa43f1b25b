import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import psutil
import pytest
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef, TensorInfo

from darkroom.serving.codecs import json_codec
from darkroom.serving.codecs.json_codec import JsonCodec
from darkroom.serving.codecs.json_tensor import Format
from darkroom.serving.errors import Code, ServingError
from tests.conftest import REPOSITORY

FLOATS = SignatureDef(inputs={"x": TensorInfo(dtype=types_pb2.DT_FLOAT)})
STRINGS = SignatureDef(inputs={"x": TensorInfo(dtype=types_pb2.DT_STRING)})
SIGNATURES = {"serving_default": FLOATS, "words": STRINGS}


@pytest.fixture
def codec() -> Iterator[JsonCodec]:
    made = JsonCodec()
    yield made
    assert made._connection is not None
    made._connection.close()


def inputs(codec: JsonCodec, body: bytes) -> json_codec.Inputs:
    return asyncio.run(codec.inputs(body, SIGNATURES))


def failure(codec: JsonCodec, body: bytes) -> tuple[Code, str]:
    with pytest.raises(ServingError) as raised:
        inputs(codec, body)
    return raised.value.code, raised.value.message


@pytest.mark.parametrize("count", [3, 20_000, 200_000])
def test_few_and_many_values_are_read_alike(codec: JsonCodec, count: int) -> None:
    row = ",".join(["0.5,1"] * (count // 2))
    asked = inputs(codec, f'{{"instances": [[{row}],[{row}]]}}'.encode())
    assert (asked.signature, asked.format) == ("serving_default", Format.ROW)
    expected = np.tile(np.array([0.5, 1], np.float32), count // 2)
    np.testing.assert_array_equal(asked.arrays["x"], [expected, expected])
    assert asked.arrays["x"].dtype == np.float32

    examples = ",".join(['{"a": 1}'] * count)
    of_classify = asyncio.run(
        codec.examples(f'{{"signature_name": "top", "examples": [{examples}]}}'.encode())
    )
    assert of_classify.signature == "top"
    assert len(of_classify.examples.example_list.examples) == count


def test_many_bytes_of_few_values_are_read(codec: JsonCodec) -> None:
    word = "YWJj" * 500_000
    asked = inputs(codec, f'{{"signature_name": "words", "inputs": {{"b64": "{word}"}}}}'.encode())
    assert asked.arrays["x"].item() == b"abc" * 500_000


@pytest.mark.parametrize("count", [1, 50_000])
def test_errors_are_the_same_from_the_other_process(codec: JsonCodec, count: int) -> None:
    zeros = ",".join(["0"] * count)
    code, message = failure(codec, f'{{"instances": [{zeros}, "a"]}}'.encode())
    assert code is Code.INVALID_ARGUMENT
    assert "Type: String is not of expected type: float" in message
    body = f'{{"signature_name": "none", "instances": [{zeros}]}}'.encode()
    assert failure(codec, body)[1] == ('Serving signature name: "none" not found in signature def')
    assert failure(codec, f"[{zeros}".encode())[1].startswith("JSON Parse error")
    assert inputs(codec, f'{{"instances": [{zeros}]}}'.encode()).arrays["x"].shape == (count,)


@pytest.mark.parametrize("count", [3, 100_000])
def test_answers_are_written_alike(codec: JsonCodec, count: int) -> None:
    values = np.full((count, 1), 0.1, np.float32)
    written = asyncio.run(codec.outputs({"y": values}, Format.ROW))
    assert written == b'{"predictions":[' + b",".join([b"[0.1]"] * count) + b"]}"
    with pytest.raises(ServingError, match="tensor type: uint16"):
        asyncio.run(codec.outputs({"y": np.zeros(count, np.uint16)}, Format.ROW))


def test_more_lists_than_a_request_may_have_are_not_parsed(codec: JsonCodec) -> None:
    code, message = failure(codec, b'{"a":[' + b"[]," * 5_000_000 + b'[]],"instances":["x"]}')
    assert (code, message) == (
        Code.INVALID_ARGUMENT, "A request may have 4,000,000 lists and objects.",
    )  # fmt: skip


def test_more_strings_than_a_request_may_have(codec: JsonCodec) -> None:
    words = ",".join(['"a"'] * 100_001)
    body = f'{{"signature_name": "words", "instances": [{words}]}}'.encode()
    assert failure(codec, body)[1] == "A request may have 100,000 strings."


def test_who_has_gone_leaves_no_answer_for_the_next(codec: JsonCodec) -> None:
    def body(value: int) -> bytes:
        return f'{{"instances": [{",".join([str(value)] * 300_000)}]}}'.encode()

    async def ask() -> None:
        asked = [asyncio.create_task(codec.inputs(body(n), SIGNATURES)) for n in range(4)]
        await asyncio.sleep(0.02)
        asked[0].cancel()
        asked[1].cancel()
        for number in (2, 3):
            assert (await asked[number]).arrays["x"][0] == number

    asyncio.run(ask())


CODE = """
import asyncio, os
from darkroom.serving.codecs.json_codec import JsonCodec
codec = JsonCodec()
print(os.getpid(), flush=True)
input()
"""


def test_the_process_ends_with_its_parent() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CODE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        [child] = psutil.Process(process.pid).children()
        process.send_signal(signal.SIGKILL)
        process.wait()
        child.wait(timeout=60)


def test_where_it_was_killed_requests_are_refused_and_small_ones_go_on(codec: JsonCodec) -> None:
    codec._process.kill()
    many = f'{{"instances": [{",".join(["1"] * 50_000)}]}}'.encode()
    for _ in range(2):
        assert failure(codec, many) == (Code.UNAVAILABLE, "Large JSON is refused now.")
    assert inputs(codec, b'{"instances": [1]}').arrays["x"] == [1]
