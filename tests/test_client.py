"""The client, over both protocols, of a real server."""

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from darkroom.serving.client import Client, GrpcClient, ImageRefused, RequestFailed, RestClient
from darkroom.serving.errors import Code
from darkroom.serving.predictor import ImageError
from tests import model_servers
from tests.conftest import PATIENCE, encoded
from tests.model_servers import Server, running

LIGHT, DARK = (encoded(np.full((8, 8, 3), value, np.uint8)) for value in (255, 0))


@pytest.fixture(params=["rest", "grpc"])
def client(server: Server, request: pytest.FixtureRequest) -> Iterator[Client]:
    with make(request.param, server) as made:
        yield made


def make(protocol: str, server: Server, model: str = "images", **options: object) -> Client:
    if protocol == "rest":
        return RestClient(f"http://localhost:{server.rest_port}", model, **options)
    return GrpcClient(f"localhost:{server.grpc_port}", model, **options)


def test_images_in_batches_are_answered_in_their_order(client: Client) -> None:
    found = client.predict([LIGHT, DARK] * 5, batch_size=3)
    assert [prediction.label for prediction in found] == ["light", "dark"] * 5
    assert found[0].classes == ("light", "dark")
    assert found[0].scores == (1.0, 0.0)
    assert found[0].version == 1


def test_the_image_that_is_not_taken_is_told(client: Client) -> None:
    cut = LIGHT[:-20]  # which only the server finds out
    for image, reason in ((b"no image", "not an image"), (cut, "(?i)png")):
        with pytest.raises(ImageRefused, match=reason) as caught:
            client.predict([LIGHT, DARK, image, LIGHT, DARK], batch_size=4)
        assert caught.value.image == 2
        assert caught.value.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_labels_versions_and_names(server: Server, protocol: str) -> None:
    for options in ({"label": "stable"}, {"version": 1}):
        with make(protocol, server, **options) as client:
            assert client.predict([LIGHT])[0].label == "light"
    with (
        make(protocol, server, label="no") as client,
        pytest.raises(RequestFailed, match="Unrecognized servable version label: no"),
    ):
        client.predict([LIGHT])
    with (
        make(protocol, server, "no") as client,
        pytest.raises(RequestFailed, match="Servable not found") as caught,
    ):
        client.predict([LIGHT])
    assert caught.value.code is Code.NOT_FOUND
    with make(protocol, server, "half_plus_two") as client, pytest.raises(RequestFailed):
        client.predict([LIGHT])


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_the_canary_gets_its_share(server: Server, protocol: str) -> None:
    with make(protocol, server, canary_share=0.5) as client:
        told = set()
        for _ in range(20):
            try:
                client.predict([LIGHT])
                told.add("stable")
            except RequestFailed as error:  # the server has no canary
                told.add(str(error).rpartition(" ")[2])
        assert told == {"stable", "canary"}


def test_multi_label_models_name_all_classes_above_a_half(server: Server) -> None:
    with make("rest", server, multi_label=True) as client:
        grey = encoded(np.full((8, 8, 3), 127, np.uint8))
        assert [p.label for p in client.predict([LIGHT, grey])] == ["light", "dark"]


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_a_server_that_is_not_there(protocol: str) -> None:
    address = f"localhost:{model_servers.free_port()}"
    options = {"timeout": 1.0}
    client: Client
    if protocol == "rest":
        client = RestClient(f"http://{address}", "m", **options)
    else:
        client = GrpcClient(address, "m", **options)
    with client, pytest.raises(RequestFailed, match=r"can't be reached; is a server running"):
        client.predict([LIGHT])


def test_a_server_that_comes_a_little_later_is_reached(served_models: Path, tmp_path: Path) -> None:
    port = model_servers.free_port()
    found = []

    def ask() -> None:
        with RestClient(f"http://localhost:{port}", "images", timeout=4 * PATIENCE) as client:
            found.append(client.predict([LIGHT])[0].label)

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(0.3)
    process = subprocess.Popen(
        model_servers.command(
            "--port=0",
            f"--rest_api_port={port}",
            "--model_name=images",
            f"--model_base_path={served_models / 'images'}",
        ),
        cwd=model_servers.REPOSITORY,
    )
    try:
        asking.join(4 * PATIENCE)
        assert found == ["light"]
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_a_server_that_is_started_again_is_reached(
    served_models: Path, tmp_path: Path, protocol: str
) -> None:
    base = f"--model_base_path={served_models / 'images'}"
    with running(tmp_path, "--model_name=images", base) as server:
        client = make(protocol, server, timeout=PATIENCE)
        assert client.predict([LIGHT])[0].label == "light"
        server.stop()
    ports = [f"--port={server.grpc_port}", f"--rest_api_port={server.rest_port}"]
    again = subprocess.Popen(
        model_servers.command("--model_name=images", base, *ports), cwd=model_servers.REPOSITORY
    )
    try:
        with client:
            assert client.predict([LIGHT])[0].label == "light"
    finally:
        again.kill()
        again.wait()


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_who_was_never_there_is_not_waited_for_as_long(protocol: str) -> None:
    address = f"localhost:{model_servers.free_port()}"
    url = f"http://{address}" if protocol == "rest" else address
    kind = RestClient if protocol == "rest" else GrpcClient
    with (
        kind(url, "m", timeout=100 * PATIENCE, first_timeout=0.5) as client,
        pytest.raises(RequestFailed, match="can't be reached"),
    ):
        client.predict([LIGHT])


def test_images_are_bytes_of_any_kind_or_files(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "light.png"
    file.write_bytes(LIGHT)
    given = [LIGHT, bytearray(DARK), memoryview(LIGHT), file, str(file)]
    found = [prediction.label for prediction in client.predict(given)]
    assert found == ["light", "dark", "light", "light", "light"]
    with pytest.raises(ImageError, match=r"none\.png: can't be read: No such file"):
        client.predict([LIGHT, tmp_path / "none.png"])


class _Answer(BaseHTTPRequestHandler):
    """Answers as the server that it belongs to says."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.server.answer(self)  # type: ignore[attr-defined]

    def log_message(self, *_: object) -> None:
        pass

    def say(self, status: int, kind: str, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"content-type": kind, **headers}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextlib.contextmanager
def answering(answer: Callable[[_Answer], None]) -> Iterator[int]:
    """An HTTP server that answers everything so; gives its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answer) as server:
        server.daemon_threads = True
        server.answer = answer  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "kind", "body", "headers", "code", "words"),
    [
        (200, "text/html; charset=utf-8", b"<p>Welcome", {}, Code.UNIMPLEMENTED,
         "answered with text/html; charset=utf-8, and no model server does; is it one?"),
        (200, "application/json", b"<p>Welcome", {}, Code.FAILED_PRECONDITION,
         "The model m on the server doesn't answer with classes and scores"),
        (200, "application/json", b'{"predictions": []}', {}, Code.INTERNAL,
         "The model on the server gave 0 answers for 1 images."),
        (301, "text/html", b"", {"location": "https://there/"}, Code.UNKNOWN,
         "that it is elsewhere (HTTP status 301): ask https://there/."),
        (429, "text/html", b"", {}, Code.UNAVAILABLE, "too many requests (HTTP status 429)."),
        (502, "text/html", b"", {}, Code.UNAVAILABLE, "answered with HTTP status 502."),
        (500, "application/json", b'{"error": "It failed."}', {}, Code.INTERNAL, "It failed."),
        (418, "application/json", b"[]", {}, Code.UNKNOWN, "answered with HTTP status 418."),
    ],
)  # fmt: skip
def test_what_else_may_answer(
    status: int, kind: str, body: bytes, headers: dict[str, str], code: Code, words: str
) -> None:
    with answering(lambda request: request.say(status, kind, body, **headers)) as port:
        client = RestClient(f"http://localhost:{port}", "m", timeout=0.3)
        with client, pytest.raises(RequestFailed) as raised:
            client.predict([LIGHT])
    assert words in str(raised.value)
    assert raised.value.code is code


@pytest.mark.parametrize("part", ["head", "body"])
def test_an_answer_that_drips_ends_in_time(part: str) -> None:
    dripping = threading.Event()

    def drip(request: _Answer) -> None:
        if part == "body":
            request.send_response(200)
            request.send_header("content-length", "100000")
            request.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(PATIENCE):
                request.wfile.write(b"H")
                if dripping.wait(0.1):
                    return

    with answering(drip) as port:
        client = RestClient(f"http://localhost:{port}", "m", timeout=0.5)
        with client, pytest.raises(RequestFailed, match=r"did not answer within 0\.5 s"):
            client.predict([LIGHT])
        dripping.set()


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_a_proxy_is_asked_by_both_and_named(monkeypatch: pytest.MonkeyPatch, protocol: str) -> None:
    with socket.socket() as proxy:
        proxy.bind(("127.0.0.1", 0))
        proxy.listen()
        address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        monkeypatch.setenv("http_proxy", address)
        monkeypatch.delenv("no_proxy", raising=False)
        asked: list[bytes] = []

        def refuse() -> None:
            while True:
                try:
                    connection, _ = proxy.accept()
                except OSError:
                    return
                with connection:
                    asked.append(connection.recv(200))

        threading.Thread(target=refuse, daemon=True).start()
        kind, url = (
            (RestClient, "http://models.invalid:8501")
            if protocol == "rest"
            else (GrpcClient, "models.invalid:8500")
        )
        with kind(url, "m", timeout=1) as client, pytest.raises(RequestFailed) as raised:
            client.predict([LIGHT])
    assert b"models.invalid:850" in asked[0]
    assert f"through the proxy {address}" in str(raised.value)


def test_this_machine_is_asked_without_a_proxy(
    client: Client, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    for protocol in ("rest", "grpc"):
        with make(protocol, server) as made:
            assert made.predict([LIGHT])[0].label == "light"


def test_addresses_and_certificates_that_are_none(tmp_path: Path) -> None:
    for url in ("localhost:8501", "ftp://localhost", "http://"):
        with pytest.raises(RequestFailed, match="no address of a server"):
            RestClient(url, "m")
    missing = tmp_path / "missing.pem"
    with pytest.raises(RequestFailed, match="certificate can't be read"):
        RestClient("https://localhost", "m", ca_file=missing)
    with pytest.raises(RequestFailed, match="certificate can't be read"):
        GrpcClient("localhost:1", "m", ca_file=missing)


def test_rest_needs_no_tensorflow() -> None:
    code = "import darkroom.serving.client, sys; sys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=model_servers.REPOSITORY)
