"""Ctrl-C at a real terminal: one sentence, whenever it comes."""

import contextlib
import fcntl
import os
import re
import select
import signal
import subprocess
import termios
import time
from pathlib import Path

import psutil
import pytest

from tests.conftest import PATIENCE, SMALL_CONFIG, Project, command, environment
from tests.model_servers import free_port

CTRL_C = b"\x03"
STYLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
INTERRUPTED = "darkroom: interrupted."
GOES_ON = f"{INTERRUPTED} The next run goes on from the nodes that are done."


def interrupted(
    *arguments: str, folder: Path, when: str, times: int = 1, path: str = ""
) -> list[str]:
    """Runs a command, and presses Ctrl-C once a pattern is shown; the lines from then on.

    It must end as what Ctrl-C ended, and leave no process, and the terminal as it was.
    """
    terminal, inside = os.openpty()
    settings = termios.tcgetattr(inside)

    def take_terminal() -> None:
        fcntl.ioctl(inside, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # whatever the tests' own is

    variables = environment()
    process = subprocess.Popen(
        command(*arguments),
        cwd=folder,
        env={**variables, "PYTHONPATH": f"{path}:{variables['PYTHONPATH']}", "TERM": "xterm"},
        stdin=inside, stdout=inside, stderr=inside,
        start_new_session=True,
        preexec_fn=take_terminal,
    )  # fmt: skip
    shown, before = b"", None
    started: set[psutil.Process] = set()
    until = time.monotonic() + PATIENCE
    while process.poll() is None or select.select([terminal], [], [], 0)[0]:
        assert time.monotonic() < until, shown
        if select.select([terminal], [], [], 0.1)[0]:
            shown += os.read(terminal, 2**16)
        with contextlib.suppress(psutil.NoSuchProcess):
            started.update(psutil.Process(process.pid).children(recursive=True))
        if before is None and re.search(when.encode(), shown):
            before = len(shown)
        if before is not None and times:
            os.write(terminal, CTRL_C)
            times -= 1
    assert before is not None, shown
    text = STYLE.sub("", shown.decode())
    assert process.returncode == 130, text
    assert "Traceback" not in text
    assert shown.rfind(b"\x1b[?25h") >= shown.rfind(b"\x1b[?25l")  # the cursor is there
    assert termios.tcgetattr(inside) == settings
    assert psutil.wait_procs(started, timeout=60)[1] == []
    os.close(terminal)
    os.close(inside)
    after = STYLE.sub("", shown[before:].decode()).replace("^C", "")
    return [line.strip() for line in re.split(r"[\r\n]+", after) if line.strip()]


def test_in_an_import_also_of_what_is_written_in_rust(tmp_path: Path) -> None:
    """Where Ctrl-C is pressed while Rust calls Python, KeyboardInterrupt becomes a panic."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, time\n"
        "class Slow:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'pydantic_core.core_schema':\n"
        "            print('now', flush=True)\n"
        "            time.sleep(60)\n"
        "sys.meta_path.insert(0, Slow())\n"
    )
    shown = interrupted("status", folder=tmp_path, when="now", path=str(tmp_path))
    assert shown == [INTERRUPTED]


@pytest.mark.slow
def test_at_every_node_of_a_run(tmp_path: Path) -> None:
    settings = SMALL_CONFIG.replace("epochs: 4", "epochs: 500")
    (tmp_path / "config.yaml").write_text(settings.replace("epochs: 1\n", "epochs: 30\n"))
    run = ("run", "--config", "config.yaml")
    assert interrupted(*run, folder=tmp_path, when="loading TFX")[-1] == GOES_ON
    for node, moment in {
        "ImportExampleGen": "",
        "Transform": "",
        "Tuner": r".*epoch \d+/30",
        "Trainer": r".*epoch [2-9]/500",
    }.items():
        shown = interrupted(*run, folder=tmp_path, when=f"(?s)… {node}{moment}")
        text = "\n".join(shown)
        assert re.search(rf"! {node} .* interrupted$", text, re.MULTILINE), shown
        report = re.search("The report is (.*)$", text, re.MULTILINE)
        if node != "ImportExampleGen":  # before which there is nothing to report
            assert report is not None, shown
            assert Path(report.group(1)).exists()
        assert text.count(GOES_ON) == 1
    # Who presses it again and again gets no report, perhaps.
    assert GOES_ON in interrupted(*run, folder=tmp_path, when="… Trainer", times=5)
    less = (*run, "--set", "training.epochs=2")
    assert GOES_ON in interrupted(*less, folder=tmp_path, when="… Evaluator")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("when", "last"), [("Stop with Ctrl-C", INTERRUPTED), ("INFO Ready", "INFO Stopped.")]
)
def test_a_server_that_starts_and_one_that_answers(small: Project, when: str, last: str) -> None:
    ports = ("--port", str(free_port()), "--rest-port", str(free_port()))
    words = ("serve", "--config", "config.yaml", *ports)
    shown = interrupted(*words, folder=small.folder, when=when)
    assert shown[-1].endswith(last)
