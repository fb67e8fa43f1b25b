"""What the built package installs, by itself: each command works, or says what it lacks."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, Project, environment

pytestmark = pytest.mark.slow

C = "--config config.yaml"
SERVING = r"pip install 'darkroom-tfx\[serving\]'"
PIPELINE = r"pip install 'darkroom-tfx\[pipeline\]'"
PINNED = rf"needs TFX, .*{PIPELINE}.* --constraint \"\$\(darkroom lock\)\""
# Of the light core: words, exit code, what is said.
CORE = (
    ("--version", 0, "without TFX"),
    ("--help", 0, "ingest"),
    ("lock", 0, r"site-packages/darkroom/locks/tfx-1\.\d+\.txt"),
    ("completion bash", 0, "complete"),
    (f"config {C}", 0, "name: small"),
    ("ingest photos records", 0, "train"),
    (f"run {C}", 1, PINNED),
    (f"run {C} --smoke", 1, PINNED),
    (f"lr-scan {C}", 1, PINNED),
    (f"tensorboard {C}", 1, PIPELINE),
    (f"status {C}", 1, PIPELINE),
    (f"report {C}", 1, PIPELINE),
    (f"compare {C} 0 0", 1, PIPELINE),
    (f"lineage {C}", 1, PIPELINE),
    (f"schema {C}", 1, PIPELINE),
    (f"versions {C}", 1, SERVING),
    (f"promote {C}", 1, SERVING),
    (f"rollback {C}", 1, SERVING),
    (f"inspect {C}", 1, SERVING),
    (f"predict {C} picture.png", 1, SERVING),
    (f"predict {C} picture.png --url http://localhost:1", 1, "can't be reached"),
    (f"predict {C} picture.png --grpc localhost:1", 1, f"{SERVING}, or ask over REST"),
    (f"serve {C}", 1, SERVING),
    (f"deploy docker {C}", 0, "compose.yaml"),
    (f"deploy kubernetes {C}", 0, "kubernetes.yaml"),
    (f"worker {C}", 1, "There is nothing to help with"),
    (f"compile {C}", 1, "kubeflow.image: missing"),
    (f"submit {C} --host http://localhost:1", 1, "is not reached"),
    (f"airflow {C}", 1, "needs TFX"),
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program ``darkroom`` in an environment of the wheel, which is built of the sdist."""
    folder = tmp_path_factory.mktemp("wheel")
    made_here = shutil.ignore_patterns(".*", "*.egg-info", "__pycache__")
    shutil.copytree(REPOSITORY, folder / "source", symlinks=True, ignore=made_here)

    def uv(*words: str | Path) -> None:
        program = Path(sys.executable).with_name("uv")
        subprocess.run([program, *words, "--quiet"], cwd=folder, check=True)

    uv("build", "--out-dir", "built", "source")
    uv("venv", "--python", sys.executable, "core")
    [wheel] = (folder / "built").glob("*.whl")
    programs = folder / "core" / "bin"
    uv("pip", "install", "--python", programs / "python", wheel)
    return programs / "darkroom"


@pytest.fixture(scope="module")
def project(small: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("core")
    pictures = small.copied(folder)
    shutil.copy(pictures[0], folder / "picture.png")
    for kind in ("cat", "dog"):
        (folder / "photos" / kind).mkdir(parents=True)
        for number, path in enumerate(pictures):
            shutil.copy(path, folder / "photos" / kind / f"{kind}{number}.png")
    return folder


@pytest.mark.parametrize(("words", "code", "said"), CORE, ids=[words for words, *_ in CORE])
def test_the_light_core(installed: Path, project: Path, words: str, code: int, said: str) -> None:
    own = {key: value for key, value in environment().items() if key != "PYTHONPATH"}
    result = subprocess.run(
        [installed, *words.split()], cwd=project, env=own, encoding="utf-8", check=False,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert result.returncode == code, result.stdout
    assert re.search(said, result.stdout), result.stdout
    assert "Traceback" not in result.stdout
    assert os.linesep not in result.stdout.strip() or code == 0, result.stdout
