"""Profiles of a real server, as TensorFlow's own client takes them."""

import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import tensorflow as tf

from tests.model_servers import Server, running
from tests.test_grpc_server import SECONDS, failure, predict_request

HALF = "half_plus_two"


@pytest.fixture(scope="module")
def profiled(served_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    model = (f"--model_name={HALF}", f"--model_base_path={served_models / HALF}")
    with running(tmp_path_factory.mktemp("server"), *model, "--enable_profiler") as server:
        yield server


def asked(server: Server) -> grpc.UnaryUnaryMultiCallable:
    return server.channel.unary_unary("/tensorflow.ProfilerService/Profile")


def duration(milliseconds: int) -> bytes:
    """A request for a profile, below 128 ms or none."""
    return bytes([8, milliseconds]) * bool(milliseconds)


def test_tensorflow_s_client_writes_what_ran(profiled: Server, tmp_path: Path) -> None:
    ended = threading.Event()

    def ask() -> None:
        while not ended.is_set():
            profiled.stub.Predict(predict_request(x=[2.0]), SECONDS)

    client = threading.Thread(target=ask)
    client.start()
    try:
        tf.profiler.experimental.client.trace(
            f"grpc://localhost:{profiled.grpc_port}", str(tmp_path), 500
        )
    finally:
        ended.set()
        client.join()
    [profile] = tmp_path.glob("plugins/profile/*/*.xplane.pb")
    content = profile.read_bytes()
    assert b"mul:Mul" in content  # operations of the model's
    assert b"y:AddV2" in content


def test_one_at_a_time_and_not_for_long(profiled: Server) -> None:
    first = asked(profiled).future(duration(100), SECONDS)
    others = [asked(profiled).future(duration(100), SECONDS) for _ in range(3)]
    codes = [call.code() for call in (first, *others)]
    assert codes.count(grpc.StatusCode.OK) == 1
    assert codes.count(grpc.StatusCode.ALREADY_EXISTS) == 3
    too_long = bytes([8, 0xE1, 0xD4, 0x03])  # 60,001 ms
    for wrong in (duration(0), too_long):
        code, words = failure(asked(profiled), wrong)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "duration_ms from 1 to 60,000" in words


def test_it_is_off_and_for_administrators(
    server: Server, served_models: Path, tmp_path: Path
) -> None:
    assert failure(asked(server), duration(1))[0] is grpc.StatusCode.UNIMPLEMENTED
    (tmp_path / "keys").write_text("client\n")
    (tmp_path / "admins").write_text("admin\n")
    model = (f"--model_name={HALF}", f"--model_base_path={served_models / HALF}")
    keys = [f"--api_key_file={tmp_path / 'keys'}", f"--admin_api_key_file={tmp_path / 'admins'}"]
    with running(tmp_path, *model, *keys, "--enable_profiler") as guarded:
        for key, code in (
            ("client", grpc.StatusCode.UNAUTHENTICATED),
            ("admin", grpc.StatusCode.OK),
        ):
            call = asked(guarded).future(duration(1), SECONDS, metadata=[("x-api-key", key)])
            assert call.code() is code
