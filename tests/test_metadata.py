import json
import os
from pathlib import Path
from typing import Any

import pytest

from darkroom.components.base.errors import DarkroomError
from darkroom.components.runs import lineage, metadata
from darkroom.pipeline.config import load
from darkroom.pipeline.history import status
from tests import databases
from tests.conftest import darkroom
from tests.stores import Store


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(metadata.PASSWORD, databases.PASSWORD)
    monkeypatch.setenv("MYSQL_PWD", "")  # that what is put there goes away again


def test_pipelines_share_a_database(mysql: databases.Server, tmp_path: Path) -> None:
    """Even where a scheduler gave runs of both the same name."""
    section = mysql.section("darkroom")
    configs = [
        load("digits", [f"root={tmp_path}", f"name={name}", f"metadata={json.dumps(section)}"])
        for name in ("cats", "dogs")
    ]
    for config in configs:
        with pytest.raises(DarkroomError, match=f"no run of it is in mysql://.*@.*{mysql.port}/"):
            status.latest(config)
        store = Store(status.open_store(config), config.name)
        model = store.artifact("Model", note=f"{config.name} 'quoted' \\ 猫 😀 \"x\"\n")
        store.node("Trainer", "scheduled_1", {}, {"model": model})
    for config in configs:
        store = status.open_store(config)
        [model] = lineage.artifacts(store, config.name, "Model")
        noted = model.custom_properties["note"].string_value
        assert noted == f"{config.name} 'quoted' \\ 猫 😀 \"x\"\n"
        [run] = status.runs(config, store)
        [node] = lineage.nodes(store, config.name, run)
        assert (node.pipeline, node.id, node.made["model"].id) == (config.name, "Trainer", model.id)
    assert [run.name for run in lineage.runs(store, "birds")] == []
    assert lineage.artifacts(store, "birds", "Model") == []


def test_the_password_is_in_no_connection(mysql: databases.Server) -> None:
    store = metadata.Store(**mysql.section("darkroom"))
    assert databases.PASSWORD not in str(store.connection())
    assert os.environ["MYSQL_PWD"] == databases.PASSWORD


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"host": "nowhere.invalid"}, "no MySQL server answers at nowhere.invalid:"),
        ({"port": 1}, "answers at localhost:1: Connection refused. Start it, or set metadata.host"),
        (
            {"user": "eve"},
            "doesn't let eve in, .* that in DARKROOM_METADATA_PASSWORD, which is set",
        ),
        (
            {"database": "other"},
            "Access denied for .* Create the database other, and give darkroom",
        ),
    ],
)
def test_a_server_that_can_not_be_used(
    mysql: databases.Server, changed: dict[str, Any], expected: str
) -> None:
    with pytest.raises(DarkroomError, match=expected):
        metadata.Store(**{**mysql.section("darkroom"), **changed}).open()


def test_a_wrong_password_ends_a_run_before_tensorflow_is_loaded(
    mysql: databases.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(metadata.PASSWORD)
    section = json.dumps(mysql.section("darkroom"))
    result = darkroom("run", "--set", f"metadata={section}", cwd=tmp_path)
    assert result.returncode == 1
    assert "doesn't let darkroom in" in result.stdout
    assert "which is not set" in result.stdout
    assert len(result.stdout.splitlines()) == 1


@pytest.mark.parametrize("content", [b"x" * 3000, b"SQLite format 3\0" + b"x" * 3000])
def test_a_damaged_file_is_said(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "metadata.sqlite"
    path.write_bytes(content)
    expected = f"{path} can't be used: .*. Restore it; or move it away, and the next run makes all"
    with pytest.raises(DarkroomError, match=expected):
        metadata.Store(backend="sqlite", path=str(path)).open()
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("metadata.backend=mysql", "metadata: backend mysql needs host, database, user as well"),
        ("metadata.host=db", "metadata: host is for backend mysql, and backend is sqlite"),
        ("metadata.backend=postgresql", "metadata.backend: ML Metadata's client fails with Postgr"),
        ("metadata.password=x", "metadata.password: unknown key"),
    ],
)
def test_a_section_that_names_no_server(override: str, expected: str) -> None:
    with pytest.raises(DarkroomError, match=expected):
        load("digits", [override])
