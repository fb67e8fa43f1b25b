import errno
import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from darkroom.components.base.errors import DarkroomError
from darkroom.pipeline.config import Config, load
from darkroom.pipeline.running import lock

# What another process does with the same folder.
OTHER = """
import sys
from darkroom.pipeline.config import load
from darkroom.pipeline.running import lock

config = load("digits", [f"root={sys.argv[1]}"])
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    made = load("digits", [f"root={tmp_path}"])
    made.home.mkdir()
    return made


def other(config: Config, code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-u", "-c", OTHER + code, str(config.home.parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )


def test_one_run_at_a_time(config: Config) -> None:
    assert not lock.alive(config)
    with lock.alone(config):
        told, _ = other(
            config, "print(lock.alive(config))\nwith lock.alone(config): pass"
        ).communicate()
        assert told.startswith("True\n")
        assert f"Another run of digits is going on (process {os.getpid()})" in told
    assert not lock.alive(config)


def test_nodes_run_beside_each_other_but_not_beside_a_run(config: Config) -> None:
    said: list[str] = []
    with lock.beside(config, "SchemaGen", said.append):
        told, _ = other(
            config,
            "with lock.beside(config, 'LastStatistics', print): print(sorted(lock.alive(config)))\n"
            "with lock.alone(config): pass",
        ).communicate()
        assert told.startswith("['LastStatistics', 'SchemaGen']\n")
        assert "Another run of digits is going on (process " in told
    assert lock.alive(config) == set()
    assert said == []


@pytest.mark.parametrize(
    ("holds", "name"),
    [
        (lock.alone, "digits"),
        (lambda config: lock.beside(config, "Trainer", print), "Trainer"),
    ],
)
def test_a_node_waits_for_a_run_and_for_itself(config: Config, holds: Callable, name: str) -> None:
    said: list[str] = []
    waits = threading.Event()
    order = []

    def say(words: str) -> None:
        said.append(words)
        waits.set()

    def second() -> None:
        with lock.beside(config, "Trainer", say):
            order.append("second")

    thread = threading.Thread(target=second)
    with holds(config):
        thread.start()
        assert waits.wait(60)
        order.append("first")
    thread.join(60)
    assert order == ["first", "second"]
    [words] = said
    assert words.startswith(f"Another run of {name} is going on (process {os.getpid()}): waiting")


def test_a_disk_without_locks_is_told_from_a_run(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with pytest.raises(DarkroomError, match=r"lock can't be locked: No locks available\. Set root"):
        lock.alone(config).__enter__()
    assert not lock.alive(config)


def test_a_killed_node_is_not_alive(config: Config) -> None:
    killed = other(
        config, "with lock.beside(config, 'Trainer', print):\n print('holds', flush=True); input()"
    )
    assert killed.stdout is not None
    assert killed.stdout.readline() == "holds\n"
    assert lock.alive(config) == {"Trainer"}
    with (
        pytest.raises(DarkroomError, match=f"is going on .process {killed.pid}."),
        lock.alone(config),
    ):
        pass
    killed.kill()
    killed.communicate()
    assert lock.alive(config) == set()
    with lock.alone(config):
        pass
