import io
from pathlib import Path

import pytest

from darkroom.pipeline import display
from darkroom.pipeline.config import load
from darkroom.pipeline.running import runner
from tests.conftest import darkroom, python


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
