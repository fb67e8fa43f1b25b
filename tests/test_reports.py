import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from darkroom.components.base import results
from darkroom.components.base.errors import DarkroomError
from darkroom.components.runs import lineage
from darkroom.pipeline.config import Config
from darkroom.pipeline.history import reports
from tests.conftest import Project, darkroom
from tests.stores import Store


def test_a_report_is_found_by_its_run(small: Project, small_config: Config) -> None:
    run = small.status()["run"]
    folder = reports.find(small_config)
    assert (folder / results.REPORT_PAGE).exists()
    for named in ("0", run, run[:9]):
        assert reports.find(small_config, named) == folder
    assert reports.load(folder) == reports.load(folder / "report.json")
    assert reports.load_named(str(folder), lambda: small_config)["run"] == run
    assert reports.load_named("0", lambda: small_config)["run"] == run


def test_a_run_without_a_report_does_not_count(small_config: Config, tmp_path: Path) -> None:
    copied = small_config.model_copy(update={"root": str(tmp_path)})
    shutil.copytree(small_config.home, copied.home)
    scan = "3026-01-01T00:00:00.000000"
    Store(copied.store.open(), copied.name).node("Transform", scan, {}, {})
    newest = reports.find(small_config).relative_to(small_config.home)
    assert reports.find(copied) == reports.find(copied, "0") == copied.home / newest
    with pytest.raises(DarkroomError, match=r"small has no run 1\. There are "):
        reports.find(copied, "1")
    with pytest.raises(DarkroomError, match=f"The run {scan} has no report"):
        reports.find(copied, scan)


@pytest.mark.parametrize("named", ["1", "yesterday", "2026-"])
def test_an_unknown_run_is_said_with_those_there_are(
    small: Project, small_config: Config, named: str
) -> None:
    with pytest.raises(DarkroomError, match=f"small has no run {named}. There are ") as caught:
        reports.find(small_config, named)
    assert small.status()["run"] in str(caught.value)


def test_a_beginning_of_several_runs_is_said(small_config: Config) -> None:
    names = ["2026-b", "2026-a", "2025-z"]
    with pytest.raises(DarkroomError, match=r"of several runs\. There are 2026-b, 2026-a; name"):
        reports._number(small_config, names, "2026")
    assert reports._number(small_config, names, "2025") == 2
    assert reports._number(small_config, ["2026-a", "2026-"], "2026-") == 1


def test_what_is_no_report_is_said(tmp_path: Path) -> None:
    with pytest.raises(DarkroomError, match="can't be read: No such file"):
        reports.load(tmp_path)
    for text in ("{", "[]", '{"run": 1}'):
        (tmp_path / "report.json").write_text(text)
        with pytest.raises(DarkroomError, match="not a report"):
            reports.load(tmp_path)


def test_the_command_prints_where_a_report_is_and_its_text(
    small: Project, small_config: Config
) -> None:
    folder = reports.find(small_config)
    result = darkroom("report", *small.options, cwd=small.folder)
    assert result.stdout.split() == [
        str(folder / f"report.{kind}") for kind in ("html", "md", "json")
    ]
    result = darkroom("report", "0", "--markdown", *small.options, cwd=small.folder)
    assert result.stdout == (folder / "report.md").read_text(encoding="utf-8")
    result = darkroom("report", "--json", *small.options, cwd=small.folder)
    assert json.loads(result.stdout)["lineage"] == reports.load(folder)["lineage"]
    result = darkroom("report", "nosuch", *small.options, cwd=small.folder)
    assert result.returncode == 1
    assert result.stdout.startswith("darkroom: small has no run nosuch. There are ")


def test_a_report_that_can_not_be_written_is_told_in_a_sentence(
    small: Project, small_config: Config, tmp_path: Path
) -> None:
    copied = small_config.model_copy(update={"root": str(tmp_path)})
    shutil.copytree(small_config.home, copied.home)
    report = Path(copied.pipeline_root) / "Report"
    report.rename(report.with_name("aside"))
    failure = {"node": "Trainer", "sentence": "No."}
    told = reports.write_unfinished(copied, failure, lambda run: False)
    assert told.endswith("could not be written. It ended before its first node.")
    report.write_text("in the way")
    told = reports.write_unfinished(copied, failure, lambda run: True)
    assert told.startswith("The report of what was done could not be written. ")
    assert told.endswith("can't be used: Not a directory.")
    report.unlink()

    told = reports.write_unfinished(copied, failure, lambda run: True)
    folder = copied.unfinished_report(small.status()["run"])
    assert told == f"The report is {folder / results.REPORT_PAGE}"
    facts = reports.load(folder)
    assert facts["failure"] == failure
    assert facts["training"] is not None


def test_the_rehearsal_is_no_evaluation() -> None:
    def node(name: str, state: str, **made: str) -> lineage.Node:
        listed: dict[str, list[str]] = {key: [value] for key, value in made.items()}
        return lineage.Node(name, state, 0, 0, {}, listed, SimpleNamespace(type=name), "p")

    done = [node("Trainer", "complete", model="m"), node("Rehearsal", "complete", evaluation="r")]
    assert reports.outputs(done) == {"model": "m"}
    evaluated = node("Evaluator", "cached", evaluation="e")
    for order in ([evaluated, *done], [*done, evaluated]):
        assert reports.outputs(order)["evaluation"] == "e"
    assert reports.outputs([node("Evaluator", "failed", evaluation="e")]) == {}


def test_both_blessings_are_told_apart() -> None:
    def node(name: str, blessing: str) -> lineage.Node:
        kind = SimpleNamespace(type=name)
        return lineage.Node(name, "complete", 0, 0, {}, {"blessing": [blessing]}, kind, "p")

    done = [node("Evaluator", "e"), node("ServingValidator", "s")]
    assert reports.outputs(done) == {"blessing": "e", "infra_blessing": "s"}
