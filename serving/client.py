"""Asks a model server, darkroom's own or TensorFlow Serving, to classify images.

    from darkroom.serving.client import RestClient

    with RestClient("http://localhost:8501", "digits") as client:
        [prediction] = client.predict([open("photo.png", "rb").read()])
        print(prediction.label, prediction.scores[0])

``RestClient`` needs no TensorFlow; ``GrpcClient`` asks the same over gRPC.
"""

import abc
import base64
import contextlib
import dataclasses
import functools
import json
import os
import queue
import random
import ssl
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypedDict, TypeVar

import urllib3

from darkroom.serving import image_files, signatures
from darkroom.serving.codecs import image_header
from darkroom.serving.errors import Code
from darkroom.serving.predictor import ImageError, Prediction, PredictionError, answers_of
from darkroom.serving.protocols import hosts

# Seconds before the second try; doubled for each after it, up to a most, less a random part of
# it, so that clients who failed together don't come back together.
_BACK_OFF, _MOST_BACK_OFF = 0.1, 2.0
_GRACE = 0.1  # seconds for urllib3 to say itself that it is late
_BATCH_SIZE = 32  # images of a request
_CODES = {code.http_status: code for code in Code if code is not Code.OK}
_TOO_LARGE, _TOO_MANY = 413, 429  # HTTP's Content Too Large, Too Many Requests
_CODES |= {
    400: Code.INVALID_ARGUMENT,
    500: Code.INTERNAL,
    _TOO_LARGE: Code.RESOURCE_EXHAUSTED,
}  # among others
_CODES |= {502: Code.UNAVAILABLE}  # of a proxy that doesn't reach the server
# How messages begin that say what is wrong with a request whatever its images.
_NO_IMAGE = ("Unrecognized servable version label", "Malformed request", "Serving signature name")
_NO_GRPC_ADDRESS = (
    "{} is no address of gRPC: expected one such as localhost:8500, or ask over REST."
)
_UNREACHED = ("failed to connect", "DNS resolution failed")  # gRPC's words
_NO_ADDRESS = "{} is no address of a server: expected one such as http://localhost:8501."
_NOT_REACHED = "{} can't be reached{}; is a server running there (darkroom serve)?"
_TOO_FEW = "The model on the server gave {} answers for {} images."
_LATE = "{} did not answer within {:g} s."
_NOT_OURS = "The model {} on the server doesn't answer with classes and scores, as darkroom's do."


Image = bytes | bytearray | memoryview | str | Path  # encoded; or the path of its file
_T = TypeVar("_T")


class RequestFailed(PredictionError):
    """A sentence for the user, and the server's code."""

    def __init__(self, code: Code, message: str):
        super().__init__(message)
        self.code = code


class ImageRefused(RequestFailed, ImageError):
    """The server doesn't take a certain image."""

    def __init__(self, message: str, image: int):
        super().__init__(Code.INVALID_ARGUMENT, message)
        self.image = image  # its place among those asked about


class VersionStatus(TypedDict):
    """What TensorFlow Serving's REST tells of a version."""

    version: str
    state: str  # such as AVAILABLE
    status: dict[str, str]  # error_code, such as OK, and error_message


@dataclasses.dataclass(eq=False, kw_only=True)
class Client(abc.ABC):
    """What both protocols share: batches, retries, deadlines, the way to the canary."""

    label: str = ""  # of the version to ask, such as stable or canary
    version: int | None = None  # to ask instead; with neither, the server chooses
    canary_share: float = 0.0  # share of requests that goes to the label canary, the rest to stable
    multi_label: bool = False  # an image has any number of the classes, those that score above 0.5
    timeout: float = 30.0  # seconds for a request, all tries together
    # Of these for a server that has never answered; None: all, as it may be starting.
    first_timeout: float | None = None
    api_key: str = dataclasses.field(default="", repr=False)  # that the server wants
    # The authority that signed the server's certificate; None: the system's authorities count.
    ca_file: str | Path | None = None
    client_certificate: tuple[str | Path, str | Path] | None = None  # files of certificate and key

    def __post_init__(self) -> None:
        self._has_answered = False

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abc.abstractmethod
    def close(self) -> None:
        """Closes the connections."""

    @abc.abstractmethod
    def _ask(self, images: Sequence[bytes], label: str, seconds: float) -> list[Prediction]:
        """Asks once; raises RequestFailed."""

    def _authorization(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.api_key}"} if self.api_key else {}

    def predict(self, images: Sequence[Image], batch_size: int = _BATCH_SIZE) -> list[Prediction]:
        """Scores image files of any kind that ingest takes, ``batch_size`` at most in a request.

        An image is its bytes, or the path of its file. Raises ImageRefused of one that can't be
        decoded, ImageError of a file that can't be read, else RequestFailed.
        """
        answers: list[Prediction] = []
        for start in range(0, len(images), batch_size):
            batch = enumerate(images[start : start + batch_size], start)
            answers += self._batch([_content(image, place) for place, image in batch], start)
        return answers

    def _batch(self, images: Sequence[bytes], start: int) -> list[Prediction]:
        try:
            return self._with_retries(images)
        except RequestFailed as error:
            if error.code is not Code.INVALID_ARGUMENT or str(error).startswith(_NO_IMAGE):
                raise
            if len(images) == 1:
                raise ImageRefused(str(error), start) from error
            middle = len(images) // 2
            first = self._batch(images[:middle], start)
            return first + self._batch(images[middle:], start + middle)

    def _with_retries(self, images: Sequence[bytes]) -> list[Prediction]:
        label = self.label
        if self.canary_share:
            to_canary = random.random() < self.canary_share
            label = signatures.CANARY if to_canary else signatures.STABLE
        begin, pause = time.monotonic(), _BACK_OFF
        while True:
            try:
                left = begin + self.timeout - time.monotonic()
                answers = self._ask(images, label, max(left, 0.001))
            except RequestFailed as error:
                is_new = not self._has_answered and self.first_timeout is not None
                seconds = self.first_timeout if is_new and self.first_timeout else self.timeout
                if error.code is not Code.UNAVAILABLE or time.monotonic() + pause > begin + seconds:
                    raise
            else:
                self._has_answered = True
                if len(answers) != len(images):
                    message = _TOO_FEW.format(len(answers), len(images))
                    raise RequestFailed(Code.INTERNAL, message)
                return answers
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, _MOST_BACK_OFF)


@dataclasses.dataclass(eq=False)
class RestClient(Client):
    """Asks over REST; raises RequestFailed where the URL or a file of certificates isn't one."""

    url: str  # of the server, such as http://localhost:8501
    model: str  # its name on the server

    def __post_init__(self) -> None:
        super().__post_init__()
        parts = urllib.parse.urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise RequestFailed(Code.INVALID_ARGUMENT, _NO_ADDRESS.format(self.url))
        self.url = self.url.rstrip("/")
        self._headers = {"content-type": "application/json", **self._authorization()}
        context = None
        if parts.scheme == "https":
            with _certificates():
                context = ssl.create_default_context(cafile=self.ca_file)
                if self.client_certificate:
                    context.load_cert_chain(*self.client_certificate)
        self._proxy = _proxy(parts.scheme, parts.hostname)
        manager: Callable[..., urllib3.PoolManager] = urllib3.PoolManager
        if self._proxy:
            manager = functools.partial(urllib3.ProxyManager, self._proxy)
        self._pool = manager(ssl_context=context, maxsize=4, retries=False)

    def close(self) -> None:
        self._pool.clear()

    def status(self) -> list[VersionStatus]:
        """The model's versions and their states; errors as of ``predict``."""
        response = self._send("GET", self._path(self.label), None, self.timeout)
        versions: list[VersionStatus] = response.json()["model_version_status"]
        return versions

    def _ask(self, images: Sequence[bytes], label: str, seconds: float) -> list[Prediction]:
        instances = [{"b64": base64.b64encode(image).decode("ascii")} for image in images]
        body = json.dumps({"instances": instances}).encode()
        response = self._send("POST", self._path(label) + ":predict", body, seconds)
        header = response.headers.get(signatures.VERSION_HEADER)
        try:
            document = response.json()
            version = int(header) if header else None  # TensorFlow Serving doesn't tell
            rows = document["predictions"]
            names = rows[0] if rows else (signatures.CLASSES, signatures.SCORES)
            outputs = {name: [row[name] for row in rows] for name in names}
            return answers_of(outputs, self.multi_label, version)
        except (KeyError, TypeError, ValueError) as error:
            raise RequestFailed(Code.FAILED_PRECONDITION, _NOT_OURS.format(self.model)) from error

    def _path(self, label: str) -> str:
        path = f"/v1/models/{urllib.parse.quote(self.model, safe='')}"
        if self.version is not None:
            return f"{path}/versions/{self.version}"
        return f"{path}/labels/{urllib.parse.quote(label, safe='')}" if label else path

    def _send(
        self, method: str, path: str, body: bytes | None, seconds: float
    ) -> urllib3.BaseHTTPResponse:
        send = functools.partial(
            self._pool.request,
            method,
            self.url + path,
            body=body,
            headers=self._headers,
            timeout=urllib3.Timeout(total=seconds),
            redirect=False,
        )
        try:
            response = _within(seconds, send)
        except urllib3.exceptions.SSLError as error:
            message = f"{self.url}: the certificate is not accepted: {error}"
            if "WRONG_VERSION_NUMBER" in str(error):
                message = f"{self.url}: the server doesn't encrypt there; ask with http://."
            raise RequestFailed(Code.UNAUTHENTICATED, message) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            # A connection that is refused is one of urllib3's timeouts, too.
            refused = isinstance(error, urllib3.exceptions.NewConnectionError)
            late = isinstance(error, (urllib3.exceptions.TimeoutError, TimeoutError))
            if late and not refused:
                message = _LATE.format(self.url, self.timeout)
                raise RequestFailed(Code.DEADLINE_EXCEEDED, message) from error
            message = _NOT_REACHED.format(self.url, _through(self._proxy))
            raise RequestFailed(Code.UNAVAILABLE, message) from error
        status, kind = response.status, response.headers.get("content-type", "no content type")
        is_json = kind.partition(";")[0].strip() == "application/json"
        if status == 200 and is_json:
            return response
        code, answered = _CODES.get(status, Code.UNKNOWN), f"{self.url} answered"
        message = f"{answered} with HTTP status {status}{_through(self._proxy)}."
        if status == 200:
            code = Code.UNIMPLEMENTED
            message = f"{answered} with {kind}, and no model server does; is it one?"
        elif location := response.headers.get("location"):
            message = f"{answered} that it is elsewhere (HTTP status {status}): ask {location}."
        elif status == _TOO_LARGE:
            message = "The request is too large for the server."
        elif is_json:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                message = str(response.json()["error"])
        elif status == _TOO_MANY:
            code = Code.UNAVAILABLE  # of a proxy, which takes them later
            message = f"{answered} that there are too many requests (HTTP status {status})."
        raise RequestFailed(code, message)


@dataclasses.dataclass(eq=False)
class GrpcClient(Client):
    """Asks over gRPC; raises RequestFailed without TensorFlow, whose messages it needs."""

    address: str  # host:port of the server, such as localhost:8500
    model: str  # its name on the server
    # Encrypts, as ``ca_file`` and ``client_certificate`` do.
    tls: bool = dataclasses.field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.address.startswith(("http://", "https://")):
            raise RequestFailed(Code.INVALID_ARGUMENT, _NO_GRPC_ADDRESS.format(self.address))
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        try:
            import grpc
            from tensorflow_serving.apis import prediction_service_pb2_grpc
        except ImportError as error:
            message = "Asking over gRPC needs TensorFlow: pip install 'darkroom-tfx[serving]'"
            raise RequestFailed(
                Code.FAILED_PRECONDITION, f"{message}, or ask over REST."
            ) from error
        self._grpc = grpc
        self._metadata = list(self._authorization().items())
        encrypted = bool(self.tls or self.ca_file or self.client_certificate)
        host = self.address.rpartition(":")[0].strip("[]")
        self._proxy = _proxy("https" if encrypted else "http", host)
        options = [
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            # Else it waits for up to two minutes before it looks whether a server is back.
            ("grpc.initial_reconnect_backoff_ms", int(_BACK_OFF * 1000)),
            ("grpc.min_reconnect_backoff_ms", int(_MOST_BACK_OFF * 1000)),
            ("grpc.max_reconnect_backoff_ms", int(_MOST_BACK_OFF * 1000)),
            ("grpc.http_proxy", self._proxy) if self._proxy else ("grpc.enable_http_proxy", 0),
        ]
        if encrypted:
            with _certificates():
                authority = Path(self.ca_file).read_bytes() if self.ca_file else None
                pair = [Path(file).read_bytes() for file in self.client_certificate or ()]
            certificate, key = pair or (None, None)
            credentials = grpc.ssl_channel_credentials(authority, key, certificate)
            self._channel = grpc.secure_channel(self.address, credentials, options)
        else:
            self._channel = grpc.insecure_channel(self.address, options)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def close(self) -> None:
        self._channel.close()

    def _ask(self, images: Sequence[bytes], label: str, seconds: float) -> list[Prediction]:
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        request.model_spec.name = self.model
        if self.version is not None:
            request.model_spec.version.value = self.version
        elif label:
            request.model_spec.version_label = label
        tensor = tf.make_tensor_proto(list(images), tf.string)
        request.inputs[signatures.IMAGE_BYTES].CopyFrom(tensor)
        try:
            response = self._stub.Predict(request, seconds, self._metadata)
        except self._grpc.RpcError as error:
            code = Code(error.code().value[0])
            message = error.details() or code.name
            if message.startswith(_UNREACHED):
                message = _NOT_REACHED.format(self.address, _through(self._proxy))
            elif code is Code.DEADLINE_EXCEEDED:
                message = _LATE.format(self.address, self.timeout)
            raise RequestFailed(code, message) from error
        outputs = {name: tf.make_ndarray(one).tolist() for name, one in response.outputs.items()}
        version = response.model_spec.version.value
        try:
            return answers_of(outputs, self.multi_label, version)
        except KeyError as error:
            raise RequestFailed(Code.FAILED_PRECONDITION, _NOT_OURS.format(self.model)) from error


def _content(image: Image, place: int) -> bytes:
    """What TensorFlow Serving reads as it is meant; darkroom's server would see to it itself."""
    content = image_files.read(str(image)) if isinstance(image, (str, Path)) else bytes(image)
    if image_header.is_plain(content):
        return content
    from darkroom.serving.codecs import pictures

    try:
        return pictures.for_the_graph(content)
    except pictures.ImageError as error:
        raise ImageRefused(f"The image can't be decoded: {error}.", place) from error


def _proxy(scheme: str, host: str) -> str:
    """The proxy that the environment names, for REST and gRPC alike; none for this machine."""
    if hosts.is_loopback(host) or urllib.request.proxy_bypass(host):
        return ""
    return urllib.request.getproxies().get(scheme, "")


def _through(proxy: str) -> str:
    return f" through the proxy {proxy}" if proxy else ""


def _within(seconds: float, work: Callable[[], _T]) -> _T:
    """Does some work in a thread: what answers a byte at a time keeps nobody longer."""
    done: queue.SimpleQueue[_T | BaseException] = queue.SimpleQueue()

    def run() -> None:
        try:
            done.put(work())
        except BaseException as error:
            done.put(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        result = done.get(timeout=seconds + _GRACE)
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(result, BaseException):
        raise result
    return result


@contextlib.contextmanager
def _certificates() -> Iterator[None]:
    try:
        yield
    except (OSError, ssl.SSLError) as error:
        message = f"A certificate can't be read: {error}."
        raise RequestFailed(Code.INVALID_ARGUMENT, message) from error
