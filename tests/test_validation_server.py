import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from darkroom.components.pushing import validation_server
from tests import model_servers

BATCHING = "max_batch_size { value: 8 }"
SECONDS = 120.0


def test_a_server_runs_while_it_is_needed(served_models: Path) -> None:
    model = str(served_models / "images" / "1")
    with validation_server.running(model, BATCHING, SECONDS) as server:
        assert server.name == "darkroom's model server"
        assert server.memory_mib() > 50
        assert server.ready_seconds > 0
        assert server.process.is_running()
    assert not server.process.is_running()


def test_it_is_stopped_when_the_validation_fails(served_models: Path) -> None:
    model = str(served_models / "images" / "1")
    with (
        pytest.raises(ZeroDivisionError),
        validation_server.running(model, BATCHING, SECONDS) as server,
    ):
        1 / 0  # noqa: B018
    assert not server.process.is_running()


def test_what_cannot_be_loaded_is_told(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"no model")
    with (
        pytest.raises(validation_server.ServerFailed, match="can't be loaded"),
        validation_server.running(str(tmp_path), BATCHING, SECONDS),
    ):
        pass
    with (
        pytest.raises(validation_server.ServerFailed, match="exit code"),
        validation_server.running(str(tmp_path), "no parameters", SECONDS),
    ):
        pass


def test_tensorflow_servings_binary_is_preferred(
    served_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its flags, and a server that knows them.
    binary = tmp_path / validation_server.BINARY
    binary.write_text(f'#!/bin/sh\nexec {sys.executable} -m darkroom.serving.model_server "$@"\n')
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(model_servers.REPOSITORY))
    model = str(served_models / "images" / "1")
    with validation_server.running(model, BATCHING, SECONDS) as server:
        assert server.name == validation_server.BINARY


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's")
def test_a_run_that_is_killed_leaves_no_server_behind(served_models: Path) -> None:
    code = (
        "import sys, time\nfrom darkroom.components.pushing import validation_server\n"
        f"with validation_server.running(sys.argv[1], {BATCHING!r}, {SECONDS}) as server:\n"
        "    print(server.process.pid, flush=True)\n    time.sleep(600)\n"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", code, str(served_models / "images" / "1")],
        stdout=subprocess.PIPE,
        text=True,
        cwd=model_servers.REPOSITORY,
    )
    assert run.stdout is not None
    server = psutil.Process(int(run.stdout.readline()))
    run.send_signal(signal.SIGKILL)
    run.wait()
    run.stdout.close()
    until = time.monotonic() + SECONDS
    while server.is_running() and server.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until
        time.sleep(0.05)
