import io
import subprocess
import sys
from pathlib import Path

import pytest

from darkroom.pipeline import display
from darkroom.pipeline.config import load
from darkroom.pipeline.running import runner
from tests.conftest import darkroom, environment, python


def test_a_root_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = darkroom("run", "--set", "root=file", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stdout.startswith(f"darkroom: root: {tmp_path}/file/digits can't be written")
    assert len(result.stdout.splitlines()) == 1


@pytest.mark.parametrize("ended_by", [runner.RunFailed("Trainer", "No GPU."), KeyboardInterrupt()])
def test_a_report_that_fails_hides_nothing(tmp_path: Path, ended_by: BaseException) -> None:
    config = load("digits", [f"root={tmp_path}"])
    shown = display.Display(io.StringIO())
    with (
        pytest.raises(type(ended_by)) as caught,
        runner.reported(config, shown, lambda run: True),
    ):
        raise ended_by
    told = f"{caught.value}{shown.console.file.getvalue()}"  # type: ignore[attr-defined]
    why = f"digits has not run yet: {tmp_path}/digits/metadata.sqlite isn't there."
    expected = f"The report of what was done could not be written. {why}"
    if isinstance(ended_by, runner.RunFailed):
        expected = f"Trainer failed. No GPU.\n{expected}"
    assert told.strip() == expected


def test_a_reader_that_leaves_doesn_t_end_a_run(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from darkroom.pipeline.config import load; "
        "from darkroom.pipeline.running import runner; runner.heed_signals(); "
        "_, terminal = runner.log_to_file(load('digits', ['root=.'])); "
        "print('first', file=terminal); sys.stdin.readline(); "
        "os.kill(os.getpid(), signal.SIGHUP); "
        "print('second', file=terminal); print('third', file=terminal); print('ended')"
    )
    words = [sys.executable, "-c", code]
    process = subprocess.Popen(words, cwd=tmp_path, env=environment(), stdin=-1, stdout=-1)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == b"first\n"
    process.stdout.close()
    process.communicate(b"go on\n")
    assert process.returncode == 0
    [log] = (tmp_path / "digits" / "logs").iterdir()
    said = log.read_text()
    assert said.count("nobody reads the output any more (Broken pipe); the run goes on") == 1
    assert said.endswith("ended\n")


def test_nothing_uses_tensorflow_before_the_fork(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def build(hp, config, num_classes): ...")
    code = (
        "from tensorflow.python.eager import context; from darkroom.pipeline.config import load; "
        "from darkroom.pipeline.running import runner; "
        "runner.create(load('digits', ['model.build_fn=own.build']), 0); "
        "print('USED', context.context()._initialized)"
    )
    result = python("-c", code, cwd=tmp_path)
    assert "USED False" in result.stdout, result.stdout
