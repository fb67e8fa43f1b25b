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
import json
import os
import random
import ssl
import time
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypedDict

import urllib3

from darkroom.serving import signatures
from darkroom.serving.errors import Code, ServingError
from darkroom.serving.predictor import ImageError, Prediction, PredictionError, prediction

if TYPE_CHECKING:
    from typing_extensions import Unpack

_TRIES = 5
# Seconds before the second try; doubled for each after it, less a random part of it, so that
# clients who failed together don't come back together.
_BACK_OFF = 0.1
_BATCH_SIZE = 32  # images of a request
_SECONDS = 30.0
_CODES = {code.http_status: code for code in Code if code is not Code.OK}
_CODES[400] = Code.INVALID_ARGUMENT  # of the several that share it
_TOO_LARGE = 413
# Beginnings of what is wrong with a request whatever its images.
_NO_IMAGE = ("Unrecognized servable version label", "Malformed request", "Serving signature name")


class RequestFailed(PredictionError):
    """A sentence for the user, and the server's code."""

    def __init__(self, code: Code, message: str):
        """Takes the server's code and message, or those of one that can't be reached."""
        super().__init__(message)
        self.code = code


class ImageRefused(RequestFailed, ImageError):
    """The server doesn't take a certain image."""

    def __init__(self, message: str, image: int):
        """Takes the server's message, and the place of the image among those asked about."""
        super().__init__(Code.INVALID_ARGUMENT, message)
        self.image = image


class Answer(NamedTuple):
    """What a server says to a batch."""

    classes: Sequence[Sequence[str]]  # [batch, num_classes]
    scores: Sequence[Sequence[float]]  # [batch, num_classes]
    version: int | None  # where the server tells


class Reason(TypedDict):
    """Why a version is in its state."""

    error_code: str  # such as OK
    error_message: str


class VersionStatus(TypedDict):
    """What TensorFlow Serving's REST tells of a version."""

    version: str
    state: str  # such as AVAILABLE
    status: Reason


class ClientOptions(TypedDict, total=False):
    """What both clients take."""

    label: str  # of the version to ask, such as stable or canary
    version: int | None  # to ask instead; with neither, the server chooses
    canary_share: float  # of the requests: so many go to the label canary, the others to stable
    multi_label: bool  # an image has any number of the classes, those that score above 0.5
    timeout: float  # seconds for a request, all tries together
    api_key: str  # that the server wants
    ca_file: str | Path | None  # of the authority that signed the server's certificate
    client_certificate: tuple[str | Path, str | Path] | None  # files of certificate and key


class Client(abc.ABC):
    """What both protocols share: batches, retries, deadlines, the way to the canary."""

    def __init__(
        self,
        model: str,
        *,
        label: str = "",
        version: int | None = None,
        canary_share: float = 0.0,
        multi_label: bool = False,
        timeout: float = _SECONDS,
        api_key: str = "",
        ca_file: str | Path | None = None,
        client_certificate: tuple[str | Path, str | Path] | None = None,
    ):
        """Asks nothing yet; the arguments are ``ClientOptions``."""
        self.model = model
        self._label = label
        self._version = version
        self._canary_share = canary_share
        self._multi_label = multi_label
        self._timeout = timeout
        self._authorization = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._ca_file = ca_file
        self._client_certificate = client_certificate

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abc.abstractmethod
    def close(self) -> None:
        """Closes the connections."""

    @abc.abstractmethod
    def _ask(self, images: Sequence[bytes], label: str, seconds: float) -> Answer:
        """Asks once; raises ServingError."""

    def predict(self, images: Sequence[bytes], batch_size: int = _BATCH_SIZE) -> list[Prediction]:
        """Scores encoded images (PNG, JPEG, GIF or BMP).

        Args:
          images: contents of the files.
          batch_size: at most so many go in one request.

        Returns:
          A prediction for each, in their order.

        Raises:
          ImageRefused: the server doesn't take one of them.
          RequestFailed: the server's word, or that it can't be reached.
        """
        predictions: list[Prediction] = []
        for start in range(0, len(images), batch_size):
            predictions += self._batch(images[start : start + batch_size], start)
        return predictions

    def _batch(self, images: Sequence[bytes], start: int) -> list[Prediction]:
        try:
            answer = self._with_retries(images)
        except ServingError as error:
            if error.code is not Code.INVALID_ARGUMENT or error.message.startswith(_NO_IMAGE):
                raise RequestFailed(error.code, error.message) from error
            if len(images) == 1:
                raise ImageRefused(error.message, start) from error
            middle = len(images) // 2
            return [
                *self._batch(images[:middle], start),
                *self._batch(images[middle:], start + middle),
            ]
        return [
            prediction(classes, scores, self._multi_label, answer.version)
            for classes, scores in zip(answer.classes, answer.scores, strict=True)
        ]

    def _with_retries(self, images: Sequence[bytes]) -> Answer:
        label = self._label
        if self._canary_share:
            to_canary = random.random() < self._canary_share
            label = signatures.CANARY if to_canary else signatures.STABLE
        until = time.monotonic() + self._timeout
        pause = _BACK_OFF
        for tried in range(1, _TRIES + 1):
            left = until - time.monotonic()
            try:
                return self._ask(images, label, max(left, 0.001))
            except ServingError as error:
                left = until - time.monotonic()
                if error.code is not Code.UNAVAILABLE or tried == _TRIES or left < pause:
                    raise
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause *= 2
        raise AssertionError("the last try raises")


class RestClient(Client):
    """Over REST."""

    def __init__(self, url: str, model: str, **options: "Unpack[ClientOptions]"):
        """Asks nothing yet.

        Args:
          url: of the server, such as http://localhost:8501.
          model: its name on the server.
          **options: ``ClientOptions``; without ``ca_file`` the system's authorities count.

        Raises:
          RequestFailed: the URL or a file of certificates isn't one.
        """
        super().__init__(model, **options)
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise RequestFailed(
                Code.INVALID_ARGUMENT,
                f"{url} is no address of a server: expected one such as http://localhost:8501.",
            )
        self.url = url.rstrip("/")
        self._headers = {"content-type": "application/json", **self._authorization}
        context = None
        if parts.scheme == "https":
            with _certificates():
                context = ssl.create_default_context(cafile=self._ca_file)
                if self._client_certificate:
                    context.load_cert_chain(*self._client_certificate)
        self._pool = urllib3.PoolManager(ssl_context=context, maxsize=4, retries=False)

    def close(self) -> None:
        self._pool.clear()

    def status(self) -> list[VersionStatus]:
        """The model's versions and their states, as TensorFlow Serving's REST tells them.

        Raises:
          RequestFailed: the server's word, or that it can't be reached.
        """
        try:
            document = self._send("GET", self._path(self._label), None, self._timeout).json()
        except ServingError as error:
            raise RequestFailed(error.code, error.message) from error
        versions: list[VersionStatus] = document["model_version_status"]
        return versions

    def _ask(self, images: Sequence[bytes], label: str, seconds: float) -> Answer:
        instances = [{"b64": base64.b64encode(image).decode("ascii")} for image in images]
        body = json.dumps({"instances": instances}).encode()
        response = self._send("POST", self._path(label) + ":predict", body, seconds)
        document = response.json()
        try:
            rows = document["predictions"]
            version = response.headers.get(signatures.VERSION_HEADER)
            return Answer(
                [row[signatures.CLASSES] for row in rows],
                [row[signatures.SCORES] for row in rows],
                int(version) if version else None,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ServingError(Code.FAILED_PRECONDITION, _not_ours(self.model)) from error

    def _path(self, label: str) -> str:
        path = f"/v1/models/{urllib.parse.quote(self.model, safe='')}"
        if self._version is not None:
            return f"{path}/versions/{self._version}"
        return f"{path}/labels/{urllib.parse.quote(label, safe='')}" if label else path

    def _send(
        self, method: str, path: str, body: bytes | None, seconds: float
    ) -> urllib3.BaseHTTPResponse:
        try:
            response = self._pool.request(
                method,
                self.url + path,
                body=body,
                headers=self._headers,
                timeout=urllib3.Timeout(total=seconds),
            )
        except urllib3.exceptions.SSLError as error:
            raise ServingError(
                Code.UNAUTHENTICATED, f"{self.url}: the certificate is not accepted: {error}"
            ) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            # A connection that is refused is one of urllib3's timeouts, too.
            refused = isinstance(error, urllib3.exceptions.NewConnectionError)
            if isinstance(error, urllib3.exceptions.TimeoutError) and not refused:
                raise ServingError(
                    Code.DEADLINE_EXCEEDED, f"{self.url} did not answer within {self._timeout:g} s."
                ) from error
            raise ServingError(
                Code.UNAVAILABLE,
                f"{self.url} can't be reached; is a server running there (darkroom serve)?",
            ) from error
        if response.status != 200:
            raise ServingError(*_failure(response, self.url))
        return response


def _failure(response: urllib3.BaseHTTPResponse, url: str) -> tuple[Code, str]:
    if response.status == _TOO_LARGE:
        return Code.RESOURCE_EXHAUSTED, "The request is too large for the server."
    code = _CODES.get(response.status, Code.UNKNOWN)
    try:
        return code, str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return code, f"{url} answered with HTTP status {response.status}."


class GrpcClient(Client):
    """Over gRPC; needs TensorFlow, whose messages TensorFlow Serving's are made of."""

    def __init__(
        self, address: str, model: str, *, tls: bool = False, **options: "Unpack[ClientOptions]"
    ):
        """Asks nothing yet.

        Args:
          address: host:port of the server, such as localhost:8500.
          model: its name on the server.
          tls: encrypts, as ``ca_file`` and ``client_certificate`` do; without ``ca_file`` the
            system's authorities count.
          **options: ``ClientOptions``.

        Raises:
          RequestFailed: TensorFlow isn't installed, or a file of certificates can't be read.
        """
        super().__init__(model, **options)
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        try:
            import grpc
            from tensorflow_serving.apis import prediction_service_pb2_grpc
        except ImportError as error:
            raise RequestFailed(
                Code.FAILED_PRECONDITION,
                "Asking over gRPC needs TensorFlow: pip install 'darkroom-tfx[serving]', or ask "
                "over REST.",
            ) from error
        self.address = address
        self._grpc = grpc
        self._metadata = list(self._authorization.items())
        unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        if tls or self._ca_file or self._client_certificate:
            with _certificates():
                authority = Path(self._ca_file).read_bytes() if self._ca_file else None
                pair = [Path(file).read_bytes() for file in self._client_certificate or ()]
            certificate, key = pair or (None, None)
            credentials = grpc.ssl_channel_credentials(authority, key, certificate)
            self._channel = grpc.secure_channel(address, credentials, unlimited)
        else:
            self._channel = grpc.insecure_channel(address, unlimited)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def close(self) -> None:
        self._channel.close()

    def _ask(self, images: Sequence[bytes], label: str, seconds: float) -> Answer:
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        request.model_spec.name = self.model
        if self._version is not None:
            request.model_spec.version.value = self._version
        elif label:
            request.model_spec.version_label = label
        request.inputs[signatures.IMAGE_BYTES].CopyFrom(
            tf.make_tensor_proto(list(images), tf.string)
        )
        try:
            response = self._stub.Predict(request, seconds, self._metadata)
        except self._grpc.RpcError as error:
            code = Code(error.code().value[0])
            message = error.details() or code.name
            if message.startswith("failed to connect"):
                message = (
                    f"{self.address} can't be reached; is a server running there (darkroom serve)?"
                )
            elif code is Code.DEADLINE_EXCEEDED:
                message = f"{self.address} did not answer within {self._timeout:g} s."
            raise ServingError(code, message) from error
        if not {signatures.CLASSES, signatures.SCORES} <= set(response.outputs):
            raise ServingError(Code.FAILED_PRECONDITION, _not_ours(self.model))
        classes = tf.make_ndarray(response.outputs[signatures.CLASSES])
        return Answer(
            [[name.decode("utf-8") for name in row] for row in classes.tolist()],
            tf.make_ndarray(response.outputs[signatures.SCORES]).tolist(),
            response.model_spec.version.value,
        )


@contextlib.contextmanager
def _certificates() -> Iterator[None]:
    try:
        yield
    except (OSError, ssl.SSLError) as error:
        raise RequestFailed(
            Code.INVALID_ARGUMENT, f"A certificate can't be read: {error}."
        ) from error


def _not_ours(model: str) -> str:
    return (
        f"The model {model} on the server doesn't answer with classes and scores, as darkroom's do."
    )
