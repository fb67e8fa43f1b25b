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
from darkroom.serving.codecs.json_codec import JsonCodec
from darkroom.serving.codecs.json_tensor import Json
from darkroom.serving.errors import Code, ServingError, invalid
from darkroom.serving.flags import Flags
from darkroom.serving.protocols.access import Keys
from darkroom.serving.protocols.hosts import Hosts
from darkroom.serving.server import prometheus
from darkroom.serving.server.manager import Servable
from darkroom.serving.server.prediction_service import PredictionService

_log = logging.getLogger(__name__)

_API = "/v1/"
LIVE_PATH, READY_PATH = "/healthz", "/readyz"
_MODELS_PATH = "/models.json"  # for the page: each model's labels
_JSON = "application/json"
_TOO_LARGE = 413  # HTTP's Content Too Large
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
_MAX_DIGITS = 1000  # of a version, with leading zeros

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


class _TooMuch(ServingError):
    """What is still on its way of a body isn't read."""


class _TooLarge(_TooMuch):
    """The body is larger than what is accepted."""


class RestApp:
    """The application that the HTTP server calls."""

    def __init__(
        self,
        service: PredictionService,
        codec: JsonCodec,
        keys: Keys,
        flags: Flags,
        metrics_path: str,
    ):
        """Prometheus reads at ``metrics_path``, where there is one."""
        self._service, self._codec = service, codec
        self._keys = keys  # that clients must have, but for health and the page
        self._hosts = Hosts(flags.host, flags.allowed_hosts)
        self._max_bytes = flags.max_request_bytes  # of a body, unpacked
        self._max_received = flags.max_enqueued_bytes  # of all bodies that have no answer yet
        self._received = 0
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
        with telemetry.span(method, attributes, lambda: scope["headers"]):
            answer = await self._told(scope, path, receive)
            telemetry.note({"http.response.status_code": answer.status})
            return answer

    async def _told(self, scope: _Scope, path: str, receive: _Receive) -> Answer:
        """The answer, or what the client is told of an error."""
        try:
            return await self._answer(scope, path, receive)
        except _TooMuch as error:
            status = _TOO_LARGE if isinstance(error, _TooLarge) else error.code.http_status
            closing = {"connection": "close"}
            return _refusal(status, error.message)._replace(headers=closing)
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
        self._hosts.check(_header(scope, b"host"))
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
        self._keys.check(lambda name: _header(scope, name.encode()))

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
        """The request's body, unpacked; refused before more than is accepted is in memory.

        It is among what is received until who asked for it says otherwise.
        """
        self._check_size(int(_header(scope, b"content-length") or 0))  # before 100 Continue
        encoding = (_header(scope, b"content-encoding") or "").strip().lower()
        unpack = _Gzip() if encoding in ("gzip", "x-gzip") else None
        chunks, size, more = [], 0, True
        try:
            while more:
                event = await receive()
                if event["type"] == "http.disconnect":
                    raise ServingError(Code.CANCELLED, "The client has gone.")
                chunk, more = event.get("body", b""), event.get("more_body", False)
                if unpack:
                    most = self._max_bytes - size + 1
                    # In a thread: a little may become much.
                    chunk = await asyncio.to_thread(unpack.unpacked, chunk, most)
                size += len(chunk)
                self._received += len(chunk)
                self._check_size(size)
                if self._received > self._max_received:
                    message = "The server receives as much as it accepts at a time."
                    raise _TooMuch(Code.UNAVAILABLE, message)
                chunks.append(chunk)
            if unpack and not unpack.is_whole:
                raise invalid("The body's gzip is cut off.")
        except BaseException:
            self._received -= size
            raise
        return b"".join(chunks)

    def _check_size(self, size: int) -> None:
        if size > self._max_bytes:
            message = f"The request is larger than the {self._max_bytes} bytes accepted."
            raise _TooLarge(Code.RESOURCE_EXHAUSTED, message)

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
        self._find(target)  # a body that nobody can answer isn't read
        body = await self._body(scope, receive)
        try:
            return await self._answered(target, body)
        finally:
            self._received -= len(body)

    async def _answered(self, target: "_Target", body: bytes) -> Answer:
        if target.verb == "predict":
            return await self._predict(target, body)
        name, examples = await self._codec.examples(body)
        service = self._service
        if target.verb == "classify":
            request, answer = ClassificationRequest(input=examples), service.classify
            write = json_tensor.classifications
        else:
            request, answer = RegressionRequest(input=examples), service.regress
            write = json_tensor.regressions
        target.write(request.model_spec, name)
        response = await answer(request)
        return _answer(write(response.result), response.model_spec.version.value)

    async def _predict(self, target: "_Target", body: bytes) -> Answer:
        servable = self._find(target)
        with self._service.manager.use(servable) as model:
            name, inputs, form = await self._codec.inputs(body, model.signatures)
            outputs = await self._service.predict_arrays(servable, model, name, inputs)
            answer = await self._codec.outputs(outputs, form)
        return _answer(answer, servable.version)

    def _find(self, target: "_Target") -> Servable:
        return self._service.manager.find(target.name, target.version, target.label)

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


def _header(scope: _Scope, name: bytes) -> str | None:
    """The last of a request's headers of a name, in lower case."""
    for key, value in reversed(scope["headers"]):
        if key == name:
            return value.decode("latin-1")
    return None


class _Gzip:
    """A gzip file that comes in parts, of one member or several."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(16 + zlib.MAX_WBITS)
        self.is_whole = False

    def unpacked(self, packed: bytes, most: int) -> bytes:
        """What a part unpacks to, ``most`` bytes at most; raises ServingError."""
        content = b""
        try:
            while packed and len(content) < most:
                if self._member.eof:
                    self._member = zlib.decompressobj(16 + zlib.MAX_WBITS)
                content += self._member.decompress(packed, most - len(content))
                packed = self._member.unused_data
        except zlib.error as error:
            raise invalid(f"The body isn't gzip, as content-encoding says: {error}") from error
        self.is_whole = self._member.eof
        return content


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
    # Python refuses to read thousands of digits.
    if version is not None and (len(version) > _MAX_DIGITS or int(version) > _MAX_VERSION):
        raise invalid(f"Failed to convert version: {version[:30]} to numeric.")
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
