"""The client, over both protocols, of a real server."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from darkroom.serving import client as clients
from darkroom.serving.client import Client, GrpcClient, ImageRefused, RequestFailed, RestClient
from darkroom.serving.errors import Code
from tests import model_servers
from tests.conftest import PATIENCE, encoded
from tests.model_servers import Server

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


def test_a_server_that_comes_a_little_later_is_reached(
    served_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "_TRIES", 60)
    monkeypatch.setattr(clients.random, "uniform", lambda low, high: low)
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
