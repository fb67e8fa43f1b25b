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
import json
import os
import random
import ssl
import time
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypedDict

import urllib3

from darkroom.serving import signatures
from darkroom.serving.codecs import image_header
from darkroom.serving.errors import Code
from darkroom.serving.predictor import ImageError, Prediction, PredictionError, predictions

_TRIES = 5
# Seconds before the second try; doubled for each after it, less a random part of it, so that
# clients who failed together don't come back together.
_BACK_OFF = 0.1
_BATCH_SIZE = 32  # images of a request
_CODES = {code.http_status: code for code in Code if code is not Code.OK}
_TOO_LARGE = 413  # HTTP's Content Too Large
_CODES |= {400: Code.INVALID_ARGUMENT, _TOO_LARGE: Code.RESOURCE_EXHAUSTED}  # among others
# How messages begin that say what is wrong with a request whatever its images.
_NO_IMAGE = ("Unrecognized servable version label", "Malformed request", "Serving signature name")
_NO_GRPC_ADDRESS = (
    "{} is no address of gRPC: expected one such as localhost:8500, or ask over REST."
)
_UNREACHED = ("failed to connect", "DNS resolution failed")  # gRPC's words
_NO_ADDRESS = "{} is no address of a server: expected one such as http://localhost:8501."
_NOT_REACHED = "{} can't be reached; is a server running there (darkroom serve)?"
_LATE = "{} did not answer within {:g} s."
_NOT_OURS = "The model {} on the server doesn't answer with classes and scores, as darkroom's do."


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
    api_key: str = dataclasses.field(default="", repr=False)  # that the server wants
    # The authority that signed the server's certificate; None: the system's authorities count.
    ca_file: str | Path | None = None
    client_certificate: tuple[str | Path, str | Path] | None = None  # files of certificate and key

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

    def predict(self, images: Sequence[bytes], batch_size: int = _BATCH_SIZE) -> list[Prediction]:
        """Scores image files of any kind that ingest takes, ``batch_size`` at most in a request.

        Raises ImageRefused of one that can't be decoded, else RequestFailed.
        """
        images = [_for_the_graph(image, place) for place, image in enumerate(images)]
        answers: list[Prediction] = []
        for start in range(0, len(images), batch_size):
            answers += self._batch(images[start : start + batch_size], start)
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
        until = time.monotonic() + self.timeout
        pause = _BACK_OFF
        for tried in range(1, _TRIES + 1):
            try:
                return self._ask(images, label, max(until - time.monotonic(), 0.001))
            except RequestFailed as error:
                left = until - time.monotonic()
                if error.code is not Code.UNAVAILABLE or tried == _TRIES or left < pause:
                    raise
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause *= 2
        raise AssertionError("the last try raises")


@dataclasses.dataclass(eq=False)
class RestClient(Client):
    """Asks over REST; raises RequestFailed where the URL or a file of certificates isn't one."""

    url: str  # of the server, such as http://localhost:8501
    model: str  # its name on the server

    def __post_init__(self) -> None:
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
        self._pool = urllib3.PoolManager(ssl_context=context, maxsize=4, retries=False)

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
        document = response.json()
        header = response.headers.get(signatures.VERSION_HEADER)
        try:
            version = int(header) if header else None  # TensorFlow Serving doesn't tell
            rows, names = document["predictions"], (signatures.CLASSES, signatures.SCORES)
            classes, scores = ([row[name] for row in rows] for name in names)
            return predictions(classes, scores, self.multi_label, version)
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
        try:
            address, timeout = self.url + path, urllib3.Timeout(total=seconds)
            response = self._pool.request(
                method, address, body=body, headers=self._headers, timeout=timeout
            )
        except urllib3.exceptions.SSLError as error:
            message = f"{self.url}: the certificate is not accepted: {error}"
            if "WRONG_VERSION_NUMBER" in str(error):
                message = f"{self.url}: the server doesn't encrypt there; ask with http://."
            raise RequestFailed(Code.UNAUTHENTICATED, message) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            # A connection that is refused is one of urllib3's timeouts, too.
            refused = isinstance(error, urllib3.exceptions.NewConnectionError)
            if isinstance(error, urllib3.exceptions.TimeoutError) and not refused:
                message = _LATE.format(self.url, self.timeout)
                raise RequestFailed(Code.DEADLINE_EXCEEDED, message) from error
            raise RequestFailed(Code.UNAVAILABLE, _NOT_REACHED.format(self.url)) from error
        if response.status == 200:
            return response
        message = f"{self.url} answered with HTTP status {response.status}."
        with contextlib.suppress(ValueError, KeyError, TypeError):
            message = str(response.json()["error"])
        if response.status == _TOO_LARGE:
            message = "The request is too large for the server."
        raise RequestFailed(_CODES.get(response.status, Code.UNKNOWN), message)


@dataclasses.dataclass(eq=False)
class GrpcClient(Client):
    """Asks over gRPC; raises RequestFailed without TensorFlow, whose messages it needs."""

    address: str  # host:port of the server, such as localhost:8500
    model: str  # its name on the server
    # Encrypts, as ``ca_file`` and ``client_certificate`` do.
    tls: bool = dataclasses.field(default=False, kw_only=True)

    def __post_init__(self) -> None:
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
        unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        if self.tls or self.ca_file or self.client_certificate:
            with _certificates():
                authority = Path(self.ca_file).read_bytes() if self.ca_file else None
                pair = [Path(file).read_bytes() for file in self.client_certificate or ()]
            certificate, key = pair or (None, None)
            credentials = grpc.ssl_channel_credentials(authority, key, certificate)
            self._channel = grpc.secure_channel(self.address, credentials, unlimited)
        else:
            self._channel = grpc.insecure_channel(self.address, unlimited)
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
                message = _NOT_REACHED.format(self.address)
            elif code is Code.DEADLINE_EXCEEDED:
                message = _LATE.format(self.address, self.timeout)
            raise RequestFailed(code, message) from error
        names = signatures.CLASSES, signatures.SCORES
        if not set(names) <= set(response.outputs):
            raise RequestFailed(Code.FAILED_PRECONDITION, _NOT_OURS.format(self.model))
        classes, scores = (tf.make_ndarray(response.outputs[name]).tolist() for name in names)
        version = response.model_spec.version.value
        return predictions(classes, scores, self.multi_label, version)


def _for_the_graph(image: bytes, place: int) -> bytes:
    """What TensorFlow Serving reads as it is meant; darkroom's server would see to it itself."""
    if image_header.is_plain(image):
        return image
    from darkroom.serving.codecs import pictures

    try:
        return pictures.for_the_graph(image)
    except pictures.ImageError as error:
        raise ImageRefused(f"The image can't be decoded: {error}.", place) from error


@contextlib.contextmanager
def _certificates() -> Iterator[None]:
    try:
        yield
    except (OSError, ssl.SSLError) as error:
        message = f"A certificate can't be read: {error}."
        raise RequestFailed(Code.INVALID_ARGUMENT, message) from error
