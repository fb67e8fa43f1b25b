"""From one version of a target to the next, killed at every step on the way."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from darkroom.components.base.errors import DarkroomError
from darkroom.components.ingestion.corrections import Correction
from darkroom.pipeline.ingest import index, versions
from darkroom.pipeline.ingest.changes import Change
from darkroom.pipeline.ingest.index import Entry, Records, Settings
from darkroom.serving import files

FIRST = [Entry("a/1", "a", "train", "u", 1, 1), Entry("a/2", "a", "eval", "v", 1, 1)]
SECOND = [FIRST[1]._replace(label="b")]


class Killed(BaseException):
    """What a kill is for this process: nothing after it runs."""


def settings(runs: int, entries: list[Entry]) -> Settings:
    name = versions.name(runs, entries)
    return Settings(eval_share=0.1, test_share=0.1, runs=runs, version=name)


def step(
    target: Path, runs: int, entries: list[Entry], shards: list[str], replaced: list[str]
) -> None:
    """An ingest's last step, with shards that hold their name."""
    versions.finish(target)
    before = index.read(target)
    incoming = versions.begin(target)
    for shard in shards:
        (incoming / shard).write_text(shard)
    after = Records(None, entries, [], {"a/1": Correction("a/1", "keep")})
    changed = [Change("added", None, entry) for entry in entries]
    versions.commit(
        target, settings(runs, entries), before, after, changed, Path("/source"), replaced
    )


def first(target: Path) -> None:
    step(target, 1, FIRST, ["train/1.tfrecord", "train/2.tfrecord", "eval/1.tfrecord"], [])


def second(target: Path) -> None:
    gone = ["train/1.tfrecord", "eval/1.tfrecord"]
    step(target, 2, SECOND, ["eval/3.tfrecord"], gone)


STATES: list[dict[str, Any]] = [
    {"shards": [], "entries": []},
    {"shards": ["eval/1.tfrecord", "train/1.tfrecord", "train/2.tfrecord"], "entries": FIRST},
    {"shards": ["eval/3.tfrecord", "train/2.tfrecord"], "entries": SECOND},
]


def state(folder: Path) -> dict[str, Any]:
    shards = sorted(
        path for split in ("train", "eval", "test") for path in folder.glob(f"{split}/*")
    )
    for path in shards:
        assert path.read_text() == str(path.relative_to(folder))
    entries = index.read_entries(folder / index.INDEX_FILE)
    return {"shards": [str(path.relative_to(folder)) for path in shards], "entries": entries}


def test_versions_share_their_files(tmp_path: Path) -> None:
    first(tmp_path)
    second(tmp_path)
    assert state(tmp_path) == STATES[2]
    one, two = sorted((tmp_path / "versions").iterdir())
    assert (one.name, two.name) == (versions.name(1, FIRST), versions.name(2, SECOND))
    assert (state(one), state(two)) == (STATES[1], STATES[2])
    same = {(folder / "train/2.tfrecord").stat().st_ino for folder in (tmp_path, one, two)}
    assert len(same) == 1
    log = files.read_json(two / versions.CHANGES_FILE)
    assert (log["before"], log["version"]) == (one.name, two.name)
    assert log["counts"] == {"added": 1}
    assert log["changes"][0]["after"] == {
        "path": "a/2", "label": "b", "split": "eval", "content": "v",
    }  # fmt: skip
    # People may edit theirs in place.
    (tmp_path / "corrections.csv").write_text("mine")
    assert (two / "corrections.csv").read_text() == "path,action,label\na/1,keep,\n"


def test_a_name_says_what_the_images_are() -> None:
    names = [versions.name(1, entries) for entries in (FIRST, FIRST[::-1], SECOND)]
    assert names[0] == names[1] != names[2]
    assert versions.name(1, [FIRST[0]._replace(modified=2), FIRST[1]]) == names[0]


CALLS = ("replace", "unlink", "link", "mkdir", "rename", "rmdir", "open")


def killed_after(calls: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Has all that changes the disk work so often and never again; tells how often it did."""
    done = 0

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def may_be_the_last(*arguments: Any, **named: Any) -> Any:
            nonlocal done
            if done >= calls:
                raise Killed
            done += 1
            return call(*arguments, **named)

        return may_be_the_last

    for name in CALLS:
        monkeypatch.setattr(os, name, counted(getattr(os, name)))
    return lambda: done


@pytest.mark.parametrize("begun", [0, 1])
def test_killed_anywhere_the_next_one_has_it_whole(
    begun: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = [first, second]
    calls, ended = 0, False
    found = set()
    while not ended:
        target = tmp_path / f"{begun}-{calls}"
        target.mkdir()
        for before in steps[:begun]:
            before(target)
        with monkeypatch.context() as patched:
            killed_after(calls, patched)
            try:
                steps[begun](target)
                ended = True
            except Killed:
                pass
        versions.finish(target)
        now = STATES.index(state(target))
        assert now in (begun, begun + 1)
        found.add(now)
        kept = [state(folder) for folder in sorted((target / "versions").glob("*"))]
        assert kept == STATES[1 : now + 1]
        assert not (target / ".incoming").exists()
        calls += 1
    assert found == {begun, begun + 1}
    assert calls > 20


def test_a_run_finds_the_target_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first(tmp_path)
    versions.complete(tmp_path)  # nothing to do
    with monkeypatch.context() as patched:
        patched.setattr(versions, "finish", lambda target: None)
        second(tmp_path)
    assert state(tmp_path) == STATES[1]
    with files.locked(tmp_path / ".lock"):
        monkeypatch.setattr(versions, "_PATIENCE", 0.2)
        with pytest.raises(DarkroomError, match=r"An ingest into .* is going on: process"):
            versions.complete(tmp_path)
    versions.complete(tmp_path)
    assert state(tmp_path) == STATES[2]


def test_a_disk_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*paths: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    first(tmp_path)
    second(tmp_path)
    assert [state(folder) for folder in sorted((tmp_path / "versions").iterdir())] == STATES[1:]


def test_what_an_earlier_darkroom_made_gets_a_name(tmp_path: Path) -> None:
    first(tmp_path)
    old = settings(1, FIRST)
    (tmp_path / "versions" / old.version).rename(tmp_path / "gone")
    (tmp_path / "ingest.json").write_text(old.model_dump_json(exclude={"version", "sources"}))
    versions.finish(tmp_path)
    assert index.read_settings(tmp_path) == old
    assert state(tmp_path / "versions" / old.version) == STATES[1]
