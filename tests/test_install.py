import importlib.util
import re
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement

from tests.conftest import REPOSITORY

LOCKS = sorted((REPOSITORY / "locks").glob("*.txt"))


@pytest.fixture
def install() -> ModuleType:
    spec = importlib.util.spec_from_file_location("install", REPOSITORY / "locks" / "install.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def machine(
    monkeypatch: pytest.MonkeyPatch,
    install: ModuleType,
    glibc: str,
    pythons: list[tuple[int, int]],
    system: str = "Linux",
) -> None:
    monkeypatch.setattr(install.platform, "system", lambda: system)
    monkeypatch.setattr(install.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(install.platform, "libc_ver", lambda: ("glibc", glibc))
    found = [(version, f"python{version[0]}.{version[1]}") for version in pythons]
    monkeypatch.setattr(install, "interpreters", lambda: found)


@pytest.mark.parametrize(
    ("glibc", "pythons", "expected"),
    [
        ("2.36", [(3, 11), (3, 12)], ("python3.11", "tfx-1.16.txt")),
        ("2.31", [(3, 9), (3, 10)], ("python3.10", "tfx-1.16.txt")),
        ("2.41", [(3, 12), (3, 13)], ("python3.13", "tfx-1.21.txt")),
        ("2.39", [(3, 12)], ("python3.12", "tfx-1.21.txt")),
        ("2.41", [(3, 11), (3, 13)], ("python3.11", "tfx-1.16.txt")),
    ],
)
def test_the_lock_fits_the_machine(
    monkeypatch: pytest.MonkeyPatch,
    install: ModuleType,
    glibc: str,
    pythons: list[tuple[int, int]],
    expected: tuple[str, str],
) -> None:
    machine(monkeypatch, install, glibc, pythons)
    assert install.choose() == expected
    assert (REPOSITORY / "locks" / expected[1]).exists()


def test_airflow_has_a_lock_of_its_own(
    monkeypatch: pytest.MonkeyPatch, install: ModuleType
) -> None:
    machine(monkeypatch, install, "2.36", [(3, 10), (3, 11), (3, 12)])
    assert install.choose(install.AIRFLOW_LOCKS) == ("python3.11", "airflow-2.11.txt")
    machine(monkeypatch, install, "2.41", [(3, 13)])
    with pytest.raises(SystemExit, match=r"needs Python 3\.11; found Python 3\.13\. Debian 12"):
        install.choose(install.AIRFLOW_LOCKS)


@pytest.mark.parametrize(
    ("glibc", "pythons", "system", "words"),
    [
        (
            "2.36",
            [(3, 12), (3, 13)],
            "Linux",
            ["here it is 2.36", "found Python 3.12, Python 3.13"],
        ),
        (
            "2.41",
            [],
            "Linux",
            ["no Python that can be used", "apt-get install python3-venv python3-dev g++"],
        ),
        ("", [(3, 11)], "Darwin", ["needs Linux on x86_64", "this is Darwin"]),
    ],
)
def test_what_is_missing_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
    install: ModuleType,
    glibc: str,
    pythons: list[tuple[int, int]],
    system: str,
    words: list[str],
) -> None:
    machine(monkeypatch, install, glibc, pythons, system)
    with pytest.raises(SystemExit) as caught:
        install.choose()
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("probed", "compiler", "lacks"),
    [
        (["3.11", "True", "{headers}"], True, ""),
        (["3.11", "False", "/nowhere"], False, "python3.11-venv python3.11-dev g++."),
        (["{own}", "False", "/nowhere"], True, "python3-venv python3-dev."),
        (["3.11", "True", "{headers}"], False, "install g++."),
    ],
)
def test_all_that_the_system_lacks_is_said_at_once(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    install: ModuleType,
    probed: list[str],
    compiler: bool,
    lacks: str,
) -> None:
    (tmp_path / "Python.h").write_text("")
    words = [word.format(headers=tmp_path, own="3.99") for word in probed]
    own = ["3.99", "True", "/usr/include/python3.99"]
    monkeypatch.setattr(install, "probe", lambda p: own if p == "/usr/bin/python3" else words)
    monkeypatch.setattr(
        install.os.path, "exists", lambda p: str(p) == "/usr/bin/python3" or Path(p).is_file()
    )
    monkeypatch.setattr(install.shutil, "which", lambda name: name if compiler else None)
    if not lacks:
        install.require("python")
        return
    with pytest.raises(SystemExit) as caught:
        install.require("python")
    said = str(caught.value)
    assert said.startswith("Setting darkroom up needs what this system lacks; as root, on Debian")
    assert said.endswith(lacks)


def test_interpreters_are_real(install: ModuleType) -> None:
    found = list(install.interpreters())
    assert found
    assert all(version >= (3, 4) for version, _ in found)


def requirements(path: object) -> list[Requirement]:
    lines = path.read_text().splitlines()  # type: ignore[attr-defined]
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_every_direct_dependency_is_locked(lock: object) -> None:
    locked = {requirement.name for requirement in requirements(lock)}
    needed = metadata.requires("darkroom-tfx")
    assert needed
    airflow = lock.name.startswith("airflow")  # type: ignore[attr-defined]
    extras = ("pipeline", "serving", "mlflow", "opentelemetry", "airflow" if airflow else "dev")
    for line in needed:
        requirement = Requirement(line)
        wanted = requirement.marker is None or any(
            requirement.marker.evaluate({"extra": extra}) for extra in extras
        )
        if wanted:
            assert canonical(requirement.name) in {canonical(name) for name in locked}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_a_lock_is_names_and_exact_versions(lock: object) -> None:
    for requirement in requirements(lock):
        assert re.fullmatch(r"==[\w.]+", str(requirement.specifier)), requirement
        assert requirement.url is None


def test_this_environment_is_a_locked_one() -> None:
    tfx = metadata.version("tfx")
    lock = REPOSITORY / "locks" / f"tfx-{'.'.join(tfx.split('.')[:2])}.txt"
    for requirement in requirements(lock):
        if requirement.marker is None or requirement.marker.evaluate():
            [specifier] = requirement.specifier
            assert metadata.version(requirement.name) == specifier.version


def test_airflows_lock_departs_where_airflow_makes_it() -> None:
    """A node computes the same in both environments."""
    with_tfx, with_airflow = (
        {canonical(r.name): r for r in requirements(REPOSITORY / "locks" / name)
         if r.marker is None or r.marker.evaluate({"python_version": "3.11"})}
        for name in ("tfx-1.16.txt", "airflow-2.11.txt")
    )  # fmt: skip
    shared = with_tfx.keys() & with_airflow.keys()
    different = {n for n in shared if with_tfx[n].specifier != with_airflow[n].specifier}
    assert different == {"werkzeug"}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_a_folder_with_other_things_in_it_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, install: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "thesis.tex").write_text("")
    monkeypatch.setattr(install.sys, "argv", ["install.py", str(tmp_path)])
    with pytest.raises(SystemExit, match="not empty and no Python environment"):
        install.main()
    assert (tmp_path / "thesis.tex").exists()
