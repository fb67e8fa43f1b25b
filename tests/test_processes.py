"""Processes forked of one that has imported what they need: as good as new ones."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from darkroom.components.base.processes import Forked, ForkServer
from tests.conftest import PATIENCE, environment

# Of a user's: says where and as what it runs.
MODULE = """
import json, logging, os, signal, sys, tempfile, time
print("imported", os.getpid(), flush=True)
logging.warning("has a handler")

def main(arguments):
    verb, *rest = arguments
    if verb == "tell":
        facts = {
            "rest": rest, "folder": os.getcwd(), "variable": os.environ.get("VARIABLE"),
            "home": os.environ.get("HOME"), "temporary": tempfile.gettempdir(),
            "stdin": sys.stdin.read(), "argv": sys.argv, "session": os.getsid(0) == os.getpid(),
            "parent": os.getppid(), "descriptors": len(os.listdir("/proc/self/fd")),
        }
        print(json.dumps(facts))
        print("and more", file=sys.stderr)
    elif verb == "exit":
        return int(rest[0])
    elif verb == "log":
        logging.basicConfig(level=logging.INFO, format="our %(message)s", stream=sys.stdout)
        logging.info("words")
    elif verb == "raise":
        raise ValueError("no good")
    elif verb == "kill":
        os.kill(os.getpid(), int(rest[0]))
    elif verb == "sleep":
        print("sleeps", os.getpid(), flush=True)
        time.sleep(600)
    return 0
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "told.py").write_text(MODULE)
    return tmp_path


def variables(folder: Path) -> dict[str, str]:
    found = environment()
    return {**found, "PYTHONPATH": os.pathsep.join([found["PYTHONPATH"], str(folder)])}


@pytest.fixture
def server(folder: Path) -> Iterator[ForkServer]:
    with (folder / "server.txt").open("wb") as log:
        server = ForkServer.importing(["tempfile", "told"], variables(folder), log.fileno())
    yield server
    server.close()


def start(server: ForkServer, folder: Path, *arguments: str, **changes: str) -> Forked:
    with (folder / "log.txt").open("wb") as log:
        given = {**variables(folder), **changes}
        return server.start(
            "told", arguments, environment=given, folder=str(folder), stdout=log.fileno()
        )


def test_a_forked_process_is_as_its_user_says(server: ForkServer, folder: Path) -> None:
    pids = set()
    for number in ("1", "2"):
        where = folder / number
        where.mkdir()
        with (folder / "log.txt").open("wb") as log:
            mine = {"VARIABLE": number, "TMPDIR": str(where), "PATH": os.environ["PATH"]}
            process = server.start(
                "told", ["tell", number], environment=mine, folder=str(where), stdout=log.fileno()
            )
        assert process.wait() == process.returncode == process.wait() == 0
        more, line = sorted((folder / "log.txt").read_text().splitlines())
        assert more == "and more"
        facts = json.loads(line)
        assert facts["rest"] == [number]
        assert facts["argv"] == ["told", "tell", number]
        assert facts["folder"] == facts["temporary"] == str(where)
        assert (facts["variable"], facts["home"], facts["stdin"]) == (number, None, "")
        assert facts["session"]
        assert facts["descriptors"] == 4  # the three of anybody, and that of the listing itself
        pids |= {facts["parent"]}
    # Imported once, in the server.
    assert (folder / "server.txt").read_text().startswith(f"imported {pids.pop()}\n")
    assert not pids


def test_its_streams_may_be_pipes(server: ForkServer, folder: Path) -> None:
    (read_in, write_in), (read_out, write_out), (read_err, write_err) = (
        os.pipe() for _ in range(3)
    )
    process = server.start(
        "told", ["tell"], environment=variables(folder), folder=str(folder),
        stdin=read_in, stdout=write_out, stderr=write_err,
    )  # fmt: skip
    for descriptor in (read_in, write_out, write_err):
        os.close(descriptor)
    with open(write_in, "w") as stdin, open(read_out) as stdout, open(read_err) as stderr:
        stdin.write("words")
        stdin.close()
        assert json.loads(stdout.read())["stdin"] == "words"
        assert stderr.read() == "and more\n"
    assert process.wait() == 0


def test_its_log_is_its_own_to_set_up(server: ForkServer, folder: Path) -> None:
    assert start(server, folder, "log").wait() == 0
    assert (folder / "log.txt").read_text() == "our words\n"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["exit", "7"], 7),
        (["raise"], 1),
        (["kill", str(int(signal.SIGKILL))], -signal.SIGKILL),
        (["kill", str(int(signal.SIGTERM))], -signal.SIGTERM),
    ],
)
def test_how_it_ended_is_known(
    server: ForkServer, folder: Path, arguments: list[str], code: int
) -> None:
    assert start(server, folder, *arguments).wait() == code
    assert ("ValueError: no good" in (folder / "log.txt").read_text()) == (code == 1)
    assert start(server, folder, "exit", "0").wait() == 0  # the server goes on


def wait_for(text: str, path: Path) -> int:
    """The number behind some text in a file."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        _, found, rest = path.read_text().partition(text) if path.exists() else ("", "", "")
        if found and "\n" in rest:
            return int(rest.split()[0])
        time.sleep(0.05)
    raise AssertionError(f"{path} never said {text}")


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def wait_until_ended(*pids: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while any(map(is_running, pids)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_several_at_once_end_in_any_order(server: ForkServer, folder: Path) -> None:
    slow = start(server, folder, "sleep")
    pid = wait_for("sleeps ", folder / "log.txt")
    assert start(server, folder, "exit", "3").wait() == 3
    assert (slow.pid, slow.returncode) == (pid, None)
    os.killpg(slow.pid, signal.SIGKILL)
    assert slow.wait() == -signal.SIGKILL


def test_all_ends_with_the_server(folder: Path) -> None:
    with (folder / "server.txt").open("wb") as log:
        server = ForkServer.importing(["told"], variables(folder), log.fileno())
    process = start(server, folder, "sleep")
    pid = wait_for("sleeps ", folder / "log.txt")
    server.close()
    assert process.wait() == -signal.SIGKILL
    wait_until_ended(pid, wait_for("imported ", folder / "server.txt"))


def test_all_ends_with_a_user_that_is_killed(folder: Path) -> None:
    code = (
        "import os, sys; from darkroom.components.base.processes import ForkServer; "
        "output = os.open('log.txt', os.O_WRONLY | os.O_CREAT); "
        "server = ForkServer.importing(['told'], dict(os.environ), output); "
        "server.start('told', ['sleep'], environment=dict(os.environ), folder=os.getcwd(), "
        "stdout=output).wait()"
    )
    user = subprocess.Popen([sys.executable, "-c", code], cwd=folder, env=variables(folder))
    pid = wait_for("sleeps ", folder / "log.txt")
    server = wait_for("imported ", folder / "log.txt")
    user.kill()
    user.wait()
    wait_until_ended(pid, server)


# Of a process that is its own server's user, with something open and something left to do.
HERE = """
import os, signal, sys
from darkroom.components.base.processes import ForkServer

state = "loaded"
signal.signal(signal.SIGTERM, signal.default_int_handler)
reads, writes = os.pipe()
try:
    server = ForkServer.here()
    os.close(writes)
    print("pipe has ended", os.read(reads, 1) == b"", flush=True)
    sys.path.append(os.getcwd())
    for arguments in (["tell", "words"], ["exit", "3"], ["raise"], ["sleep"]):
        process = server.start(
            "told", arguments, environment={**os.environ, "VARIABLE": "own"}, folder=os.getcwd(),
            stdout=1, stderr=2,
        )
        if arguments == ["sleep"]:
            process.kill()
        print("ended", process.wait(), flush=True)
    last = server.start(
        "told", ["sleep"], environment=dict(os.environ), folder=os.getcwd(), stdout=1
    )
    last.wait()
finally:
    print("unwound", os.getpid(), flush=True)
"""


def test_a_server_of_this_process_has_its_imports_and_nothing_else(folder: Path) -> None:
    with (folder / "log.txt").open("wb") as log:
        user = subprocess.Popen(
            [sys.executable, "-c", HERE], cwd=folder, env=variables(folder), stdout=log, stderr=log
        )
    deadline = time.monotonic() + PATIENCE
    while (text := (folder / "log.txt").read_text()).count("sleeps ") < 1 or "ended -9" not in text:
        assert time.monotonic() < deadline, text
        time.sleep(0.02)
    pid = int(text.rpartition("sleeps ")[2].split()[0])
    server = psutil.Process(pid).ppid()
    assert psutil.Process(server).ppid() == user.pid
    user.kill()
    user.wait()
    wait_until_ended(pid, server)
    text = (folder / "log.txt").read_text()
    assert "pipe has ended True" in text
    facts = json.loads(next(line for line in text.splitlines() if line.startswith("{")))
    assert (facts["rest"], facts["variable"], facts["session"]) == (["words"], "own", True)
    assert facts["parent"] == server
    assert "ended 0\n" in text
    assert "ended 3\n" in text
    assert "ValueError: no good" in text
    assert "ended 1\n" in text
    assert "unwound" not in text  # but by the user itself, which was killed


def test_imports_that_fail_are_no_server(folder: Path) -> None:
    with (folder / "server.txt").open("wb") as log:
        server = ForkServer.importing(["no_such_module"], variables(folder), log.fileno())
    for _ in range(2):
        with pytest.raises(OSError, match=r"The fork server has ended|Broken pipe|reset by peer"):
            start(server, folder, "exit", "0")
    server.close()
    assert "No module named 'no_such_module'" in (folder / "server.txt").read_text()


def test_elsewhere_than_on_linux_there_is_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    with pytest.raises(OSError, match="needs Linux"):
        ForkServer.importing([], {}, 2)


# What a node does, in a process that has nothing imported but by its parent.
WORK = """
import os, sys, tempfile

def main(arguments):
    import apache_beam, grpc, keras, numpy, scipy.linalg
    from concurrent import futures

    print("threads", len(os.listdir("/proc/self/task")), flush=True)
    pixels = numpy.random.rand(256, 64)
    scipy.linalg.svd(pixels @ pixels.T)
    model = keras.Sequential([keras.layers.Dense(8, activation="relu"), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    model.fit(pixels, pixels.mean(axis=1), epochs=2, verbose=0)
    with apache_beam.Pipeline() as pipeline:
        pipeline | apache_beam.Create(range(99)) | apache_beam.Map(str)
    server = grpc.server(futures.ThreadPoolExecutor(1))
    port = server.add_insecure_port("localhost:0")
    server.start()
    with grpc.insecure_channel(f"localhost:{port}") as channel:
        grpc.channel_ready_future(channel).result(60)
    server.stop(None)
    print("random", numpy.random.rand())
    return 0
"""


def test_tensorflow_beam_and_grpc_work_in_them(tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(WORK)
    given: dict[str, Any] = variables(tmp_path)
    with (tmp_path / "server.txt").open("wb") as log:
        modules = ["keras", "darkroom.pipeline.pipeline", "grpc", "scipy.linalg"]
        server = ForkServer.importing(modules, given, log.fileno())
    logs = [tmp_path / f"{number}.txt" for number in range(4)]
    try:
        for pair in (logs[:2], logs[2:]):
            running = []
            for path in pair:
                with path.open("wb") as log:
                    process = server.start(
                        "work", [], environment=given, folder=str(tmp_path), stdout=log.fileno()
                    )
                    running.append(process)
            assert [process.wait() for process in running] == [0, 0], pair[0].read_text()
    finally:
        server.close()
    # But for those of libraries that know of forks nothing runs when they begin.
    assert all(wait_for("threads ", path) <= 2 for path in logs)
    assert len({path.read_text().partition("random ")[2] for path in logs}) == 4
