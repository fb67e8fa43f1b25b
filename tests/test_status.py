import json
import shutil
from pathlib import Path

import pytest

from darkroom.components.base import results
from darkroom.components.base.errors import DarkroomError
from darkroom.components.runs import lineage
from darkroom.pipeline.config import Config, load
from darkroom.pipeline.history import status
from darkroom.serving import rollout
from tests.conftest import Project


def test_the_report_is_named(small: Project, small_config: Config) -> None:
    found = status.latest(small_config)
    assert found.report is not None
    assert Path(found.report).name == results.REPORT_PAGE
    assert Path(found.report).exists()
    assert (found.nodes[-1].id, found.nodes[-1].result) == ("Report", results.REPORT_PAGE)
    first = (small.folder / "first_run.txt").read_text(encoding="utf-8")
    assert f"report       {found.report}" in first


def test_a_run_without_one_names_what_was_written_at_its_end(
    small_config: Config, tmp_path: Path
) -> None:
    copied = small_config.model_copy(update={"root": str(tmp_path)})
    copied.home.mkdir()
    shutil.copy(small_config.store.path, copied.store.path)
    store = status.open_store(copied)
    [run] = status.runs(copied, store)
    [report] = [node for node in lineage.nodes(store, copied.name, run) if node.id == "Report"]
    report.execution.last_known_state = report.execution.RUNNING
    store.put_executions([report.execution])

    for alive in (True, {"Report"}):
        assert status.latest(copied, alive).nodes[-1].state == "running"
    assert status.latest(copied, {"Trainer"}).nodes[-1].state == "interrupted"
    interrupted = status.latest(copied)
    assert interrupted.nodes[-1].state == "interrupted"
    assert interrupted.nodes[-1].result.startswith("its process was killed")
    assert interrupted.report is None
    folder = copied.unfinished_report(run.name)
    folder.mkdir(parents=True)
    (folder / results.REPORT_PAGE).write_text("")
    failure = {"node": "Report", "sentence": "The disk is full."}
    (folder / results.REPORT_FACTS).write_text(json.dumps({"failure": failure}))
    ended = status.latest(copied)
    assert ended.report == str(folder / results.REPORT_PAGE)
    assert ended.nodes[-1].result == "The disk is full."
    assert ended.nodes[-2].result == interrupted.nodes[-2].result


def test_it_says_what_is_served(small_config: Config, tmp_path: Path) -> None:
    copied = small_config.model_copy(update={"root": str(tmp_path)})
    copied.home.mkdir()
    shutil.copy(small_config.store.path, copied.store.path)
    for version in (5, 7):
        (copied.push_path / str(version)).mkdir(parents=True)
        rollout.admit(copied.push_path, version, as_canary=True)
    found = status.latest(copied)
    assert (found.versions, found.stable, found.canary) == (["7", "5"], "5", "7")
    rollout.config_path(copied.push_path).write_text("{")
    found = status.latest(copied)
    assert (found.stable, found.canary) == (None, None)
    assert found.unknown is not None
    assert "models.config is not a model config file" in found.unknown


def test_nothing_has_run_yet(tmp_path: Path) -> None:
    config = load("digits", [f"root={tmp_path}"])
    with pytest.raises(DarkroomError, match=r"digits has not run yet: .* isn't there"):
        status.latest(config)
    config.store.open()
    with pytest.raises(DarkroomError, match="digits has not run yet: no run of it is in"):
        status.latest(config)
