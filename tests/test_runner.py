import io
from pathlib import Path

import pytest

from pipeline import display, runner
from pipeline.config import Beam, load
from tests.conftest import darkroom

GIB = 2**30


@pytest.mark.parametrize(
    ("mode", "size", "cores", "expected"),
    [
        ("auto", GIB // 2, 8, "in_memory"),
        ("auto", 5 * GIB, 1, "in_memory"),
        ("auto", 5 * GIB, 8, "multi_processing"),
        ("in_memory", 5 * GIB, 8, "in_memory"),
        ("multi_threading", GIB, 8, "multi_threading"),
    ],
)
def test_beams_mode_follows_size_and_cores(mode: str, size: int, cores: int, expected: str) -> None:
    beam = Beam.model_validate({"direct_running_mode": mode, "direct_num_workers": 3})
    arguments = runner.beam_arguments(beam, size, cores)
    if expected == "in_memory":
        assert arguments == []
    else:
        assert f"--direct_running_mode={expected}" in arguments
        assert "--direct_num_workers=3" in arguments


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
