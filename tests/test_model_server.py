"""The life of a server: start, new versions, configuration, access, log, stop."""

import concurrent.futures
import contextlib
import gzip
import json
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis import model_management_pb2, prediction_log_pb2
from tensorflow_serving.apis.regression_pb2 import RegressionRequest

from darkroom.serving import signatures
from tests import model_servers, serving_models
from tests.model_servers import Server, running
from tests.test_grpc_server import SECONDS, predict_request

HALF = "/v1/models/half"
ASK = {"instances": [2.0]}


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """x / 2 + 1, 2 and 3."""
    folder = tmp_path_factory.mktemp("halves")
    return {
        number: serving_models.half_plus_two(folder / str(number), float(number), warmup=True)
        for number in (1, 2, 3)
    }


@pytest.fixture
def base(halves: dict[int, Path], tmp_path: Path) -> Path:
    """A model's folder with version 1."""
    folder = tmp_path / "half"
    folder.mkdir()
    put(halves[1], folder / "1")
    return folder


@pytest.fixture(scope="module")
def half(halves: dict[int, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of x / 2 + 1."""
    folder = tmp_path_factory.mktemp("server")
    put(halves[1], folder / "half" / "1")
    with running(folder, *one_model(folder / "half")) as server:
        yield server


def put(source: Path, target: Path) -> None:
    """As Pusher: whole or not at all."""
    shutil.copytree(source, target.with_name(f"incoming-{target.name}"))
    target.with_name(f"incoming-{target.name}").rename(target)


def eventually(check: Callable[[], Any]) -> None:
    until = time.monotonic() + model_servers.PATIENCE
    while not check():
        assert time.monotonic() < until, check
        time.sleep(0.05)


def one_model(base: Path) -> list[str]:
    return ["--model_name=half", f"--model_base_path={base}"]


def states(server: Server) -> dict[str, str]:
    found = server.ask(HALF).json["model_version_status"]
    return {status["version"]: status["state"] for status in found}


def refused(*arguments: str) -> str:
    result = subprocess.run(
        model_servers.command(*arguments),
        capture_output=True,
        text=True,
        timeout=model_servers.PATIENCE,
        check=False,
        cwd=model_servers.REPOSITORY,
    )
    assert result.returncode not in (0, None)
    assert "Traceback" not in result.stderr
    return result.stderr


def test_wrong_flags_and_files_are_told_at_once(tmp_path: Path) -> None:
    assert "--no_such_flag" in refused("--no_such_flag=1", "--model_base_path=/m")
    assert "nothing to serve" in refused()
    assert "are both 8500" in refused("--model_base_path=/m", "--rest_api_port=8500")
    file = tmp_path / "bad.config"
    file.write_text("improper format")
    message = f"Invalid protobuf file: '{file}'"
    assert message in refused(f"--model_config_file={file}")
    model = "--model_base_path=/m"
    assert message in refused(model, f"--monitoring_config_file={file}")
    batching = f"--batching_parameters_file={file}"
    assert message in refused(model, "--enable_batching", batching)
    assert "without --enable_batching" in refused(model, batching)
    assert message in refused(model, f"--ssl_config_file={file}")
    assert "can't be read" in refused(f"--model_config_file={tmp_path / 'missing'}")
    file.write_text("max_batch_size { value: 8 } allowed_batch_sizes: 4")
    assert "end with max_batch_size, 8" in refused(model, "--enable_batching", batching)


def test_a_port_of_another_server_is_told(server: Server, base: Path) -> None:
    free = model_servers.free_port()
    taken = refused(*one_model(base), f"--port={server.grpc_port}", f"--rest_api_port={free}")
    assert taken == (
        f"model_server: gRPC can't listen on localhost:{server.grpc_port}: Address already in use. "
        "Choose another --port.\n"
    )
    taken = refused(*one_model(base), f"--port={free}", f"--rest_api_port={server.rest_port}")
    assert f"HTTP can't listen on localhost:{server.rest_port}: Address already in use" in taken
    for host in ("192.0.2.1", "nowhere.invalid"):  # that no machine has
        taken = refused(*one_model(base), f"--port={free}", f"--host={host}")
        assert f"gRPC can't listen on {host}:{free}: " in taken
        assert taken.endswith("Choose another --host.\n")


def test_versions_come_and_go_under_load_without_a_failed_request(
    base: Path, halves: dict[int, Path], tmp_path: Path
) -> None:
    with running(
        tmp_path,
        *one_model(base),
        "--enable_batching",
        "--file_system_poll_wait_seconds=0.1",
        "--load_retry_interval_micros=100000",
        "--max_num_load_retries=2",
    ) as server:
        stopping = threading.Event()
        versions: list[list[int]] = [[], [], [], []]

        def ask(at: int) -> None:
            with grpc.insecure_channel(f"localhost:{server.grpc_port}") as channel:
                stub = type(server.stub)(channel)
                while not stopping.is_set():
                    answer = stub.Predict(predict_request("half", x=[2.0]), SECONDS)
                    version = answer.model_spec.version.value
                    assert answer.outputs["y"].float_val == [1.0 + (version - 1) % 3 + 1]
                    versions[at].append(version)

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            asking = [pool.submit(ask, at) for at in range(4)]
            for version in range(2, 8):
                put(halves[(version - 1) % 3 + 1], base / str(version))
                eventually(lambda v=version: states(server).get(str(v)) == "AVAILABLE")
                eventually(lambda v=version: states(server)[str(v - 1)] == "END")
            # Not a model, not a number, not whole: reported, and the last one goes on.
            (base / "8").mkdir()
            (base / "8" / "saved_model.pb").write_bytes(b"broken")
            (base / "notes").mkdir()
            eventually(lambda: states(server).get("8") == "END")
            stopping.set()
            for asked in asking:
                asked.result()
        for seen in versions:
            assert seen == sorted(seen)
            assert seen[-1] == 7
        [bad, *_] = server.ask(f"{HALF}/versions/8").json["model_version_status"]
        assert bad["status"]["error_code"] == "UNKNOWN"
        assert "can't be loaded" in bad["status"]["error_message"]
        assert server.ask(f"{HALF}:predict", ASK).json == {"predictions": [2.0]}
        assert server.ask("/readyz").status == 200


def test_a_server_without_its_model_is_alive_and_ready_when_it_comes(
    tmp_path: Path, halves: dict[int, Path]
) -> None:
    base = tmp_path / "later"
    with running(
        tmp_path, *one_model(base), "--file_system_poll_wait_seconds=0.1", ready=False
    ) as server:
        assert server.ask("/readyz").status == 503
        assert server.ask(f"{HALF}:predict", ASK).status == 404
        base.mkdir()
        put(halves[1], base / "1")
        server.wait_until("/readyz")
        assert server.ask(f"{HALF}:predict", ASK).json == {"predictions": [2.0]}


def test_a_warmup_request_that_fails_keeps_a_version_out(
    base: Path, halves: dict[int, Path], tmp_path: Path
) -> None:
    staged = tmp_path / "staged"
    shutil.copytree(halves[2], staged)
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.model_spec.signature_name = "no_such_signature"
    warmup = staged / "assets.extra" / "tf_serving_warmup_requests"
    with tf.io.TFRecordWriter(str(warmup)) as writer:
        writer.write(log.SerializeToString())
    with running(
        tmp_path,
        *one_model(base),
        "--file_system_poll_wait_seconds=0.1",
        "--max_num_load_retries=0",
    ) as server:
        put(staged, base / "2")
        eventually(lambda: states(server).get("2") == "END")
        [bad, *_] = server.ask(f"{HALF}/versions/2").json["model_version_status"]
        assert "no_such_signature" in bad["status"]["error_message"]
        assert server.ask(f"{HALF}:predict", ASK).json == {"predictions": [2.0]}


def models_config(path: Path, base: Path, versions: list[int], **labels: int) -> None:
    """As darkroom promote and rollback write it."""
    specific = " ".join(f"versions: {version}" for version in versions)
    text = f"model_version_policy {{ specific {{ {specific} }} }}" if versions else ""
    for label, version in labels.items():
        text += f' version_labels {{ key: "{label}" value: {version} }}'
    new = path.with_suffix(".new")
    new.write_text(
        f'model_config_list {{ config {{ name: "half" base_path: "{base}" '
        f'model_platform: "tensorflow" {text} }} }}'
    )
    new.rename(path)


def test_the_config_file_moves_labels_and_versions(
    base: Path, halves: dict[int, Path], tmp_path: Path
) -> None:
    put(halves[2], base / "2")
    put(halves[3], base / "3")
    config = tmp_path / "models.config"
    models_config(config, base, [1], stable=1)
    with running(
        tmp_path,
        f"--model_config_file={config}",
        "--model_config_file_poll_wait_seconds=0.1",
        "--canary_share=0.5",
    ) as server:

        def answer(label: str) -> Any:
            path = f"{HALF}/labels/{label}:predict"
            return server.ask(path, ASK).json.get("predictions")

        assert answer("stable") == [2.0]
        assert answer("canary") is None
        models_config(config, base, [1, 2], stable=1, canary=2)
        eventually(lambda: answer("canary") == [3.0])
        assert answer("stable") == [2.0]
        # Half of those who don't say get the canary.
        found = [server.ask(f"{HALF}:predict", ASK).json["predictions"][0] for _ in range(60)]
        assert 5 < found.count(3.0) < 55
        assert found.count(2.0) + found.count(3.0) == 60
        models_config(config, base, [2], stable=2)
        eventually(lambda: answer("stable") == [3.0])
        assert answer("canary") is None
        # Back again.
        models_config(config, base, [1], stable=1)
        eventually(lambda: answer("stable") == [2.0])
        # What can't be taken changes nothing.
        models_config(config, base, [1], stable=9)
        config.write_text("nonsense")
        eventually(lambda: server.log.read_text().count("is not taken") > 0)
        assert answer("stable") == [2.0]


def test_reloading_over_grpc_replaces_the_whole_config(
    base: Path, halves: dict[int, Path], tmp_path: Path
) -> None:
    with running(tmp_path, *one_model(base)) as server:
        request = model_management_pb2.ReloadConfigRequest()
        request.config.model_config_list.config.add(
            name="other", base_path=str(base), model_platform="tensorflow"
        )
        server.models.HandleReloadConfigRequest(request, SECONDS)
        answer = server.stub.Predict(predict_request("other", x=[2.0]), SECONDS)
        assert answer.outputs["y"].float_val == [2.0]
        assert server.ask(f"{HALF}:predict", ASK).status == 404


def test_who_may_reload_and_where_it_may_log(base: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("client\n")
    (tmp_path / "admins").write_text("admin\n")
    logs = tmp_path / "logs"
    request = model_management_pb2.ReloadConfigRequest()
    model = request.config.model_config_list.config.add(name="half", base_path=str(base))

    def reload(server: Server, key: str) -> grpc.StatusCode:
        metadata = [("x-api-key", key)]
        try:
            server.models.HandleReloadConfigRequest(request, SECONDS, metadata=metadata)
        except grpc.RpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    keys = f"--api_key_file={tmp_path / 'keys'}"
    with running(tmp_path, *one_model(base), keys, ready=False) as server:
        assert reload(server, "client") is grpc.StatusCode.PERMISSION_DENIED
    admins = f"--admin_api_key_file={tmp_path / 'admins'}"
    below = f"--request_log_folder={logs}"
    with running(tmp_path, *one_model(base), keys, admins, below, ready=False) as server:
        assert reload(server, "client") is grpc.StatusCode.UNAUTHENTICATED
        assert reload(server, "admin") is grpc.StatusCode.OK
        prefix = model.logging_config.log_collector_config
        for elsewhere in (tmp_path / "half", logs / ".." / "half", "/etc/half"):
            prefix.filename_prefix = str(elsewhere)
            assert reload(server, "admin") is grpc.StatusCode.PERMISSION_DENIED
        prefix.filename_prefix = str(logs / "half")
        assert reload(server, "admin") is grpc.StatusCode.OK


def test_an_empty_config_takes_nothing_away(base: Path, tmp_path: Path) -> None:
    config = tmp_path / "models.config"
    models_config(config, base, [1], stable=1)
    arguments = [f"--model_config_file={config}", "--model_config_file_poll_wait_seconds=0.05"]
    with running(tmp_path, *arguments) as server:
        for text in ("", "# nothing yet\n"):
            config.write_text(text)
            said = server.log.read_text().count("no action for an empty config")
            eventually(lambda said=said: server.log.read_text().count("no action for") > said)
        server.models.HandleReloadConfigRequest(model_management_pb2.ReloadConfigRequest(), SECONDS)
        assert server.ask(f"{HALF}:predict", ASK).json == {"predictions": [2.0]}


def test_bodies_that_are_not_whole_count(base: Path, tmp_path: Path) -> None:
    head = f"POST {HALF}:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\n\r\n"
    with (
        running(tmp_path, *one_model(base), "--max_enqueued_bytes=2000000") as server,
        contextlib.ExitStack() as clients,
    ):
        unfinished = []
        for _ in range(3):
            client = socket.create_connection(("localhost", server.rest_port))
            unfinished.append(clients.enter_context(client))
            client.sendall(head.encode() + b" " * 800_000)
        answered, _, _ = select.select(unfinished, [], [], model_servers.PATIENCE)
        assert answered[0].recv(100).startswith(b"HTTP/1.1 503 ")
        for client in unfinished:
            client.close()
        eventually(lambda: server.ask(f"{HALF}:predict", ASK).status == 200)


# Asks for its health, again and again, until it is told to stop; prints the longest wait.
WATCH = """
import http.client, select, sys, time
longest = 0.0
print("begun", flush=True)
while not select.select([sys.stdin], [], [], 0.01)[0]:
    begin = time.perf_counter()
    connection = http.client.HTTPConnection("localhost", int(sys.argv[1]))
    connection.request("GET", "/healthz")
    assert connection.getresponse().read()
    connection.close()
    longest = max(longest, time.perf_counter() - begin)
print(longest)
"""
# Each held up all other requests for seconds, before there were bounds.
LARGE = 20 * 2**20
LISTS = b'{"a":[' + b"[]," * (LARGE // 3) + b'[]],"instances":["x"]}'
HOLD_UPS = {
    "lists in gzip": lambda: (gzip.compress(LISTS, 1), {"content-encoding": "gzip"}),
    "lists": lambda: (b'{"a":[' + b"[]," * 3_000_000 + b'[]],"instances":[1.0]}', {}),
    "numbers": lambda: (b'{"instances":[' + b"1," * (LARGE // 2) + b"1]}", {}),
    "strings": lambda: (b'{"instances":[' + b'"",' * (LARGE // 3) + b'""]}', {}),
    "not numbers": lambda: (b'{"instances":[' + b"NaN," * (LARGE // 8) + b"1]}", {}),
    "a header": lambda: (b"", {"a": "b" * LARGE}),
    "tensor of strings": lambda: b"\x08\x01" + b"\x42\x00" * (LARGE // 2),
    "tensor of dimensions": lambda: b"\x08\x01\x12" + size(LARGE) + b"\x12\x00" * (LARGE // 2),
    "images in an example": lambda: _regression(b"\n\x04GIF8" * (LARGE // 6)),
    "parts of a GIF": lambda: _regression((b"GIF8" + bytes(7) + b"!\xfe\0" * 2**16) * 100),
}


def _regression(content: bytes) -> RegressionRequest:
    request = RegressionRequest(model_spec={"name": "half", "signature_name": "regress_x_to_y"})
    features = request.input.example_list.examples.add().features.feature
    features["x"].bytes_list.value.append(content)
    return request


def size(number: int) -> bytes:
    """An integer on protobuf's wire."""
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + size(rest) if rest else bytes([low])


@pytest.mark.parametrize("name", HOLD_UPS)
def test_no_request_holds_up_the_others(half: Server, name: str) -> None:
    attack = HOLD_UPS[name]()
    watch = subprocess.Popen(
        [sys.executable, "-c", WATCH, str(half.rest_port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert watch.stdout is not None
    watch.stdout.readline()
    if isinstance(attack, RegressionRequest):
        with pytest.raises(grpc.RpcError):
            half.stub.Regress(attack, SECONDS)
    elif isinstance(attack, bytes):
        entry = b"\x0a\x01x\x12" + size(len(attack)) + attack
        message = b"\x0a\x06\x0a\x04half\x12" + size(len(entry)) + entry
        with pytest.raises(grpc.RpcError):
            half.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")(
                message, timeout=SECONDS
            )
    else:
        with contextlib.suppress(OSError):
            half.ask(f"{HALF}:predict", body=attack[0], headers=attack[1])
    longest = float(watch.communicate(b"stop")[0])
    # A fiftieth of a second on a quiet machine, where it was 3 to 20 s.
    assert longest < 2


def test_told_to_stop_it_finishes_what_is_under_way(served_models: Path, tmp_path: Path) -> None:
    base = served_models / "every"
    with (
        running(tmp_path, "--model_name=every", f"--model_base_path={base}") as server,
        concurrent.futures.ThreadPoolExecutor(2) as pool,
    ):
        # About a second of work; the server is told to stop in the middle of it.
        document = {"signature_name": "slow", "inputs": [2000]}
        rest = pool.submit(server.ask, "/v1/models/every:predict", document)
        request = predict_request("every", "slow", steps=tf.constant([2000]))
        over_grpc = server.stub.Predict.future(request, SECONDS)
        time.sleep(0.3)
        assert not rest.done()
        assert server.stop() == 0
        assert rest.result().json == {"outputs": [2000.0]}
        assert over_grpc.result().outputs["done"].float_val == [2000.0]
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_signals_while_it_idles_end_it(base: Path, tmp_path: Path, number: int, code: int) -> None:
    with running(tmp_path, *one_model(base)) as server:
        assert server.stop(number) == code
    assert "Traceback" not in server.log.read_text()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca, server and client: .key and .crt."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2")
    openssl(*new, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=test ca")
    for name in ("server", "client"):
        request = ("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}")
        openssl(*request, "-keyout", f"{name}.key", "-out", f"{name}.csr")
        (folder / "ext").write_text("subjectAltName=DNS:localhost")
        signed = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2")
        output = ("-extfile", "ext", "-out", f"{name}.crt")
        openssl("x509", "-req", "-in", f"{name}.csr", *signed, *output)
    return folder


def test_both_ports_are_encrypted_and_ask_for_a_certificate_and_a_key(
    base: Path, certificates: Path, tmp_path: Path
) -> None:
    def read(name: str) -> str:
        return (certificates / name).read_text()

    config = {
        "server_key": read("server.key"),
        "server_cert": read("server.crt"),
        "custom_ca": read("ca.crt"),
    }
    text = "".join(f"{key}: {json.dumps(value)}\n" for key, value in config.items())
    (tmp_path / "ssl.config").write_text(text + "client_verify: true")
    (tmp_path / "keys").write_text("# whose\nsecret-1\n\nsecret-2\n")
    arguments = [
        *one_model(base),
        f"--ssl_config_file={tmp_path / 'ssl.config'}",
        f"--api_key_file={tmp_path / 'keys'}",
        "--rest_api_enable_cors_support",
    ]
    grpc_port, rest_port = model_servers.free_port(), model_servers.free_port()
    process = subprocess.Popen(
        model_servers.command(f"--port={grpc_port}", f"--rest_api_port={rest_port}", *arguments),
        cwd=model_servers.REPOSITORY,
    )
    try:
        context = ssl.create_default_context(cafile=str(certificates / "ca.crt"))
        stranger = ssl.create_default_context(cafile=str(certificates / "ca.crt"))
        context.load_cert_chain(certificates / "client.crt", certificates / "client.key")
        url = f"https://localhost:{rest_port}"

        def ask(path: str, headers: dict[str, str], tls: ssl.SSLContext = context) -> int:
            request = urllib.request.Request(url + path, json.dumps(ASK).encode(), headers)
            try:
                with urllib.request.urlopen(request, context=tls, timeout=60) as response:
                    assert response.headers["access-control-allow-origin"] == "*"
                    return int(response.status)
            except urllib.error.HTTPError as error:
                return error.code

        def is_up() -> bool:
            try:
                with urllib.request.urlopen(f"{url}/readyz", context=context, timeout=60):
                    return True
            except OSError:
                return False

        eventually(is_up)
        path = f"{HALF}:predict"
        assert ask(path, {"Authorization": "Bearer secret-2"}) == 200
        assert ask(path, {"X-API-Key": "secret-1"}) == 200
        assert ask(path, {"Authorization": "Bearer secret-3"}) == 401
        assert ask(path, {"Authorization": "Basic secret-1"}) == 401
        assert ask(path, {}) == 401
        with pytest.raises(OSError, match=r"certificate|handshake|closed|reset|EOF|alert"):
            ask(path, {"X-API-Key": "secret-1"}, stranger)
        with pytest.raises(OSError, match=r"closed|reset|without response"):
            urllib.request.urlopen(f"http://localhost:{rest_port}/readyz", timeout=60)

        def content(name: str) -> bytes:
            return (certificates / name).read_bytes()

        own = grpc.ssl_channel_credentials(
            content("ca.crt"), content("client.key"), content("client.crt")
        )
        foreign = grpc.ssl_channel_credentials(content("ca.crt"))
        unary = "/tensorflow.serving.PredictionService/Predict"
        message = predict_request("half", x=[2.0]).SerializeToString()
        for credentials, key, code in (
            (own, "secret-1", grpc.StatusCode.OK),
            (own, "wrong", grpc.StatusCode.UNAUTHENTICATED),
            (foreign, "secret-1", grpc.StatusCode.UNAVAILABLE),
        ):
            with grpc.secure_channel(f"localhost:{grpc_port}", credentials) as channel:
                metadata = [("authorization", f"Bearer {key}")]
                call = channel.unary_unary(unary).future(
                    message, timeout=SECONDS, metadata=metadata
                )
                assert call.code() is code
                method = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
                asked = channel.stream_stream(method)(iter([b""]), SECONDS, metadata=metadata)
                with contextlib.suppress(grpc.RpcError):
                    list(asked)
                assert asked.code() is code
    finally:
        process.kill()
        process.wait()


def test_requests_are_logged_and_a_unix_socket_answers(base: Path, tmp_path: Path) -> None:
    config = tmp_path / "models.config"
    prefix = tmp_path / "log" / "half"
    config.write_text(
        f'model_config_list {{ config {{ name: "half" base_path: "{base}" '
        'model_platform: "tensorflow" logging_config { log_collector_config { '
        f'type: "file" filename_prefix: "{prefix}" }} '
        "sampling_config { sampling_rate: 1.0 } } } }"
    )
    socket = tmp_path / "socket"
    with running(
        tmp_path, f"--model_config_file={config}", f"--grpc_socket_path={socket}"
    ) as server:
        server.ask(f"{HALF}:predict", ASK)
        server.ask(
            f"{HALF}:classify",
            {"signature_name": "classify_x_to_y", "examples": [{"x": 2.0}]},
        )
        with grpc.insecure_channel(f"unix:{socket}") as channel:
            type(server.stub)(channel).Predict(predict_request("half", x=[4.0]), SECONDS)
        assert server.stop() == 0
    [file] = prefix.parent.iterdir()
    logs = [
        prediction_log_pb2.PredictionLog.FromString(record)
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator()
    ]
    assert [log.WhichOneof("log_type") for log in logs] == [
        "predict_log",
        "classify_log",
        "predict_log",
    ]
    assert logs[0].log_metadata.model_spec.name == "half"
    assert logs[0].log_metadata.model_spec.version.value == 1
    assert logs[0].log_metadata.sampling_config.sampling_rate == 1.0
    assert tf.make_ndarray(logs[0].predict_log.request.inputs["x"]).tolist() == [2.0]
    assert logs[2].predict_log.response.outputs["y"].float_val == [3.0]


@pytest.mark.parametrize("signature", [True, False])
def test_tensorflow_lite(tmp_path: Path, signature: bool) -> None:
    base = tmp_path / "lite"
    serving_models.lite(base / "1", signature)
    with running(tmp_path, *one_model(base), "--prefer_tflite_model=true") as server:
        signature_def = server.ask(f"{HALF}/metadata").json["metadata"]["signature_def"]
        [output] = signature_def["signature_def"][signatures.SERVING]["outputs"]
        assert output == ("y" if signature else "Identity")
        for rows in ([[2.0], [4.0]], [[1.0]]):
            reply = server.ask(f"{HALF}:predict", {"instances": rows})
            assert reply.json == {"predictions": [[row[0] / 2 + 2] for row in rows]}


def test_each_signature_of_tensorflow_lite(tmp_path: Path) -> None:
    base = tmp_path / "lite"
    serving_models.lite_of_two(base / "1")
    with running(tmp_path, *one_model(base), "--prefer_tflite_model=true") as server:
        metadata = server.ask(f"{HALF}/metadata").json["metadata"]["signature_def"]
        assert set(metadata["signature_def"]) == {"serving_default", "next"}
        for name, expected in (("serving_default", [10.0, 4.0]), ("next", [6.0, 3.0])):
            request = predict_request("half", name, x=[5.0, 2.0])
            [output] = server.stub.Predict(request, SECONDS).outputs.values()
            assert output.float_val == expected
            document = {"signature_name": name, "instances": [5.0, 2.0]}
            assert server.ask(f"{HALF}:predict", document).json == {"predictions": expected}


def test_what_the_batching_file_says_and_how_long_rest_waits(
    served_models: Path, tmp_path: Path
) -> None:
    (tmp_path / "batching").write_text(
        "max_batch_size { value: 8 } batch_timeout_micros { value: 500000 } "
        "num_batch_threads { value: 2 } allowed_batch_sizes: 4 allowed_batch_sizes: 8 "
        "pad_variable_length_inputs: true"
    )
    with (
        running(
            tmp_path,
            "--model_name=every",
            f"--model_base_path={served_models / 'every'}",
            "--enable_batching",
            f"--batching_parameters_file={tmp_path / 'batching'}",
            "--rest_api_timeout_in_ms=1500",
            "--grpc_channel_arguments=grpc.max_receive_message_length=100000",
        ) as server,
        concurrent.futures.ThreadPoolExecutor(2) as pool,
    ):
        path = "/v1/models/every:predict"

        def size(rows: int) -> Any:
            return server.ask(path, {"signature_name": "batch", "instances": [0.0] * rows}).json

        assert size(1) == {"predictions": [4.0]}
        assert size(5) == {"predictions": [8.0] * 5}
        # As many names as a padded batch has rows, and yet not a name for each.
        named = server.stub.Predict(predict_request("every", "named", x=[5.0]), SECONDS).outputs
        assert named["y"].float_val == [5.0]
        assert named["names"].string_val == [b"a", b"b", b"c", b"d"]
        # Over REST and gRPC, of different lengths, and yet in one batch.
        over_rest = pool.submit(server.ask, path, {"instances": [[2.0]]})
        request = predict_request("every", x=[[2.0, 4.0, 6.0]])
        over_grpc = server.stub.Predict(request, SECONDS)
        assert over_grpc.outputs["y"].float_val == [3.0, 4.0, 5.0]
        assert over_rest.result().json == {"predictions": [[3.0, 2.0, 2.0]]}
        late = server.ask(path, {"signature_name": "slow", "inputs": [20_000]})
        assert (late.status, late.json) == (504, {"error": "No answer within 1.5 s."})
        with pytest.raises(grpc.RpcError) as raised:
            server.stub.Predict(predict_request("every", x=[[0.0] * 30_000]), SECONDS)
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        server.process.kill()  # it still has seconds of work


def test_a_folder_is_looked_at_once_and_a_label_is_ahead_of_its_version(
    base: Path, halves: dict[int, Path], tmp_path: Path
) -> None:
    config = tmp_path / "models.config"
    models_config(config, base, [], stable=1, canary=2)
    assert "not currently available" in refused(f"--model_config_file={config}")
    with running(
        tmp_path,
        f"--model_config_file={config}",
        "--allow_version_labels_for_unavailable_models",
        "--file_system_poll_wait_seconds=0",
    ) as server:
        canary = f"{HALF}/labels/canary:predict"
        assert server.ask(f"{HALF}/labels/stable:predict", ASK).json == {"predictions": [2.0]}
        assert server.ask(canary, ASK).json == {
            "error": "Servable not found for request: Specific(half, 2)"
        }
        put(halves[2], base / "2")
        time.sleep(1.5)  # longer than the default between two looks
        assert server.ask(canary, ASK).status == 404
        request = model_management_pb2.ReloadConfigRequest()
        text_format.Parse(config.read_text(), request.config)
        server.models.HandleReloadConfigRequest(request, SECONDS)
        assert server.ask(canary, ASK).json == {"predictions": [3.0]}


def test_a_full_queue_is_told_at_once(served_models: Path, tmp_path: Path) -> None:
    base = served_models / "every"
    (tmp_path / "batching").write_text(
        "max_batch_size { value: 1 } max_enqueued_batches { value: 2 } "
        "num_batch_threads { value: 1 }"
    )
    with running(
        tmp_path,
        "--model_name=every",
        f"--model_base_path={base}",
        "--enable_batching",
        f"--batching_parameters_file={tmp_path / 'batching'}",
    ) as server:
        request = predict_request("every", "slow", steps=tf.constant([1000]))
        calls = [server.stub.Predict.future(request, SECONDS) for _ in range(8)]
        codes = [call.code() for call in calls]
        assert codes.count(grpc.StatusCode.OK) >= 3
        assert codes.count(grpc.StatusCode.UNAVAILABLE) >= 2
        assert set(codes) == {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}


OP_LIBRARY = """
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
REGISTER_OP("DarkroomDoubled").Input("x: float").Output("y: float");
class Doubled : public tensorflow::OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(tensorflow::OpKernelContext* context) override {
    const tensorflow::Tensor& x = context->input(0);
    tensorflow::Tensor* y = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, x.shape(), &y));
    y->flat<float>() = x.flat<float>() * 2.0f;
  }
};
REGISTER_KERNEL_BUILDER(Name("DarkroomDoubled").Device(tensorflow::DEVICE_CPU), Doubled);
"""


def test_ops_of_a_library_and_the_one_that_is_missing(tmp_path: Path) -> None:
    library, base = tmp_path / "ops" / "doubled.so", tmp_path / "half"
    library.parent.mkdir()
    (tmp_path / "doubled.cc").write_text(OP_LIBRARY)
    flags = [*tf.sysconfig.get_compile_flags(), *tf.sysconfig.get_link_flags()]
    compiled = ["g++", "-shared", "-fPIC", str(tmp_path / "doubled.cc"), "-o", str(library)]
    subprocess.run([*compiled, *flags], check=True)
    doubled = tf.load_op_library(str(library)).darkroom_doubled
    model = tf.Module()
    model.serve = tf.function(doubled, [tf.TensorSpec([None], tf.float32, "x")])
    tf.saved_model.save(model, str(base / "1"), {"serving_default": model.serve})

    with running(tmp_path, *one_model(base), ready=False) as server:
        eventually(lambda: "half version 1 failed" in server.log.read_text())
        [version] = server.ask(HALF).json["model_version_status"]
        assert "it needs the op DarkroomDoubled" in version["status"]["error_message"]
        assert "--op_libraries" in version["status"]["error_message"]
    for given in (library, library.parent):
        with running(tmp_path, *one_model(base), f"--op_libraries={given}") as server:
            answer = server.ask(f"{HALF}:predict", {"instances": [1.0, 2.5]})
            assert answer.json == {"predictions": [2.0, 5.0]}

    no_library = tmp_path / "doubled.cc"
    broken = refused(*one_model(base), f"--op_libraries={no_library}")
    assert f"--op_libraries: {no_library} can't be loaded: invalid ELF header" in broken
    assert "there is no /nowhere.so" in refused(*one_model(base), "--op_libraries=/nowhere.so")
