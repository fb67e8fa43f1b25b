"""The image: as far as it can be known without building it."""

import re

from tests.conftest import REPOSITORY

TEXT = (REPOSITORY / "kubeflow" / "Dockerfile").read_text()
LOCK = "locks/tfx-1.16.txt"


def lines(instruction: str) -> list[list[str]]:
    return [line.split()[1:] for line in TEXT.splitlines() if line.startswith(f"{instruction} ")]


def locked(package: str) -> str:
    [version] = re.findall(rf"^{package}==(\S+)", (REPOSITORY / LOCK).read_text(), re.MULTILINE)
    return str(version)


def test_what_is_copied_is_there() -> None:
    ignored = (REPOSITORY / ".dockerignore").read_text().split()
    for words in lines("COPY"):
        if words[0].startswith("--from="):
            continue
        for source in words[:-1]:
            assert (REPOSITORY / source).exists(), source
            assert source not in ignored
    copied = {source for words in lines("COPY") for source in words[:-1]}
    assert {LOCK, "setup.py", "pipeline", "components", "serving", "kubeflow"} <= copied


def test_its_versions_are_those_of_the_lock() -> None:
    assert f"-r /opt/darkroom/{LOCK}" in TEXT
    [python] = re.findall(r"^FROM python:(\d\.\d+)", TEXT, re.MULTILINE)
    [(sdk_python, beam)] = re.findall(r"apache/beam_python([\d.]+)_sdk:([\d.]+)", TEXT)
    assert python == sdk_python == "3.11"
    assert beam == locked("apache-beam")
    assert f"tensorflow[and-cuda]=={locked('tensorflow')}" in TEXT


def test_stages_are_known_and_the_last_one_is_the_nodes() -> None:
    stages: list[str] = []
    for words in lines("FROM"):
        base, name = words[0], words[2] if len(words) > 1 else ""
        assert base in stages or ":" in base
        stages.append(name)
    assert lines("FROM")[-1] == ["darkroom"]
    for words in lines("COPY"):
        if words[0].startswith("--from="):
            assert words[0].removeprefix("--from=") in stages
