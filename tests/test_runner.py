import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import display, runner
from pipeline.config import load
from tests.conftest import darkroom


def test_one_run_at_a_time(tmp_path: Path) -> None:
    config = load("digits", [f"root={tmp_path}"])
    assert not runner.is_running(config)
    config.home.mkdir()
    with runner._alone(config):
        code = (
            "import sys; from pipeline import runner; from pipeline.config import load\n"
            "config = load('digits', [f'root={sys.argv[1]}'])\n"
            "print(runner.is_running(config))\n"
            "with runner._alone(config): pass"
        )
        other = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)], capture_output=True, encoding="utf-8"
        )
        assert other.stdout == "True\n"
        assert f"Another run of digits is going on (process {os.getpid()})" in other.stderr
    assert not runner.is_running(config)


def test_a_root_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = darkroom("run", "--set", "root=file", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stdout.startswith(f"darkroom: root: {tmp_path}/file/digits can't be written")
    assert len(result.stdout.splitlines()) == 1


@pytest.mark.parametrize("ended_by", [runner.RunFailed("Trainer", "No GPU."), KeyboardInterrupt()])
def test_a_report_that_fails_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended_by: BaseException
) -> None:
    def run_nodes(*_: object) -> None:
        raise ended_by

    monkeypatch.setattr(runner, "_run_nodes", run_nodes)
    shown = display.Display(io.StringIO())
    with pytest.raises(type(ended_by)) as caught:
        runner._run_reported(load("digits", [f"root={tmp_path}"]), None, shown)
    told = f"{caught.value}{shown.console.file.getvalue()}"  # type: ignore[attr-defined]
    why = f"digits has not run yet: {tmp_path}/digits/metadata.sqlite isn't there."
    expected = f"The report of what was done could not be written. {why}"
    if isinstance(ended_by, runner.RunFailed):
        expected = f"Trainer failed. No GPU.\n{expected}"
    assert told.strip() == expected
