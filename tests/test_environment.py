import json
import platform
import subprocess
from pathlib import Path

import pytest

from darkroom.components.runs import environment


def test_versions_and_machine_are_plain_data() -> None:
    found = json.loads(json.dumps(environment.describe()))
    assert found["versions"]["python"] == platform.python_version()
    assert found["versions"]["tfx"].count(".") == 2
    assert found["cores"] >= 1
    assert found["memory_gib"] > 0


def test_the_commit_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert environment.git() is None
    named = ["-c", "user.name=a", "-c", "user.email=a@b"]
    (tmp_path / "file").write_text("one")
    for words in (["init", "-q", "-b", "own"], ["add", "file"], [*named, "commit", "-qm", "x"]):
        subprocess.run(["git", *words], check=True)
    found = environment.git()
    assert found is not None
    assert len(found["commit"]) == 40
    assert (found["branch"], found["changed"]) == ("own", False)
    (tmp_path / "file").write_text("two")
    changed = environment.git()
    assert changed == {**found, "changed": True}
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment.git() is None
