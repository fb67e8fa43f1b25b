import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import command, darkroom, environment


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["report", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pipeline.cli import main\n"
        f"try: main({arguments!r})\nexcept SystemExit: pass\n"
        "heavy = {'tensorflow', 'keras', 'tfx', 'apache_beam', 'numpy', 'pydantic'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, encoding="utf-8"
    )
    assert result.stdout.endswith("HEAVY []\n"), result.stdout
    assert "usage: darkroom" in result.stdout


def test_the_command_is_installed() -> None:
    installed = Path(sys.executable).with_name("darkroom")
    result = subprocess.run([installed, "--help"], capture_output=True, encoding="utf-8")
    assert result.returncode == 0
    for name in ("run", "status", "predict", "config"):
        assert name in result.stdout


def test_an_unknown_command_is_said(tmp_path: Path) -> None:
    result = darkroom("runn", cwd=tmp_path)
    assert result.returncode == 2
    assert "invalid choice: 'runn'" in result.stdout


def test_commands_before_the_first_run_say_so(tmp_path: Path) -> None:
    result = darkroom("status", cwd=tmp_path)
    assert result.returncode == 1
    assert "digits has not run yet" in result.stdout
    (tmp_path / "a.png").write_bytes(b"")
    result = darkroom("predict", "a.png", cwd=tmp_path)
    assert result.returncode == 1
    assert "No model has been pushed" in result.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png"]


def test_config_prints_what_a_run_would_use(tmp_path: Path) -> None:
    result = darkroom("config", "--set", "training.epochs=7", cwd=tmp_path)
    assert result.returncode == 0
    assert "epochs: 7" in result.stdout
    (tmp_path / "printed.yaml").write_text(result.stdout)
    again = darkroom("config", "--config", "printed.yaml", cwd=tmp_path)
    assert again.stdout == result.stdout


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("config"), cwd=tmp_path, env=environment(), stdout=-1, stderr=-1
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
