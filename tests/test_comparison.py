import copy
import io
import json
from typing import Any

import pytest
from rich.console import Console

from darkroom.components.report.facts import Evaluation
from darkroom.pipeline.config import Config
from darkroom.pipeline.history import comparison, reports
from tests.conftest import Project, darkroom


def metric(name: str, value: float | None, of_class: str | None = None) -> dict[str, Any]:
    return {"metric": name, "class": of_class, "slice": None, "value": value}


def facts(**changed: Any) -> dict[str, Any]:
    verdict = {"blessed": True, "reasons": [], "remarks": [], "pushed_version": "17"}
    in_jpegs = {**metric("accuracy", 0.1), "slice": {"image/format": "JPEG"}}
    whole: dict[str, Any] = {
        "pipeline": "p",
        "run": "one",
        "failure": None,
        "verdict": verdict,
        "config": {"training": {"epochs": 3, "seed": 0}, "model": {"units": [8]}},
        "data": {"splits": {"train": {"images": 1200, "classes": {"a": 600, "b": 600}}}},
        "evaluation": {
            "metrics": [
                metric("accuracy", 0.9),
                metric("auc", None),
                metric("recall", 0.8, "a"),
                metric("recall", 0.7, "b|c"),
                in_jpegs,
            ]
        },
        "lineage": [{"node": "Trainer", "state": "complete", "seconds": 14.2}],
        "environment": {
            "versions": {"tfx": "1.16.0", "keras": "3.8.0"},
            "git": {"commit": "a" * 40, "branch": "main", "changed": False},
        },
    }
    made = {**copy.deepcopy(whole), **changed}
    if made["evaluation"] is not None:
        made["evaluation"] = Evaluation(split="eval", **made["evaluation"])
    return made


OTHER = facts(
    run="two",
    verdict={
        "blessed": False, "reasons": ["recall of 'b' is low"], "remarks": [], "pushed_version": None
    },
    config={"training": {"epochs": 5, "seed": 0}, "model": {"units": [8]}, "new": {"key": "[x]"}},
    data={"splits": {"train": {"images": 1250, "classes": {"a": 600, "b": 650}}}},
    evaluation={
        "metrics": [
            metric("accuracy", 0.95), metric("recall", 0.8, "a"), metric("recall", 0.5, "b|c")
        ]
    },
    lineage=[{"node": "Trainer", "state": "cached", "seconds": 0.0}],
    environment={"versions": {"tfx": "1.16.0", "keras": "3.9.0"}, "git": None},
)  # fmt: skip


def test_differences() -> None:
    found = comparison.compare(facts(), OTHER)
    assert [run["blessed"] for run in found["runs"]] == [True, False]
    assert found["metrics"] == [
        {"name": "accuracy", "values": [0.9, 0.95], "difference": pytest.approx(0.05)},
        {"name": "auc", "values": [None, None], "difference": None},
    ]
    assert found["recall"] == [
        {"name": "b|c", "values": [0.7, 0.5], "difference": pytest.approx(-0.2)}
    ]
    assert found["data"] == [
        {"name": "train split", "values": [1200, 1250]},
        {"name": "train split, b", "values": [600, 650]},
    ]
    assert found["settings"] == [
        {"name": "training.epochs", "values": [3, 5]},
        {"name": "new.key", "values": [None, "[x]"]},
    ]
    assert [row["name"] for row in found["versions"]] == [
        "keras", "commit", "branch", "uncommitted changes"
    ]  # fmt: skip
    assert found["seconds"] == [{"name": "Trainer", "values": [14.2, "cached"]}]
    assert json.loads(json.dumps(found)) == found


def test_figures_of_two_splits_are_said_to_be_so() -> None:
    tested = facts()
    tested["evaluation"] = tested["evaluation"].model_copy(update={"split": "test"})
    [row] = comparison.compare(facts(), tested)["settings"]
    assert row == {"name": "evaluation.split", "values": ["eval", "test"]}


def shown(found: dict[str, Any]) -> str:
    console = Console(file=io.StringIO(), width=120)
    comparison.show(console, found)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_for_people_and_for_pull_requests() -> None:
    found = comparison.compare(facts(), OTHER)
    lines = [line.split() for line in shown(found).splitlines()]
    assert ["accuracy", "0.9", "0.95", "+0.05"] in lines
    assert ["training.epochs", "3", "5"] in lines
    assert ["new.key", "–", "[x]"] in lines
    assert ["train", "split", "1,200", "1,250"] in lines
    text = comparison.markdown(found)
    assert "| metric | one | two | difference |\n| --- | --: | --: | --: |\n" in text
    assert "| blessed | yes | no: recall of 'b' is low |" in text
    assert "| b\\|c | 0.7 | 0.5 | -0.2 |" in text


def test_names_of_classes_and_runs_stay_words_in_a_comment() -> None:
    hostile = "<img src=x> `c` *d*"
    recalls = [{"metrics": [metric("recall", value, hostile)]} for value in (0.1, 0.2)]
    one, other = (facts(evaluation=found, run=f"{hostile}|") for found in recalls)
    text = comparison.markdown(comparison.compare(one, other))
    safe = r"&lt;img src=x&gt; \`c\` \*d\*"
    assert f"| recall of | {safe}\\| | {safe}\\| | difference |" in text
    assert f"| {safe} | 0.1 | 0.2 | +0.1 |" in text
    assert "<img" not in text


def test_a_failed_run_of_another_pipeline() -> None:
    nothing = {"blessed": None, "reasons": [], "remarks": [], "pushed_version": None}
    failed = facts(
        pipeline="q", data=None, evaluation=None, verdict=nothing, failure={"node": "Transform"}
    )
    found = comparison.compare(facts(), failed)
    assert found["metrics"][0] == {"name": "accuracy", "values": [0.9, None], "difference": None}
    text = comparison.markdown(found)
    assert "| verdict | p one | q one |" in text
    assert "| blessed | yes | Transform failed |" in text
    assert "| blessed | yes | not evaluated |" in comparison.markdown(
        comparison.compare(facts(), facts(verdict=nothing))
    )


def test_of_many_classes_the_largest_changes_are_shown() -> None:
    def classes(shift: int) -> dict[str, Any]:
        return {"metrics": [metric("recall", n / 1000 * shift, f"c{n}") for n in range(1, 100)]}

    found = comparison.compare(facts(evaluation=classes(0)), facts(evaluation=classes(-1)))
    assert [row["name"] for row in found["recall"]][:2] == ["c99", "c98"]
    assert len(found["recall"]) == 99
    text = comparison.markdown(found)
    assert "| c60 | 0 | -0.06 | -0.06 |\n| and 59 more in --json |  |  |  |\n" in text


def test_equal_runs_differ_in_nothing() -> None:
    found = comparison.compare(facts(), facts())
    for name in ("recall", "data", "settings", "versions"):
        assert found[name] == []
    assert "setting" not in shown(found)


def test_the_command_takes_runs_and_reports(small: Project, small_config: Config) -> None:
    folder = reports.find(small_config)
    options = ("--json", *small.options)
    result = darkroom("compare", "0", str(folder / "report.json"), *options, cwd=small.folder)
    assert result.returncode == 0, result.stdout
    found = json.loads(result.stdout)
    assert found["settings"] == []
    assert found["runs"][0] == found["runs"][1]
    result = darkroom("compare", "0", "nosuch", *options, cwd=small.folder)
    assert result.returncode == 1
    assert "small has no run nosuch" in result.stdout
    result = darkroom("compare", "0", "no/report.json", *options, cwd=small.folder)
    assert result.stdout.startswith("darkroom: no/report.json: can't be read: No such file")
