import io
import json
import re
import shlex
from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from darkroom.components.base.status import Node, Status
from darkroom.components.nodes import read_outputs
from darkroom.components.training.model_run import LearningRates, ScannedRate
from darkroom.components.tuning.tuner_results import TunerResults
from darkroom.pipeline import summaries
from darkroom.pipeline.config import load
from darkroom.serving.pushed_files import VersionNote
from darkroom.serving.rollout import Version

RATE, UNITS = "training.learning_rate", "model.units.0"


def summarized(status: Status, searched: Collection[str] = ()) -> str:
    console = Console(file=io.StringIO(), soft_wrap=True)
    summaries.of_run(console, status, "", searched)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_summary_without_a_pushed_model_says_so() -> None:
    text = summarized(Status("p", "home", "run"))
    assert "pushed       nothing" in text
    assert "next" not in text


@pytest.mark.parametrize(
    ("suggestion", "searched", "words"),
    [
        (0.01, (), "training.learning_rate=0.01"),
        (None, (), "training.learning_rate=RATE"),
        (0.01, (UNITS,), "training.learning_rate=0.01"),
        (0.01, (UNITS, RATE),
         "'tuner.space.training.learning_rate={min: 3.3e-03, max: 3.0e-02, sampling: log}'"),
        (None, (RATE,), "'tuner.space.training.learning_rate={min: MIN, max: MAX, sampling: log}'"),
    ],
)  # fmt: skip
def test_what_follows_a_scan_is_what_takes_its_rate(
    suggestion: float | None, searched: tuple[str, ...], words: str
) -> None:
    scan = LearningRates(suggestion=suggestion, words="", points=[])
    status = Status("p", "home", "run", lr_scan={**scan.model_dump(), "picture": ""})
    assert f"next         darkroom run --set {words}\n" in summarized(status, searched)
    if suggestion is not None and RATE in searched:
        overrides = [shlex.split(words)[0], "tuner.enabled=true"]
        found = load("digits", overrides).tuner.space[RATE]
        assert (found.min, found.max, found.sampling) == (0.0033, 0.03, "log")


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({"pushed_version": "7", "pushed_as": "stable"}, "version 7, stable"),
        ({"pushed_version": "7", "pushed_as": "not served; version 9 is stable"},
         "version 7, not served; version 9 is stable"),
        ({"stable": "5", "canary": "7"}, "nothing new; version 5 stays in place, and 7 as canary"),
        ({}, "nothing new; version 7 stays in place"),
        ({"unknown": "The file is damaged."}, "nothing new; The file is damaged."),
    ],
)  # fmt: skip
def test_a_summary_says_what_is_served(known: dict[str, Any], words: str) -> None:
    text = summarized(Status("p", "home", "run", versions=["7", "5"], **known))
    assert f"pushed       {words}\n" in text


def test_versions_are_listed_with_what_was_noted_of_them(tmp_path: Path) -> None:
    console = Console(width=100, file=io.StringIO())
    note = VersionNote(pushed="2026-11-21T15:26:20+00:00", run="[today]", metrics={"accuracy": 0.9})
    found = [Version(9, tmp_path, "canary", note), Version(7, tmp_path, "", None)]
    summaries.of_versions(console, found)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert lines[0].split() == ["version", "label", "accuracy", "pushed", "run"]
    assert lines[1].split()[:3] == ["9", "canary", "0.9000"]
    assert lines[1].rstrip().endswith("[today]")
    assert lines[2].split() == ["7"]


def artifacts(folder: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What a Tuner leaves behind."""
    (folder / TunerResults.FILE).write_text(json.dumps(rows))
    best = {"space": [], "values": {RATE: 0.001}}
    (folder / "best_hyperparameters.txt").write_text(json.dumps(best))
    there = SimpleNamespace(uri=str(folder))
    return {"tuner_results": there, "best_hyperparameters": there}


def row(trial: int, score: float | None, message: str | None = None) -> dict[str, Any]:
    return {
        "trial_id": f"{trial:04}", "score": score, RATE: 0.001, UNITS: 128, "seed": 0, "epochs": 8,
        "best_epoch": 7, "status": "FAILED" if score is None else "COMPLETED", "seconds": 12.34,
        "message": message, "history": [{"loss": [0.1]}],
    }  # fmt: skip


def test_a_summary_shows_the_best_trials_and_why_others_failed(tmp_path: Path) -> None:
    rows = [row(i, 0.9 - i / 100) for i in range(7)] + [row(7, None, "No\nnumber."), row(8, None)]
    (tmp_path / TunerResults.PICTURE).write_bytes(b"")
    status = Status("p", "home", "run")
    words = read_outputs(status, "Tuner", artifacts(tmp_path, rows))
    assert words == "best trial 0.9000 of 9, 2 failed"
    assert status.best_trial == {"values": {RATE: 0.001}, "score": 0.9, "trials": 9}
    assert status.trials == [{k: v for k, v in r.items() if k != "history"} for r in rows]
    text = summarized(status)
    lines = [line.split() for line in text.splitlines()]
    assert ["trial", "learning_rate", "units.0", "score", "time"] in lines
    shown = [line for line in lines if line[4:] == ["s"] or line[5:] == ["s"]]
    assert shown[0] == ["0", "0.001", "128", "0.9000", "12.3", "s"]
    assert [line[0] for line in shown] == ["0", "1", "2", "3", "4"]
    assert "trials       2 of 9 trials failed; the first: No number." in text
    assert f"search       {tmp_path / TunerResults.PICTURE}" in text


def test_results_of_an_older_search_are_shown_too(tmp_path: Path) -> None:
    rows = [{"trial_id": "1", "score": 0.75, RATE: 0.001}, {"trial_id": "0", "score": 0.5, RATE: 1}]
    status = Status("p", "home", "run")
    found = read_outputs(status, "Tuner", artifacts(tmp_path, rows))
    assert found == "best trial 0.7500 of 2"
    assert status.search_picture is None
    text = summarized(status)
    assert re.search(r"^ *1 +0.001 +0.7500 *$", text, re.MULTILINE)
    assert "failed" not in text
    assert "search " not in text


@pytest.mark.parametrize("scores", [[None], [float("nan"), None]])
def test_a_search_without_a_score_is_shown(tmp_path: Path, scores: list) -> None:
    status = Status("p", "home", "run")
    outputs = artifacts(tmp_path, [row(i, score) for i, score in enumerate(scores)])
    assert read_outputs(status, "Tuner", outputs) == f"no trial of {len(scores)} finished"
    assert status.best_trial is None
    assert f"{len(scores)} of {len(scores)} trials failed; the first:" in summarized(status)


def test_a_scan_ends_with_the_rate_to_take() -> None:
    points = [
        ScannedRate(rate=0.001, metrics={"loss": 0.25, "val_accuracy": 0.5}),
        ScannedRate(rate=10.0, metrics=None),
    ]
    rates = LearningRates(points=points, suggestion=0.001, words="Take 0.001.")
    scan = {**rates.model_dump(), "picture": "/scan.png"}
    lines = [line.split() for line in summarized(Status("p", "", "run", lr_scan=scan)).splitlines()]
    assert lines[1:4] == [
        ["learning", "rate", "loss", "val_accuracy"],
        ["0.001", "0.25", "0.5"],
        ["10", "no", "number", "no", "number"],
    ]
    assert lines[4:6] == [["scan", "Take", "0.001."], ["/scan.png"]]
    assert lines[6:] == [["next", "darkroom", "run", "--set", "training.learning_rate=0.001"]]


def test_notes_of_an_ingest_are_shown_or_counted() -> None:
    from darkroom.pipeline.ingest.records import Summary

    console = Console(file=io.StringIO(), soft_wrap=True)
    notes = [f"No images in bird-{number}." for number in range(12)]
    summaries.of_ingest(console, Summary(False, notes=notes), Path("records"))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "note         No images in bird-0." in text
    assert "bird-9" in text
    assert "             and 2 more notes" in text


def test_a_node_that_is_not_done_says_why() -> None:
    printed = io.StringIO()
    console = Console(file=printed, soft_wrap=True)
    for state, result in (("failed", "The disk is full."), ("interrupted", ""), ("complete", "3")):
        summaries.of_node(console, Node("Trainer", state, 2.0, result))
    lines = printed.getvalue().splitlines()
    assert [line.split("2.0 s", 1)[1].strip() for line in lines] == [
        "failed: The disk is full.", "interrupted", "3"
    ]  # fmt: skip
