"""What real shells complete."""

import os
import pty
import select
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import PATIENCE, REPOSITORY, darkroom, environment

Type = Callable[[str, str], str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where files wait to be completed, and the command, as a path finds it."""
    folder = tmp_path_factory.mktemp("completion")
    (folder / "flowers.yaml").write_text("")
    (folder / "photographs").mkdir()
    (folder / "photographs" / "roses.yaml").write_text("")
    (folder / "bin").mkdir()
    program = folder / "bin" / "darkroom"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m darkroom "$@"\n')
    program.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def keys(folder: Path) -> Iterator[Type]:
    """Types into an interactive bash, and waits for what it is to show."""
    variables = {
        **environment(REPOSITORY), "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "PS1": "> ", "TERM": "dumb", "INPUTRC": "/dev/null",
    }  # fmt: skip
    bash = shutil.which("bash") or "bash"
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(folder)
        os.execve(bash, [bash, "--norc", "--noprofile", "-i"], variables)

    def type_(words: str, awaited: str) -> str:
        os.write(terminal, words.encode())
        shown, end = "", time.monotonic() + PATIENCE
        while awaited not in shown and time.monotonic() < end:
            if select.select([terminal], [], [], 1)[0]:
                shown += os.read(terminal, 65536).decode()
        assert awaited in shown
        os.write(terminal, b"\x15")  # takes the line back
        return shown

    # The echo has quotes between these words.
    type_("eval \"$(darkroom completion bash)\"; echo re''ady\n", "ready")
    yield type_
    os.write(terminal, b"exit\n")
    os.waitpid(process, 0)
    os.close(terminal)


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("darkroom lin", "lineage "),
        ("darkroom compi", "le "),
        ("darkroom status --j", "son "),
        ("darkroom predict --api", "-key "),
        ("darkroom run --config dig", "its "),
        ("darkroom run --config flo", "wers.yaml "),
        ("darkroom run --config photographs/r", "oses.yaml "),
        ("darkroom deploy ks", "erve "),
        ("darkroom ingest photo", "graphs/"),
    ],
)
def test_bash_completes(keys: Type, typed: str, completed: str) -> None:
    keys(f"{typed}\t", completed)


def test_bash_lists_what_there_is(keys: Type) -> None:
    shown = keys("darkroom run --config \t\t", "\n> darkroom run --config ")  # again, after all
    assert "flowers.yaml" in shown
    assert "mnist_hyperband" in shown
    assert "photographs" not in shown
    shown = keys("darkroom comp\t\t", "completion")
    assert "compare" in shown


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_scripts_of_other_shells(tmp_path: Path, shell: str) -> None:
    result = darkroom("completion", shell, cwd=tmp_path)
    assert result.returncode == 0
    assert f"_DARKROOM_COMPLETE={shell}_complete" in result.stdout
