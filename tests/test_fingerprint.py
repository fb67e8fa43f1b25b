import sys
from pathlib import Path

import pytest

from darkroom.components import nodes
from darkroom.pipeline import fingerprint
from tests.conftest import REPOSITORY


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "their_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("from .exported import build\n")
    (folder / "exported.py").write_text("def build(): pass\n")
    (tmp_path / "beside.py").write_text("import their_package.models\n")
    (folder / "models.py").write_text("from their_package.blocks import block\nimport json\n")
    (folder / "blocks.py").write_text("from . import sizes\ndef block(): return sizes.SIZE\n")
    (folder / "sizes.py").write_text("SIZE = 3\n")
    (folder / "other.py").write_text("raise RuntimeError('finding is not importing')\n")
    (folder / "page.html.jinja").write_text("{{ words }}")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [n for n in sys.modules if n.split(".")[0] == "their_package"]:
        monkeypatch.delitem(sys.modules, name)  # of another test's folder
    return folder


@pytest.mark.parametrize(
    "changed",
    ["models.py", "blocks.py", "sizes.py", "__init__.py", "exported.py", "page.html.jinja"],
)
def test_any_imported_source_counts(package: Path, changed: str) -> None:
    before = fingerprint.of_modules("their_package.models")
    assert fingerprint.of_modules("their_package.models") == before
    assert "their_package" not in sys.modules  # found, not imported
    (package / changed).write_text((package / changed).read_text() + "X = 1\n")
    assert fingerprint.of_modules("their_package.models") != before


def test_other_sources_do_not_count(package: Path) -> None:
    before = fingerprint.of_modules("their_package.models")
    (package / "other.py").write_text("Y = 2\n")
    assert fingerprint.of_modules("their_package.models") == before


def test_nodes_have_fingerprints_of_their_own() -> None:
    modules = [f"darkroom.{node.modules[0]}" for node in nodes.NODES if node.modules]
    assert len({fingerprint.of_modules(module) for module in modules}) == len(modules)


def test_the_users_module_counts_beside_ours(package: Path) -> None:
    before = fingerprint.of_modules("darkroom.components.training.trainer", "their_package.models")
    assert before != fingerprint.of_modules("darkroom.components.training.trainer")
    (package / "blocks.py").write_text("def block(): return 4\n")
    assert (
        fingerprint.of_modules("darkroom.components.training.trainer", "their_package.models")
        != before
    )


def test_modules_beside_each_other_count_too(package: Path) -> None:
    before = fingerprint.of_modules("beside")
    (package / "sizes.py").write_text("SIZE = 5\n")
    assert fingerprint.of_modules("beside") != before


def test_files_are_known_by_their_content(tmp_path: Path) -> None:
    file = tmp_path / "a.weights.h5"
    file.write_bytes(b"1")
    alone, folder = fingerprint.of_files(str(file)), fingerprint.of_files(str(tmp_path))
    file.touch()
    assert fingerprint.of_files(str(file)) == alone
    file.write_bytes(b"2")
    assert fingerprint.of_files(str(file)) != alone
    file.write_bytes(b"1")
    file.rename(tmp_path / "b.weights.h5")
    assert fingerprint.of_files(str(tmp_path)) != folder


def test_ours_counts_as_well_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's image has it among the libraries, where it is worked on it is in a folder."""
    before = fingerprint.of_modules("darkroom.components.pushing.pusher")
    folders = {*fingerprint._LIBRARY_FOLDERS, str(REPOSITORY)}
    monkeypatch.setattr(fingerprint, "_LIBRARY_FOLDERS", folders)
    assert fingerprint.of_modules("darkroom.components.pushing.pusher") == before
