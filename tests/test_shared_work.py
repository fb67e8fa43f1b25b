"""Announced work, with processes that do next to nothing."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from darkroom.components.base import processes
from darkroom.components.training.distribution import shared_work
from darkroom.serving import files
from tests.conftest import PATIENCE, environment

# What a machine's process does: it writes down its number, and ends as it is told.
MODULE = """
import os, pathlib, sys, time
def main(path, number):
    folder = pathlib.Path(path).parent
    with open(folder / "begun", "a") as file:
        print(number, os.getpid(), file=file)
    while not (end := folder / f"end-{number}").exists():
        time.sleep(0.01)
    code = int(end.read_text() or 0)
    end.unlink()
    sys.exit(code)
"""
HELPER = (
    "import sys; from darkroom.components.training.distribution import shared_work; "
    "shared_work.take_part({!r}, 'part', {})"
)


class Helper:
    """A machine that helps."""

    def __init__(self, folder: Path, rejoin: bool = False):
        (folder / "part.py").write_text(MODULE)
        self.folder, self.path = folder, str(folder / "work.json")
        self.process = subprocess.Popen(
            [sys.executable, "-c", HELPER.format(self.path, rejoin)],
            cwd=folder,
            env=environment(),
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    def begun(self) -> list[int]:
        begun = self.folder / "begun"
        lines = begun.read_text().splitlines() if begun.exists() else []
        return [int(line.split()[0]) for line in lines]

    def wait(self, *numbers: int) -> int:
        """Until these were begun; the process of the last of them."""
        end = time.monotonic() + PATIENCE
        while self.begun() != list(numbers):
            assert time.monotonic() < end, self.begun()
            time.sleep(0.02)
        return int((self.folder / "begun").read_text().split()[-1])

    def end(self, number: int, code: int = 0) -> None:
        part = self.folder / "part"
        part.write_text(str(code))
        os.replace(part, self.folder / f"end-{number}")

    def ended(self) -> tuple[int, str]:
        _, said = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, said


@pytest.fixture
def helper(tmp_path: Path) -> Iterator[Helper]:
    made = Helper(tmp_path)
    yield made
    made.process.kill()


def test_it_waits_takes_part_and_ends_with_the_chief(helper: Helper) -> None:
    assert shared_work.announce(helper.path, fact=1) == 1
    helper.wait(1)
    helper.end(1)
    shared_work.conclude(helper.path)
    assert helper.ended() == (0, "")
    assert files.read_json(helper.path) == {"fact": 1, "number": 1, "state": "done"}


def test_each_number_has_a_process_of_its_own(helper: Helper) -> None:
    shared_work.announce(helper.path)
    first = helper.wait(1)
    shared_work.announce(helper.path)  # by a chief that was killed, while this one hangs
    second = helper.wait(1, 2)
    assert not psutil.pid_exists(first)
    helper.end(2, shared_work.LOST)  # with the next one, not by itself
    while psutil.pid_exists(second):
        time.sleep(0.01)
    shared_work.announce(helper.path)
    third = helper.wait(1, 2, 3)
    os.kill(third, signal.SIGKILL)
    shared_work.announce(helper.path)
    helper.wait(1, 2, 3, 4)
    shared_work.conclude(helper.path, "no memory")
    code, said = helper.ended()
    assert code == 1
    assert "It failed on the chief: no memory" in said


def test_what_was_over_before_is_not_meant(tmp_path: Path) -> None:
    path = str(tmp_path / "work.json")
    shared_work.announce(path)
    shared_work.conclude(path)
    late = Helper(tmp_path)
    assert shared_work.announce(path) == 2
    late.wait(2)
    late.end(2)
    shared_work.conclude(path)
    assert late.ended() == (0, "")


def test_one_that_can_t_take_part_says_so(helper: Helper) -> None:
    shared_work.announce(helper.path)
    helper.wait(1)
    helper.end(1, 1)
    code, said = helper.ended()
    assert code == 1
    assert "This machine can't take part" in said


def test_where_the_others_go_on_it_comes_back_but_not_for_ever(tmp_path: Path) -> None:
    helper = Helper(tmp_path, rejoin=True)
    shared_work.announce(helper.path)
    for times in range(1, shared_work.TRIES + 1):
        helper.wait(*[1] * times)
        helper.end(1, shared_work.LOST)
    _, said = helper.ended()
    assert "Lost: This machine was lost 5 times" in said
    assert shared_work.Lost.exit_code == shared_work.LOST  # the command's: it may be started anew


def test_there_may_be_nothing_to_conclude(tmp_path: Path) -> None:
    path = tmp_path / "work.json"
    shared_work.conclude(str(path))
    assert not path.exists()


def test_nothing_is_left_of_a_killed_one(helper: Helper) -> None:
    shared_work.announce(helper.path)
    part = psutil.Process(helper.wait(1))
    helper.process.kill()
    part.wait(PATIENCE)


def test_it_is_light() -> None:
    code = (
        "import sys\n"
        "from darkroom.components.training import multi_worker\n"
        "from darkroom.components.training.distribution import cluster, shared_work\n"
        "print({'tensorflow', 'keras', 'numpy', 'pydantic'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code]
    assert subprocess.check_output(command, env=environment(), encoding="utf-8") == "set()\n"


@pytest.mark.parametrize("server", ["none", "lives", "killed"])
def test_a_process_is_forked_where_it_can_be(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "part.py").write_text(MODULE)
    (tmp_path / "end-7").write_text("5")
    monkeypatch.syspath_prepend(tmp_path)
    fork_server = None
    with (tmp_path / "log.txt").open("wb") as log:
        if server != "none":
            fork_server = processes.ForkServer.importing([], environment(), log.fileno())
            monkeypatch.setattr(processes, "server", fork_server)
        if fork_server is not None and server == "killed":
            fork_server.close()
        process = shared_work.start(
            "part", str(tmp_path / "work.json"), 7,
            environment=environment(), stdin=log.fileno(), stdout=log.fileno(),
        )  # fmt: skip
    assert process.wait() == 5
    assert isinstance(process, processes.Forked) == (server == "lives")
    assert (tmp_path / "begun").read_text() == f"7 {process.pid}\n"
    if fork_server is not None and server == "lives":
        fork_server.close()
