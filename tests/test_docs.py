"""What the documents say of files, links and commands is so."""

import re
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, darkroom

DOCUMENTS = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md")]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)", text):
        if "://" not in target:
            assert (path.parent / target).exists(), target
    assert "@@" not in text


def test_the_commands_of_the_readme_exist(tmp_path: Path) -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"```(.*?)```", text, re.DOTALL))
    names = set(re.findall(r"^darkroom (\w+)", code, re.MULTILINE))
    assert names == {"run", "status", "predict", "config", "ingest", "schema", "inspect"}
    for name in names:
        assert darkroom(name, "--help", cwd=tmp_path).returncode == 0


def test_the_readmes_configuration_is_valid(tmp_path: Path) -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    [example] = re.findall(r"<<END\n(.*?)END\n", text, re.DOTALL)
    (tmp_path / "flowers.yaml").write_text(example)
    result = darkroom("config", "--config", "flowers.yaml", cwd=tmp_path)
    assert result.returncode == 0, result.stdout
