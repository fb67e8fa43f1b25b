"""The REST side, in ASGI without a framework: each microsecond is one of every request."""

import asyncio
import base64
import functools
import hashlib
import logging
import re
import urllib.parse
import zlib
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import NamedTuple, TypedDict

import orjson
from google.protobuf import json_format
from google.protobuf.message import Message
from tensorflow_serving.apis.classification_pb2 import ClassificationRequest
from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataRequest, SignatureDefMap
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest
from tensorflow_serving.apis.model_pb2 import ModelSpec
from tensorflow_serving.apis.regression_pb2 import RegressionRequest

from darkroom.serving import signatures, telemetry
from darkroom.serving.codecs import json_tensor
from darkroom.serving.codecs.json_tensor import Document, Json
from darkroom.serving.errors import Code, ServingError, invalid
from darkroom.serving.flags import Flags
from darkroom.serving.protocols.access import Keys
from darkroom.serving.server import prometheus
from darkroom.serving.server.prediction_service import PredictionService

_log = logging.getLogger(__name__)

_API = "/v1/"
LIVE_PATH, READY_PATH = "/healthz", "/readyz"
_MODELS_PATH = "/models.json"  # for the page: each model's labels
_JSON = "application/json"
_TOO_LARGE = 413  # HTTP's Content Too Large
_LARGE = 2**20  # larger bodies are read by a thread, so that others' requests don't wait
_CORS = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "POST, GET",
    "access-control-allow-headers": "Content-Type, Authorization, X-API-Key",
}
_VERSION = r"(?:/versions/(\d+)|/labels/([^/:]+))?"
_PATHS = {
    method: re.compile(path, re.IGNORECASE | re.ASCII)
    for method, path in {
        "POST": rf"/v1/models/([^/:]+){_VERSION}:(classify|regress|predict)",
        "GET": rf"/v1/models(?:/([^/:]+))?{_VERSION}(?:/(metadata))?",
    }.items()
}
_MAX_VERSION = 2**63 - 1  # int64 on gRPC's wire

_PAGE = Path(__file__).with_name("browser.html")
_PAGE_POLICY = (
    "default-src 'none'; connect-src 'self'; img-src blob:; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'"
)


class _Scope(TypedDict):
    type: str
    method: str
    raw_path: bytes
    headers: list[tuple[bytes, bytes]]  # names in lower case


class _Event(TypedDict, total=False):
    type: str
    body: bytes
    more_body: bool


_Receive = Callable[[], Awaitable[_Event]]
_Send = Callable[[Mapping[str, object]], Awaitable[None]]


class Answer(NamedTuple):
    """An HTTP response."""

    status: int
    body: bytes
    content_type: str = _JSON
    headers: Mapping[str, str] = {}


class _TooLarge(ServingError):
    """The body is larger than what is accepted."""


class RestApp:
    """The application that the HTTP server calls."""

    def __init__(self, service: PredictionService, keys: Keys, flags: Flags, metrics_path: str):
        """Prometheus reads at ``metrics_path``, where there is one."""
        self._service = service
        self._keys = keys  # that clients must have, but for health and the page
        self._max_bytes = flags.max_request_bytes  # of a body, unpacked
        self._timeout = flags.rest_api_timeout_in_ms / 1000
        self._metrics_path = metrics_path
        self._cors = _CORS if flags.rest_api_enable_cors_support else {}
        self._page = _page()

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        if scope["type"] != "http":
            return
        path = scope["raw_path"].decode("latin-1")
        if path[:4].lower() == _API:
            answer = await self._traced(scope, path, receive)
        else:  # health, metrics and the page, which would drown the others
            answer = await self._told(scope, path, receive)
        headers = [
            (b"content-type", answer.content_type.encode()),
            (b"content-length", b"%d" % len(answer.body)),
            *((k.encode(), v.encode()) for k, v in {**answer.headers, **self._cors}.items()),
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        body = b"" if scope["method"] == "HEAD" else answer.body
        await send({"type": "http.response.body", "body": body})

    async def _traced(self, scope: _Scope, path: str, receive: _Receive) -> Answer:
        method = scope["method"]
        attributes = {"http.request.method": method, "url.path": path}
        with telemetry.span(method, attributes, scope["headers"]):
            answer = await self._told(scope, path, receive)
            telemetry.note({"http.response.status_code": answer.status})
            return answer

    async def _told(self, scope: _Scope, path: str, receive: _Receive) -> Answer:
        """The answer, or what the client is told of an error."""
        try:
            return await self._answer(scope, path, receive)
        except _TooLarge as error:
            # What is still on its way is not read.
            closing = {"connection": "close"}
            return _refusal(_TOO_LARGE, error.message)._replace(headers=closing)
        except ServingError as error:
            if error.code.is_fault:
                telemetry.fail(error.message)
            return _refusal(error.code.http_status, error.message)
        except Exception:
            _log.exception("%s %s failed.", scope["method"], path)
            message = "Internal error; the server's log has more."
            telemetry.fail(message)
            return _refusal(Code.INTERNAL.http_status, message)

    async def _answer(self, scope: _Scope, path: str, receive: _Receive) -> Answer:
        method = scope["method"]
        if path[:4].lower() != _API:
            return self._other(method, path, scope)
        if self._cors and method == "OPTIONS":
            return Answer(200, b"")
        self._check_key(scope)
        target = _target(method, path)
        telemetry.note({"http.route": target.route}, f"{method} {target.route}")
        if method == "GET":
            return Answer(200, orjson.dumps(self._about(target)))
        with self._service.counted(target.name, target.verb, "REST"):
            # Reading included: a slow sender holds what it has sent so far.
            return await self._within_time(self._infer(target, scope, receive))

    def _check_key(self, scope: _Scope) -> None:
        def read(name: str) -> str | None:
            value = dict(scope["headers"]).get(name.encode())
            return None if value is None else value.decode("latin-1")

        self._keys.check(read)

    def _other(self, method: str, path: str, scope: _Scope) -> Answer:
        service = self._service
        if method == "GET" and path in (self._metrics_path, _MODELS_PATH):
            self._check_key(scope)
            if path == _MODELS_PATH:
                return Answer(200, orjson.dumps(service.manager.labels()))
            return Answer(200, service.metrics.page().encode(), prometheus.CONTENT_TYPE)
        if method in ("GET", "HEAD"):
            if path == LIVE_PATH:
                return Answer(200, b'{"status": "alive"}')
            if path == READY_PATH:
                status, text = (200, "ready") if service.manager.ready() else (503, "not ready")
                return Answer(status, f'{{"status": "{text}"}}'.encode())
            if path == "/":
                return self._page
        return _refusal(404, f"Not found: {method} {path}")

    async def _body(self, scope: _Scope, receive: _Receive) -> bytes:
        """The request's body, unpacked; refused before more than is accepted is in memory."""
        packed = any(
            name == b"content-encoding" and value.strip().lower() == b"gzip"
            for name, value in scope["headers"]
        )
        unpack = zlib.decompressobj(16 + zlib.MAX_WBITS) if packed else None
        chunks, size, more = [], 0, True
        while more:
            event = await receive()
            if event["type"] == "http.disconnect":
                raise ServingError(Code.CANCELLED, "The client has gone.")
            chunk, more = event.get("body", b""), event.get("more_body", False)
            try:
                chunk = unpack.decompress(chunk, self._max_bytes - size + 1) if unpack else chunk
            except zlib.error as error:
                message = f"The body isn't gzip, as content-encoding says: {error}"
                raise invalid(message) from error
            size += len(chunk)
            if size > self._max_bytes:
                message = f"The request is larger than the {self._max_bytes} bytes accepted."
                raise _TooLarge(Code.RESOURCE_EXHAUSTED, message)
            chunks.append(chunk)
        if unpack and not unpack.eof:
            raise invalid("The body's gzip is cut off.")
        return b"".join(chunks)

    async def _within_time(self, work: Awaitable[Answer]) -> Answer:
        """Does what ``asyncio.timeout`` does, which Python 3.10 lacks."""
        task = asyncio.current_task()
        assert task is not None
        late = False

        def cancel() -> None:
            nonlocal late
            late = True
            task.cancel()

        timer = asyncio.get_running_loop().call_later(self._timeout, cancel)
        try:
            return await work
        except asyncio.CancelledError:
            if not late:
                raise
            message = f"No answer within {self._timeout:g} s."
            raise ServingError(Code.DEADLINE_EXCEEDED, message) from None
        finally:
            timer.cancel()

    async def _infer(self, target: "_Target", scope: _Scope, receive: _Receive) -> Answer:
        body = await self._body(scope, receive)
        large = len(body) > _LARGE
        parse = json_tensor.parse
        document = await asyncio.to_thread(parse, body) if large else parse(body)
        if target.verb == "predict":
            return await self._predict(target, document, large)
        name = json_tensor.signature_name(document)
        service, examples = self._service, json_tensor.examples(document)
        if target.verb == "classify":
            request, answer = ClassificationRequest(input=examples), service.classify
            write = json_tensor.classifications
        else:
            request, answer = RegressionRequest(input=examples), service.regress
            write = json_tensor.regressions
        target.write(request.model_spec, name)
        response = await answer(request)
        return _answer(write(response.result), response.model_spec.version.value)

    async def _predict(self, target: "_Target", document: Document, large: bool) -> Answer:
        manager = self._service.manager
        servable = manager.find(target.name, target.version, target.label)
        name = json_tensor.signature_name(document) or signatures.SERVING
        with manager.use(servable) as model:
            if name not in model.signatures:
                raise invalid(f'Serving signature name: "{name}" not found in signature def')
            read = functools.partial(json_tensor.inputs, document, model.signatures[name].inputs)
            inputs, form = await asyncio.to_thread(read) if large else read()
            outputs = await self._service.predict_arrays(servable, model, name, inputs)
        return _answer(json_tensor.outputs(outputs, form), servable.version)

    def _about(self, target: "_Target") -> dict[str, Json]:
        spec = ModelSpec()
        target.write(spec, "")
        if target.verb != "metadata":
            return _with_defaults(self._service.status(GetModelStatusRequest(model_spec=spec)))
        asked = GetModelMetadataRequest(model_spec=spec, metadata_field=["signature_def"])
        response = self._service.metadata(asked)
        signature_map = SignatureDefMap()
        response.metadata["signature_def"].Unpack(signature_map)
        return {
            "model_spec": _with_defaults(response.model_spec),
            "metadata": {"signature_def": _with_defaults(signature_map)},
        }


def _refusal(status: int, message: str) -> Answer:
    return Answer(status, json_tensor.error(message))


def _answer(body: bytes, version: int) -> Answer:
    return Answer(200, body, headers={signatures.VERSION_HEADER: str(version)})


class _Target(NamedTuple):
    name: str
    version: int | None
    label: str
    verb: str  # predict, classify, regress; metadata, or empty for the status
    route: str  # its form, the same for all models

    def write(self, spec: ModelSpec, signature_name: str) -> None:
        spec.name = self.name
        if self.version is not None:
            spec.version.value = self.version
        elif self.label:
            spec.version_label = self.label
        spec.signature_name = signature_name


@functools.lru_cache(1024)
def _target(method: str, path: str) -> _Target:
    match = _PATHS[method].fullmatch(path) if method in _PATHS else None
    if match is None:
        raise invalid(f"Malformed request: {method} {path}")
    name, version, label, verb = match.groups()
    if name is None:
        raise invalid("Missing model name in request.")
    if version is not None and int(version) > _MAX_VERSION:
        raise invalid(f"Failed to convert version: {version} to numeric.")
    return _Target(
        urllib.parse.unquote(name),
        None if version is None else int(version),
        urllib.parse.unquote(label or ""),
        (verb or "").lower(),
        _route(match),
    )


def _route(match: re.Match[str]) -> str:
    _, version, label, verb = match.groups()
    part = "/versions/{version}" if version else "/labels/{label}" if label else ""
    end = f"{match.string[match.start(4) - 1]}{verb}".lower() if verb else ""
    return f"/v1/models/{{model}}{part}{end}"


def _with_defaults(message: Message) -> dict[str, Json]:
    """A message as JSON, snake_case, its unset fields too."""
    to_json: Callable[..., dict[str, Json]] = json_format.MessageToDict
    options = {"preserving_proto_field_name": True}
    try:
        return to_json(message, **options, always_print_fields_with_no_presence=True)
    except TypeError:  # the option's name before protobuf 5.26
        return to_json(message, **options, including_default_value_fields=True)


def _page() -> Answer:
    """The page to drop pictures on, with headers that let only its own script and style run."""
    content = _PAGE.read_text(encoding="utf-8")
    allowed = []
    for tag in ("script", "style"):
        [inline] = re.findall(rf"<{tag}>(.*?)</{tag}>", content, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        allowed.append(f"{tag}-src 'sha256-{digest}'")
    headers = {
        "content-security-policy": "; ".join([_PAGE_POLICY, *allowed]),
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
    }
    return Answer(200, content.encode(), "text/html; charset=utf-8", headers)
