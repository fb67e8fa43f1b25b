"""What TensorFlow Serving promises over REST, item by item, of a real server."""

import base64
import gzip
import http.client
import json
import math
import socket
import zlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests import much_work as work
from tests.conftest import encoded
from tests.model_servers import Server

HALF = "/v1/models/half_plus_two"
EVERY = "/v1/models/every"


def b64(content: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(content).decode()}


def every(server: Server, signature: str, **keys: Any) -> Any:
    return server.ask(f"{EVERY}:predict", {"signature_name": signature, **keys})


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/half_plus_two:predict",
        "/V1/Models/half_plus_two:PREDICT",
        "/v1/models/half%5Fplus%5Ftwo:predict",
        "/v1/models/half_plus_two/versions/123:predict",
        "/v1/models/half_plus_two/labels/stable:predict",
        "/v1/models/half_plus_two:predict?a=b",
    ],
)
def test_a_model_its_version_and_its_label_answer(server: Server, path: str) -> None:
    reply = server.ask(path, {"instances": [2.0, 3.0, 4.0]})
    assert reply.json == {"predictions": [3.0, 3.5, 4.0]}
    assert reply.headers["content-type"] == "application/json"
    assert "access-control-allow-origin" not in reply.headers


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/v1/models", 400, "Missing model name in request."),
        ("GET", "/v1/", 400, "Malformed request: GET /v1/"),
        ("GET", "/v1/models/half_plus_two:predict", 400, "Malformed request: GET /v1/models/half"),
        ("POST", "/v1/models/half_plus_two", 400, "Malformed request: POST /v1/models/half"),
        ("POST", "/v1/models/half_plus_two:explain", 400, "Malformed request"),
        ("POST", "/v1/models/a/b:predict", 400, "Malformed request"),
        ("PUT", "/v1/models/half_plus_two:predict", 400, "Malformed request: PUT"),
        ("DELETE", "/v1/models/half_plus_two", 400, "Malformed request: DELETE"),
        ("OPTIONS", "/v1/models/half_plus_two:predict", 400, "Malformed request: OPTIONS"),
        ("POST", "/v1/models/half_plus_two/versions/x:predict", 400, "Malformed request"),
        ("POST", f"{HALF}/versions/99999999999999999999:predict", 400, "Failed to convert version"),
        ("POST", f"{HALF}/versions/{'9' * 5000}:predict", 400, "Failed to convert version"),
        ("GET", "/v2/models", 404, "Not found"),
        ("GET", "/v1", 404, "Not found"),
        ("GET", "/etc/passwd", 404, "Not found"),
        ("GET", "/v1/../etc/passwd", 400, "Malformed request"),
        ("GET", "/v1/models/..%2F..%2Fetc", 404, "Could not find any versions of model ../../etc"),
        ("GET", "/v1/models/no", 404, "Could not find any versions of model no"),
        ("GET", f"{HALF}/versions/7", 404, "Could not find version 7 of model half_plus_two"),
        ("GET", f"{HALF}/labels/no", 400, "Unrecognized servable version label: no"),
        ("POST", "/v1/models/no:predict", 404, "Servable not found for request: Latest(no)"),
        (
            "POST",
            f"{HALF}/versions/7:predict",
            404,
            "Servable not found for request: Specific(half_plus_two, 7)",
        ),
        ("POST", f"{HALF}/labels/no:predict", 400, "Unrecognized servable version label: no"),
    ],
)
def test_other_paths_and_methods(
    server: Server, method: str, path: str, status: int, message: str
) -> None:
    body = b'{"instances": [1.0]}' if method in ("POST", "PUT") else None
    reply = server.ask(path, body=body, method=method)
    assert reply.status == status
    assert reply.json["error"].startswith(message)


def test_gzip_bodies(server: Server) -> None:
    whole = b'{"instances": [2.0]}'
    members = gzip.compress(whole[:7]) + gzip.compress(b"") + gzip.compress(whole[7:])
    for encoding, packed in (("x-gzip", gzip.compress(whole)), ("gzip", members)):
        headers = {"Content-Encoding": encoding}
        reply = server.ask(f"{HALF}:predict", body=packed, headers=headers)
        assert reply.json == {"predictions": [3.0]}
    body = gzip.compress(whole)
    reply = server.ask(f"{HALF}:predict", body=body, headers={"Content-Encoding": "gzip"})
    assert reply.json == {"predictions": [3.0]}
    for broken in (b"no gzip", body[:-9]):
        reply = server.ask(f"{HALF}:predict", body=broken, headers={"Content-Encoding": "gzip"})
        assert reply.status == 400
        assert "gzip" in reply.json["error"]


def test_a_small_gzip_body_that_unpacks_to_gigabytes_is_refused(server: Server) -> None:
    packer = zlib.compressobj(wbits=31)
    body = b"".join(packer.compress(bytes(2**20)) for _ in range(1024)) + packer.flush()
    reply = server.ask(f"{HALF}:predict", body=body, headers={"Content-Encoding": "gzip"})
    assert reply.status == 413
    assert "4000000 bytes" in reply.json["error"]


def test_a_large_body_is_refused_before_all_of_it_is_sent(server: Server) -> None:
    connection = http.client.HTTPConnection("localhost", server.rest_port, timeout=30)
    connection.putrequest("POST", f"{HALF}:predict")
    connection.putheader("Content-Length", str(2**40))
    connection.endheaders()
    try:
        for _ in range(100):
            connection.send(b" " * 100_000)
    except OSError:  # the server has hung up
        pass
    try:
        assert connection.getresponse().status == 413
    except OSError:
        pass
    finally:
        connection.close()
    assert server.ask(HALF).status == 200


def test_a_body_that_is_too_large_is_not_even_asked_for(server: Server) -> None:
    with socket.create_connection(("localhost", server.rest_port), timeout=30) as client:
        head = f"POST {HALF}:predict HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
        client.sendall(f"{head}Content-Length: {2**40}\r\n\r\n".encode())
        assert client.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_page_that_lets_its_name_point_here_is_refused(server: Server) -> None:
    for path in (HALF, "/", "/models.json", "/healthz"):
        reply = server.ask(path, headers={"Host": "evil.example:8501"})
        assert reply.status == 403
        assert "This server is asked as localhost" in reply.json["error"]


def test_nan_and_infinity(server: Server) -> None:
    body = b'{"instances": [NaN, Infinity, -Infinity]}'
    found = server.ask(f"{HALF}:predict", body=body).json["predictions"]
    assert math.isnan(found[0])
    assert found[1:] == [math.inf, -math.inf]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "Missing 'inputs' or 'instances' key"),
        ({"instances": [1.0], "inputs": [1.0]}, "JSON Value: "),
        ({"instances": []}, "JSON Value: "),
        ({"instances": 1.0}, "JSON Value: "),
        ({"instances": ["a"]}, "Failed to process element: 0"),
        ({"instances": [1.0], "signature_name": 1}, "JSON Value: "),
        ({"instances": [1.0], "signature_name": "no"}, 'Serving signature name: "no" not found'),
        ([1.0], "JSON Value: "),
    ],
)
def test_predict_takes_one_of_instances_and_inputs(
    server: Server, document: Any, message: str
) -> None:
    reply = server.ask(f"{HALF}:predict", document)
    assert reply.status == 400
    assert reply.json["error"].startswith(message)


def test_unknown_keys_are_ignored_and_the_content_type_is_too(server: Server) -> None:
    reply = server.ask(
        f"{HALF}:predict",
        {"instances": [2.0], "more": {"a": []}},
        headers={"Content-Type": "text/plain"},
    )
    assert reply.json == {"predictions": [3.0]}


def test_row_format(server: Server) -> None:
    rows = [{"a": 1.0, "b": 2}, {"a": 0.5, "b": 0}]
    reply = every(server, "two", instances=rows)
    assert reply.json == {
        "predictions": [{"sum": 3.0, "name": "c"}, {"sum": 0.5, "name": "a"}],
    }
    for wrong in ([{"a": 1.0}], [{"a": 1.0, "b": 1, "c": 1}], [rows[0], 1.0], [1.0]):
        assert every(server, "two", instances=wrong).status == 400


def test_column_format(server: Server) -> None:
    reply = every(server, "two", inputs={"a": [1.0, 0.5], "b": [2, 0]})
    assert reply.json == {"outputs": {"sum": [3.0, 0.5], "name": ["c", "a"]}}
    assert every(server, "two", inputs={"a": [1.0]}).status == 400
    assert server.ask(f"{HALF}:predict", {"inputs": [2.0, 3.0]}).json == {"outputs": [3.0, 3.5]}


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("bool", [True, False]),
        ("int8", [-128, 127]),
        ("int16", [-(2**15), 2**15 - 1]),
        ("int32", [-(2**31), 2**31 - 1]),
        ("int64", [-(2**63), 2**63 - 1]),
        ("uint8", [0, 255]),
        ("uint32", [0, 2**32 - 1]),
        ("uint64", [0, 2**64 - 1]),
        ("float32", [0.1, 1.0, -3e38, 1e-40]),
        ("float64", [0.1, 1.0, 1e300]),
        ("string", ["é", ""]),
    ],
)
def test_dtypes_come_back_as_they_were_sent(server: Server, dtype: str, values: list[Any]) -> None:
    reply = every(server, f"echo_{dtype}", inputs=values)
    assert reply.status == 200, reply.json
    found = reply.json["outputs"]
    if dtype == "float32":
        assert np.float32(found).tolist() == np.float32(values).tolist()
    else:
        assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


@pytest.mark.parametrize(
    ("dtype", "value", "status"),
    [
        ("int32", 1.0, 400),
        ("int64", True, 400),
        ("bool", 1, 400),
        ("string", 1, 400),
        ("float32", "1.0", 400),
        ("float32", 2**24 + 1, 400),
        ("float64", 2**53 + 1, 400),
        ("uint64", -1, 400),
        ("float16", 1.0, 501),
    ],
)
def test_values_are_not_coerced(server: Server, dtype: str, value: Any, status: int) -> None:
    assert every(server, f"echo_{dtype}", inputs=[value]).status == status


def test_bytes_are_base64_in_and_out(server: Server) -> None:
    assert every(server, "upper", instances=[b64(b"ab\xff")]).json == {
        "predictions": [{"text": "AB�", "raw_bytes": b64(b"AB\xff")}]
    }
    for wrong in ({"b64": "!"}, {"b64": "YQ==", "more": 1}, {"b64": 1}):
        assert every(server, "upper", instances=[wrong]).status == 400
    assert every(server, "echo_float32", inputs=b64(b"a")).status == 400


def test_floats_are_written_as_floats_and_round_trip(server: Server) -> None:
    body = json.dumps({"signature_name": "echo_float32", "inputs": [1.0, 0.1, 16777215.0]})
    connection = http.client.HTTPConnection("localhost", server.rest_port)
    connection.request("POST", f"{EVERY}:predict", body)
    text = connection.getresponse().read().decode()
    connection.close()
    assert "1.0" in text
    assert "0.1," in text.replace(" ", "")


def test_row_outputs_must_share_their_first_dimension(server: Server) -> None:
    reply = every(server, "total", instances=[1.0, 2.0])
    assert reply.status == 400
    assert "has no shape information" in reply.json["error"]
    assert every(server, "total", inputs=[1.0, 2.0]).json == {"outputs": 3.0}


def test_classify_and_regress(server: Server) -> None:
    examples = [{"x": 2.0}, {"x": [4.0], "ignored": [1, True, "text", b64(b"b")][:1]}]
    reply = server.ask(
        f"{HALF}:classify", {"signature_name": "classify_x_to_y", "examples": examples}
    )
    assert reply.json == {"results": [[["", 3.0]], [["", 4.0]]]}
    reply = server.ask(
        f"{HALF}:regress", {"signature_name": "regress_x_to_y", "examples": examples}
    )
    assert reply.json == {"results": [3.0, 4.0]}
    reply = server.ask(
        f"{HALF}:regress",
        {"signature_name": "regress_x2_to_y3", "context": {"x2": 4.0}, "examples": [{"x": 1.0}]},
    )
    assert reply.json == {"results": [5.0]}


@pytest.mark.parametrize(
    "document",
    [
        {"signature_name": "classify_x_to_y"},
        {"signature_name": "classify_x_to_y", "examples": []},
        {"signature_name": "classify_x_to_y", "examples": [1.0]},
        {"signature_name": "classify_x_to_y", "examples": [{"x": None}]},
        {"signature_name": "classify_x_to_y", "examples": [{"x": [1.0, "a"]}]},
        {"signature_name": "regress_x_to_y", "examples": [{"x": 1.0}]},
        {"signature_name": "no", "examples": [{"x": 1.0}]},
        {"examples": [{"x": 1.0}]},
    ],
)
def test_wrong_classify_requests(server: Server, document: Any) -> None:
    reply = server.ask(f"{HALF}:classify", document)
    assert reply.status == 400
    assert reply.json["error"]


def test_status(server: Server) -> None:
    expected = {
        "model_version_status": [
            {
                "version": "123",
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
        ]
    }
    for path in (HALF, f"{HALF}/versions/123", f"{HALF}/labels/stable"):
        assert server.ask(path).json == expected


def test_metadata(server: Server) -> None:
    found = server.ask(f"{HALF}/metadata").json
    assert found["model_spec"] == {
        "name": "half_plus_two",
        "version": "123",
        "signature_name": "",
    }
    signatures = found["metadata"]["signature_def"]["signature_def"]
    assert signatures["serving_default"]["method_name"] == "tensorflow/serving/predict"
    assert signatures["serving_default"]["inputs"]["x"] == {
        "dtype": "DT_FLOAT",
        "tensor_shape": {
            "dim": [{"size": "-1", "name": ""}, {"size": "1", "name": ""}],
            "unknown_rank": False,
        },
        "name": "x:0",
    }
    assert server.ask(f"{HALF}/versions/123/metadata").json == found


def test_a_bad_image_fails_its_own_request_only(server: Server) -> None:
    good = encoded(np.full((8, 8, 3), 255, np.uint8))
    reply = server.ask("/v1/models/images:predict", {"instances": [b64(b"no image")]})
    assert reply.status == 400
    assert "an image can't be decoded: not an image" in reply.json["error"]
    assert "node" not in reply.json["error"]
    reply = server.ask("/v1/models/images:predict", {"instances": [b64(good)]})
    assert reply.json == {
        "predictions": [{"classes": ["dark", "light"], "scores": [0.0, 1.0]}],
    }


def test_an_image_that_claims_too_many_pixels_is_not_decoded(server: Server) -> None:
    image = bytearray(encoded(np.zeros((8, 8, 3), np.uint8)))
    image[16:24] = (60_000).to_bytes(4, "big") * 2
    reply = server.ask("/v1/models/images:predict", {"instances": [b64(bytes(image))]})
    assert reply.status == 400
    assert "claims 3600000000 pixels" in reply.json["error"]
    # Neither beside one that the graph doesn't read by itself, nor within an example.
    instances = [b64(bytes(image)), b64(encoded(np.zeros((8, 8, 3), np.uint8), "GIF"))]
    reply = server.ask("/v1/models/images:predict", {"instances": instances})
    assert (reply.status, reply.json["error"]) == (
        400, "an image can't be decoded: too many pixels",
    )  # fmt: skip
    example = tf.train.Example()
    example.features.feature["image/encoded"].bytes_list.value.append(bytes(image))
    for unknown in (b"", b"\x12\0", b"RIFF" + bytes(71)):  # the last looks like a WebP
        content = {"b64": base64.b64encode(unknown + example.SerializeToString()).decode()}
        document = {"signature_name": "serving_examples", "instances": [content]}
        reply = server.ask("/v1/models/images:predict", document)
        assert reply.status == 400
        assert "claims 3600000000 pixels" in reply.json["error"]


def test_small_files_that_are_much_work_are_not_decoded(server: Server) -> None:
    def ask(signature: str, content: bytes) -> Any:
        document = {"signature_name": signature, "instances": [b64(content)]}
        reply = server.ask("/v1/models/images:predict", document)
        return reply.json.get("error") or reply.json["predictions"]

    assert ask("frames", work.animation((150, 100), 40)) == [40 * 150 * 100]
    assert "claims 900000000 pixels" in ask("frames", work.animation((1500, 1500), 400))
    [scored] = ask("serving_default", work.scans((80, 80), 10))
    assert scored["classes"] == ["dark", "light"]
    assert "claims 320000000 pixels" in ask("serving_default", work.scans((800, 800), 10_000))
    texts = work.png_texts(40 * [bytes(8_000_000)])
    assert "an image can't be decoded: too many pixels" in ask("serving_default", texts)


def test_metrics(server: Server) -> None:
    server.ask(f"{HALF}:predict", {"instances": [2.0]})
    server.ask(f"{HALF}:predict", {"instances": ["a"]})
    server.ask("/v1/models/unknown_name:predict", {"instances": ["a"]})
    page = server.ask("/monitoring/prometheus/metrics").json
    assert "# TYPE :tensorflow:serving:request_count counter" in page
    assert ':tensorflow:serving:request_count{model_name="half_plus_two",status="OK"}' in page
    assert 'model_name="half_plus_two",status="INVALID_ARGUMENT"}' in page
    assert (
        ':tensorflow:serving:request_latency_count{model_name="half_plus_two",API="predict",'
        'entrypoint="REST"}'
    ) in page
    assert ":tensorflow:serving:model_warmup_latency_count{" in page
    assert "unknown_name" not in page


def test_health(server: Server) -> None:
    assert server.ask("/healthz").status == 200
    assert server.ask("/readyz").status == 200


def test_what_is_not_http_does_no_harm(server: Server) -> None:
    with socket.create_connection(("localhost", server.rest_port)) as connection:
        connection.sendall(b"\x00\xff nonsense\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400")
    assert server.ask(HALF).status == 200
