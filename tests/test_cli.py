import json
import platform
import shlex
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from tests import model_servers
from tests.conftest import Project, command, darkroom, encoded, environment, python

# For which a command line's own work needs no more than the standard library and click.
LIGHT = (
    "darkroom.pipeline.cli", "darkroom.pipeline.command_line", "darkroom.kubeflow.commands",
    "darkroom.pipeline.answers", "darkroom.serving.flags", "darkroom.serving.codecs.image_header",
    "darkroom.serving.imports", "darkroom.serving.interrupts",
    "darkroom.components.base.errors",
)  # fmt: skip


@pytest.fixture(scope="module")
def imported() -> list[str]:
    """The modules that are imported after the help of every command, and after a typo."""
    code = """
import sys
from darkroom.kubeflow.commands import COMMANDS
from darkroom.pipeline import cli
for command in [*cli.COMMANDS, *COMMANDS]:
    assert cli.main([command.name, "--help"], COMMANDS) == 0
assert cli.main(["--help"], COMMANDS) == 0
assert cli.main(["runn"], COMMANDS) == 2
print("MODULES", *sys.modules)
"""
    result = python("-c", code)
    assert result.returncode == 0, result.stdout
    assert "Usage: darkroom lr-scan [OPTIONS]" in result.stdout
    return str(result.stdout).partition("MODULES ")[2].split()


def test_help_imports_nothing_heavy(imported: list[str]) -> None:
    assert not set(imported) & {
        "tensorflow", "keras", "tfx", "apache_beam", "numpy", "pydantic", "yaml", "rich",
        "ml_metadata", "google.protobuf", "urllib3", "kfp", "multiprocessing",
    }  # fmt: skip
    ours = [name for name in imported if name.startswith("darkroom.") and name.count(".") > 1]
    folders = ("darkroom.serving.codecs", "darkroom.components.base")
    assert [name for name in ours if name not in folders and not name.startswith(LIGHT)] == []


def test_every_command_is_in_the_help_in_order(tmp_path: Path) -> None:
    for module in ("darkroom", "darkroom.pipeline.cli"):
        result = python("-m", module, "--help", cwd=tmp_path)
        assert result.returncode == 0
        listed = [
            line.split()[0] for line in result.stdout.partition("Commands:\n")[2].splitlines()
        ]
        assert listed[:3] == ["run", "init", "worker"]
        assert listed[-4:] == ["compile", "submit", "lock", "completion"]


def test_the_command_is_installed() -> None:
    installed = Path(sys.executable).with_name("darkroom")
    result = subprocess.run([installed, "--help"], capture_output=True, encoding="utf-8")
    assert result.returncode == 0
    for name in ("run", "status", "predict", "config"):
        assert name in result.stdout


def test_versions_of_what_it_runs_with() -> None:
    result = python("-m", "darkroom", "--version")
    versions = [metadata.version(name) for name in ("darkroom-tfx", "tfx", "tensorflow")]
    expected = "darkroom {} (tfx {}, tensorflow {}, keras ".format(*versions)
    assert result.stdout.startswith(expected)
    assert result.stdout.endswith(f", Python {platform.python_version()})\n")


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams(tmp_path: Path, closed: str) -> None:
    words = [*command("config", "--set", "name=closed"), "--set", "training.epochs=0"]
    for arguments, code in ((words[:-2], 0), (words, 2)):
        line = f"{shlex.join(arguments)} {closed}"
        ended = subprocess.run(["sh", "-c", line], cwd=tmp_path, env=environment())
        assert ended.returncode == code
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_that_lacks_characters(tmp_path: Path) -> None:
    folder = "--set=data={path: Ñandú, bundled: null}"
    for encoding, shown in (("ascii", r"path: \xd1and\xfa"), ("utf-8", "path: Ñandú")):
        result = python("-m", "darkroom", "config", folder, cwd=tmp_path, PYTHONIOENCODING=encoding)
        assert shown in result.stdout
        assert result.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Missing command. darkroom --help tells more."),
        (["runn"], "There is no command runn. Did you mean 'run'? darkroom --help tells more."),
        (["--nosuch"], "There is no option --nosuch. darkroom --help tells more."),
        (["status", "--jsn"], "There is no option --jsn. Did you mean '--json'? darkroom status "),
        (["report", "--open", "--json"], "--open and --json exclude each other. darkroom report "),
        (["compare", "0", "1", "--markdown", "--json"], "--markdown and --json exclude each"),
        (["predict", "a.png", "--url", "u", "--grpc", "g"], "--url and --grpc exclude each other."),
        (["compare", "0"], "Argument 'runs' takes 2 values."),
        (["run", "--config"], "Option '--config' requires an argument. darkroom run --help tells"),
        (["submit"], "Missing option '--host'. darkroom submit --help tells more."),
        (["serve", "--port", "x"], "--port: 'x' is not a valid integer. darkroom serve --help tel"),
        (["serve", "--enable_batching"], "There is no option --enable_batching."),
        (["deploy", "vertex"], "WHERE: 'vertex' is not one of 'docker', 'kubernetes', 'kserve', "),
        (["ingest", "a", "b", "--eval-share", "1"],
         "--eval-share: expected a share from 0 to below 1, found 1."),
    ],
)  # fmt: skip
def test_a_wrong_command_line_is_said_in_a_sentence(
    tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    result = darkroom(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    [line] = result.stdout.splitlines()
    assert line.startswith(f"darkroom: {sentence}")
    assert line.endswith(" --help tells more.")
    assert list(tmp_path.iterdir()) == []


def test_the_api_key_may_be_in_the_environment(tmp_path: Path) -> None:
    keys: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            keys.append(self.headers["authorization"])
            self.send_error(403)

    (tmp_path / "a.png").write_bytes(encoded(np.zeros((4, 4, 3), np.uint8)))
    with ThreadingHTTPServer(("localhost", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://localhost:{server.server_port}"
        for words in ((), ("--api-key", "of the command line")):
            result = python(
                "-m", "darkroom", "predict", "a.png", "--url", url, *words, cwd=tmp_path,
                DARKROOM_API_KEY="of the environment",
            )  # fmt: skip
            assert result.returncode == 1, result.stdout
        server.shutdown()
    assert keys == ["Bearer of the environment", "Bearer of the command line"]


def test_commands_before_the_first_run_say_so(tmp_path: Path) -> None:
    result = darkroom("status", cwd=tmp_path)
    assert result.returncode == 1
    assert "digits has not run yet" in result.stdout
    (tmp_path / "a.png").write_bytes(b"")
    result = darkroom("predict", "a.png", cwd=tmp_path)
    assert result.returncode == 1
    assert "No model has been pushed" in result.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png"]


def test_commands_before_the_first_push_say_so(tmp_path: Path) -> None:
    for command_line in (["versions"], ["promote"], ["promote", "7", "--canary"], ["rollback"]):
        result = darkroom(*command_line, cwd=tmp_path)
        assert result.returncode == 1
        assert "No model has been pushed to" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_versions_are_promoted_and_rolled_back(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "digits" / "pushed" / "digits"
    for version in ("5", "7", "9"):
        (folder / version).mkdir(parents=True)

    def say(*arguments: str, code: int = 0) -> str:
        result = darkroom(*arguments, cwd=tmp_path)
        assert result.returncode == code, result.stdout
        return str(result.stdout)

    listed = say("versions").splitlines()
    assert [line.split()[0] for line in listed[1:4]] == ["9", "7", "5"]
    assert listed[-1].startswith("No version has a label.")
    assert say("promote", "5") == "Version 5 is stable.\n"
    assert say("promote", "--canary") == "Version 5 is stable, version 9 is the canary.\n"
    listed = say("versions").splitlines()
    assert [line.split() for line in listed[1:4]] == [["9", "canary"], ["7"], ["5", "stable"]]
    assert listed[-1] == "Version 5 is stable, version 9 is the canary."
    found = json.loads(say("versions", "--json"))
    assert (found["stable"], found["canary"]) == (5, 9)
    assert [version["folder"] for version in found["versions"]][-1] == str(folder / "5")
    assert say("promote") == "Version 9 is stable.\n"
    assert say("rollback") == "Version 5 is stable.\n"
    assert say("promote", "6", code=1) == "darkroom: There is no version 6; there are 9, 7, 5.\n"
    assert "VERSION: 'x' is not a valid integer." in say("promote", "x", code=2)
    (folder / "5").rmdir()
    assert "which" in say("versions", code=1)
    (tmp_path / "a.png").write_bytes(b"")
    said = say("predict", "a.png", code=1)
    assert "models.config says is stable, is not in" in said
    assert "darkroom promote VERSION; there are 9, 7." in said


@pytest.mark.parametrize("arguments", [["versions"], ["promote", "5"], ["rollback"]])
def test_versions_need_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    for version in ("5", "7"):
        (tmp_path / "runs" / "digits" / "pushed" / "digits" / version).mkdir(parents=True)
    code = (
        "import sys\nfrom darkroom.pipeline.cli import main\n"
        f"code = main({arguments!r})\n"
        "heavy = {'tensorflow', 'keras', 'tfx', 'apache_beam', 'ml_metadata'}\n"
        "print('HEAVY', code, sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment(), cwd=tmp_path, capture_output=True,
        encoding="utf-8",
    )  # fmt: skip
    assert result.stdout.endswith("HEAVY 0 []\n"), result.stdout + result.stderr


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


def test_serve_answers_with_the_pushed_model(
    small: Project, digit_images: list[bytes], tmp_path: Path
) -> None:
    for name, content in (("a.png", digit_images[0]), ("bad.png", b"no image")):
        (tmp_path / name).write_bytes(content)
    image, bad = str(tmp_path / "a.png"), str(tmp_path / "bad.png")
    port, rest_port = model_servers.free_port(), model_servers.free_port()
    ports = ("--port", str(port), "--rest-port", str(rest_port))
    log = tmp_path / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command("serve", *small.options, *ports, "--", "--max_image_pixels=1000000"),
            cwd=small.folder,
            env=environment(),
            stdout=file,
            stderr=file,
        )
    try:
        server = model_servers.Server(process, port, rest_port, log)
        server.wait_until("/readyz")
        asked = ("predict", *small.options, image, "--json")
        here = json.loads(darkroom(*asked, cwd=small.folder).stdout)[0]
        for where in (
            ("--url", f"http://localhost:{rest_port}"),
            ("--url", f"http://localhost:{rest_port}", "--labels", "stable"),
            ("--grpc", f"localhost:{port}"),
        ):
            [there] = json.loads(darkroom(*asked, *where, cwd=small.folder).stdout)
            assert there["label"] == here["label"]
            assert there["version"] == here["version"]
            assert there["scores"] == pytest.approx(here["scores"], abs=1e-5)
        result = darkroom(
            "predict", *small.options, bad, image, "--grpc", f"localhost:{port}", cwd=small.folder
        )
        assert result.returncode == 1
        assert "bad.png: The image can't be decoded: not an image." in result.stdout
        assert "a.png: " in result.stdout
        result = darkroom(*asked, *where, "--labels", "canary", cwd=small.folder)
        assert result.returncode == 1
        assert "darkroom: Unrecognized servable version label: canary" in result.stdout
        assert server.ask("/monitoring/prometheus/metrics").status == 200
        assert server.stop() == 0
    finally:
        process.kill()
        process.wait()
    assert f"http://localhost:{rest_port}/" in log.read_text()


def test_nothing_to_serve_is_told_at_once(tmp_path: Path) -> None:
    result = darkroom("serve", "--set", "root=runs", cwd=tmp_path)
    assert result.returncode == 1
    assert "No model has been pushed" in result.stdout
