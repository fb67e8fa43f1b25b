"""What a collector gets of servers and runs: a real one of OTLP over HTTP, on loopback."""

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from tensorflow_serving.apis import classification_pb2

from darkroom.components.base import tfrecord
from tests import model_servers, serving_models
from tests.conftest import Project, darkroom, python
from tests.test_grpc_server import SECONDS, examples, predict_request

MODEL = "half"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALLER = {"traceparent": f"00-{TRACE}-{PARENT}-01"}


class Collector(ThreadingHTTPServer):
    """Takes spans; ``spans`` has them as they came, ``services`` whose they are."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.spans: list[Span] = []
        self.services: set[str] = set()

    def called(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        assert self.path == "/v1/traces"
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.server.services.add(attributes(resource.resource)["service.name"])
            for scope in resource.scope_spans:
                self.server.spans += scope.spans
        self.send_response(200)
        self.end_headers()

    def log_message(self, *words: object) -> None:
        """Says nothing."""


def attributes(of: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in of.attributes}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / MODEL
    serving_models.half_plus_two(folder / "3")
    return folder


@pytest.fixture(scope="module")
def served(model: Path, collector: Collector) -> Collector:
    """What came of the requests below, once their server has stopped."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        words = (f"--model_name={MODEL}", f"--model_base_path={model}")
        with model_servers.running(model.parent, *words) as server:
            path = f"/v1/models/{MODEL}"
            server.ask(f"{path}:predict", {"instances": [1.0, 2.0]}, headers=CALLER)
            server.ask(f"{path}/versions/3:predict", {"instances": [1.0]})
            server.ask("/v1/models/gone:predict", {"instances": [1.0]})
            server.ask(f"{path}/metadata")
            server.ask("/v1/nothing")
            server.stub.Predict(
                predict_request(MODEL, x=[1.0, 2.0, 3.0]), SECONDS, metadata=tuple(CALLER.items())
            )
            request = classification_pb2.ClassificationRequest()
            request.model_spec.name = MODEL
            request.model_spec.signature_name = "classify_x_to_y"
            examples(request, 1.0)
            server.stub.Classify(request, SECONDS)
            with pytest.raises(grpc.RpcError):
                server.stub.Predict(predict_request("gone", x=[1.0]), SECONDS)
            assert server.stop() == 0
    return collector


def test_a_request_over_rest_is_a_span_of_its_caller(served: Collector) -> None:
    [span] = served.called("POST /v1/models/{model}:predict")[:1]
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert span.kind == Span.SPAN_KIND_SERVER
    assert span.start_time_unix_nano < span.end_time_unix_nano
    assert attributes(span) == {
        "http.request.method": "POST",
        "http.route": "/v1/models/{model}:predict",
        "http.response.status_code": 200,
        "url.path": f"/v1/models/{MODEL}:predict",
        "darkroom.model.name": MODEL,
        "darkroom.model.version": 3,
        "darkroom.model.signature": "serving_default",
        "darkroom.examples": 2,
    }
    assert served.services == {"darkroom-model-server"}


def test_a_request_over_grpc_is_a_span_of_its_caller(served: Collector) -> None:
    service = "tensorflow.serving.PredictionService"
    span, refused = served.called(f"{service}/Predict")
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert span.kind == Span.SPAN_KIND_SERVER
    assert attributes(span) == {
        "rpc.system": "grpc",
        "rpc.service": service,
        "rpc.method": "Predict",
        "rpc.grpc.status_code": 0,
        "darkroom.model.name": MODEL,
        "darkroom.model.version": 3,
        "darkroom.model.signature": "serving_default",
        "darkroom.examples": 3,
    }
    assert attributes(refused)["rpc.grpc.status_code"] == grpc.StatusCode.NOT_FOUND.value[0]
    assert not refused.parent_span_id
    [classified] = served.called(f"{service}/Classify")
    assert attributes(classified)["darkroom.model.signature"] == "classify_x_to_y"


def test_names_are_few_and_clients_mistakes_are_no_faults(served: Collector) -> None:
    answers = [(span.name, attributes(span)) for span in served.spans]
    statuses = "http.response.status_code"
    assert sorted((name, one[statuses]) for name, one in answers if statuses in one) == [
        ("GET", 400),
        ("GET /v1/models/{model}/metadata", 200),
        ("POST /v1/models/{model}/versions/{version}:predict", 200),
        ("POST /v1/models/{model}:predict", 200),
        ("POST /v1/models/{model}:predict", 404),
    ]
    assert {span.status.code for span in served.spans} == {Status.STATUS_CODE_UNSET}


def test_a_fault_of_the_server_is_marked(
    model: Path, collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{collector.url}/v1/traces")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    words = [f"--model_name={MODEL}", f"--model_base_path={model}", "--rest_api_timeout_in_ms=100"]
    with model_servers.running(tmp_path, *words) as server:
        slow = http.client.HTTPConnection("localhost", server.rest_port)
        slow.putrequest("POST", f"/v1/models/{MODEL}:predict")
        slow.putheader("content-length", "100")  # of which nothing comes
        slow.endheaders()
        reply = slow.getresponse()
        assert reply.status == 504
        error = json.loads(reply.read())["error"]
        slow.close()
        assert server.stop() == 0
    assert "mine" in collector.services
    [failed] = [one for one in collector.spans if one.status.code == Status.STATUS_CODE_ERROR]
    assert failed.status.message == error
    assert attributes(failed)["http.response.status_code"] == reply.status


@pytest.mark.parametrize("listens", [False, True], ids=["refuses", "never answers"])
def test_a_collector_that_is_away_is_told_of_once(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listens: bool
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if listens:
            silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        words = (f"--model_name={MODEL}", f"--model_base_path={model}")
        with model_servers.running(tmp_path, *words) as server:
            for _ in range(30):
                assert server.ask(f"/v1/models/{MODEL}:predict", {"instances": [1.0]}).status == 200
            assert server.stop() == 0
        told = [line for line in server.log.read_text().splitlines() if "OpenTelemetry" in line]
        assert len(told) == 1
        assert "Traceback" not in server.log.read_text()
        assert ("last spans could not be sent" if listens else "spans are lost") in told[0]


CODE = """
import logging, sys
from darkroom.serving import logs, telemetry
logs.begin(sys.stdout)
telemetry.begin("it")
with telemetry.span("outer", {}):
    logging.info("within")
logging.info("without")
"""


def test_logs_in_json_say_which_span(tmp_path: Path) -> None:
    url = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    said = python("-c", CODE, cwd=tmp_path, DARKROOM_LOG_FORMAT="json", **url).stdout
    within, without = map(json.loads, said.splitlines())
    assert {len(within["trace_id"]), len(within["span_id"])} == {32, 16}
    assert without.keys() == {"timestamp", "level", "logger", "message"}


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:9", "OTEL_SDK_DISABLED": "True"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:9", "OTEL_TRACES_EXPORTER": "none"},
    ],
    ids=lambda variables: " ".join(variables) or "unset",
)
def test_switched_off_nothing_is_imported(tmp_path: Path, variables: dict[str, str]) -> None:
    code = f"{CODE}telemetry.send(); telemetry.note({{}}); telemetry.fail(''); telemetry.end()\n"
    code += "print([name for name in sys.modules if 'opentelemetry' in name])"
    assert python("-c", code, cwd=tmp_path, **variables).stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        (
            {"OTEL_TRACES_EXPORTER": "zipkin"},
            "OTEL_TRACES_EXPORTER: expected otlp, found 'zipkin'.",
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL: expected http/protobuf, found 'grpc'.",
        ),
    ],
)
@pytest.mark.parametrize("program", ["darkroom", "model_server"])
def test_what_can_not_be_sent_is_a_sentence(
    tmp_path: Path, variables: dict[str, str], sentence: str, program: str
) -> None:
    words = {
        "darkroom": ["-m", "darkroom", "run", "--set", f"root={tmp_path}"],
        "model_server": ["-m", "darkroom.serving.model_server", "--model_base_path=/a", "--port=0"],
    }
    result = python(*words[program], cwd=tmp_path, **variables)
    assert (result.returncode, result.stdout) == (1, f"{program}: {sentence}\n")


def test_without_the_library_the_extra_is_named(tmp_path: Path) -> None:
    without = tmp_path / "without" / "opentelemetry"
    without.mkdir(parents=True)
    (without / "__init__.py").write_text("raise ImportError")
    code = f"import sys; sys.path.insert(0, {str(without.parent)!r})\n"
    code += "from darkroom.serving import telemetry; telemetry.begin('it')"
    said = python("-c", code, cwd=tmp_path, OTEL_TRACES_EXPORTER="otlp").stdout
    assert "is set, and OpenTelemetry isn't installed: pip install 'darkroom-tfx[open" in said


def run_spans(collector: Collector, before: int) -> tuple[Span, dict[str, Span]]:
    [whole] = [span for span in collector.spans[before:] if not span.parent_span_id]
    nodes = {span.name: span for span in collector.spans[before:] if span is not whole}
    assert {span.trace_id for span in nodes.values()} <= {whole.trace_id}
    assert {span.parent_span_id for span in nodes.values()} <= {whole.span_id}
    for span in nodes.values():
        assert whole.start_time_unix_nano < span.start_time_unix_nano < span.end_time_unix_nano
        assert span.end_time_unix_nano <= whole.end_time_unix_nano
    return whole, nodes


@pytest.mark.slow
def test_a_run_is_a_trace(
    small: Project, collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.copied(tmp_path)
    project, before = Project(tmp_path), len(collector.spans)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    result = project.run()
    assert result.returncode == 0, result.stdout
    whole, nodes = run_spans(collector, before)
    status = project.status()
    assert attributes(whole) == {"darkroom.pipeline": "small", "darkroom.run": status["run"]}
    assert whole.status.code == Status.STATUS_CODE_UNSET
    assert {name: attributes(span)["darkroom.state"] for name, span in nodes.items()} == {
        node["id"]: node["state"] for node in status["nodes"]
    }
    pusher = attributes(nodes["Pusher"])
    assert (pusher["darkroom.node"], pusher["darkroom.run"]) == ("Pusher", status["run"])
    assert "darkroom" in collector.services
    assert "OpenTelemetry" not in result.stdout


def test_so_is_one_that_fails(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = {"image/encoded": b"no image", "image/class/text": b"cat"}
    for split in ("train", "eval"):
        (tmp_path / split).mkdir()
        records = [tfrecord.encode_example(example)] * 20
        tfrecord.write(tmp_path / split / "a.tfrecord", records)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    for data, failed in ((".", "ImportExampleGen"), ("nowhere", "")):
        before = len(collector.spans)
        values = (f"data.path={data}", "data.bundled=null", "data.splits.test=null")
        overrides = [word for value in values for word in ("--set", value)]
        result = darkroom("run", "--set", "training.recipe=none", *overrides, cwd=tmp_path)
        assert result.returncode == 1
        whole, nodes = run_spans(collector, before)
        assert whole.status.code == Status.STATUS_CODE_ERROR
        assert f"darkroom: {whole.status.message}\n" in result.stdout
        assert set(nodes) == {failed} - {""}
        for span in nodes.values():
            assert attributes(span)["darkroom.state"] == "failed"
            assert span.status.code == Status.STATUS_CODE_ERROR
            assert whole.status.message.startswith(f"{failed} failed. {span.status.message}")
