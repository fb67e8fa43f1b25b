"""What the documents say of files, links and commands is so."""

import re
from pathlib import Path

import keras_tuner
import pytest

from darkroom.components.base.settings import TrainerSettings
from darkroom.components.networks import models
from darkroom.pipeline.config import load
from darkroom.pipeline.running import preflight
from tests.conftest import REPOSITORY, darkroom
from tests.settings import configured

ENDINGS = ("png", "html", "md", "json", "tflite", "sqlite")  # of files
DOCUMENTS = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)", text):
        if "://" not in target:
            assert (path.parent / target).exists(), target
    assert "@@" not in text


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_keys_are_in_the_tree(path: Path) -> None:
    tree = load("digits").model_dump()
    for code in re.findall(r"`([^`\n]+)`", path.read_text(encoding="utf-8")):
        for section, key in re.findall(r"(?:^|\s)(?<!-m )([a-z_]+)\.([a-z_]+)(?=[\s:=.]|$)", code):
            if isinstance(tree.get(section), dict) and key not in ENDINGS:
                assert key in tree[section], f"{path.name}: {code}"


def test_the_commands_of_the_readme_exist(tmp_path: Path) -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"```(.*?)```", text, re.DOTALL))
    names = set(re.findall(r"^darkroom ([\w-]+)", code, re.MULTILINE))
    assert names == {
        "run", "init", "status", "predict", "config", "ingest", "schema", "inspect", "lr-scan",
        "tensorboard", "report", "compare", "lineage", "versions", "promote", "rollback",
        "serve", "deploy", "airflow", "compile", "submit", "worker", "review",
    }  # fmt: skip
    for name in names:
        assert darkroom(name, "--help", cwd=tmp_path).returncode == 0


def test_the_users_code_in_the_documents_can_be_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (REPOSITORY / "docs" / "configuration.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "from_the_documents.py").write_text("\n".join(blocks))
    monkeypatch.syspath_prepend(tmp_path)
    overrides = [
        "preprocessing.image_fn=from_the_documents.local_contrast",
        "model.input_layer=from_the_documents.ChannelGain",
    ]
    preflight.rehearse(load("digits", overrides))
    for override, config in (
        ("model.build_fn=from_the_documents.build_model", "digits"),
        ("model.backbone_fn=from_the_documents.build_backbone", "cifar10"),
    ):
        settings = configured(TrainerSettings, override, config=config)
        model = models.build_model(keras_tuner.HyperParameters(), settings, "abcdefg")
        assert model.output_shape == (None, 7)
