"""What an ingest plans, from files and rows that need not exist."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.components.ingestion.corrections import Correction
from darkroom.pipeline.ingest import changes
from darkroom.pipeline.ingest.changes import Decisions, Plan
from darkroom.pipeline.ingest.index import Entry, Records
from darkroom.pipeline.ingest.listing import SPLITS, Source

NAMES = st.sampled_from(["a/1", "a/2", "b/1", "b/2", "b/sub/3"])
FOLDER = st.dictionaries(NAMES, st.sampled_from("uvwxyz"), min_size=1)  # content by name


def entry(path: str, content: str, split: str = "train", label: str = "") -> Entry:
    return Entry(path, label or path[0], split, content, 1, 1)


def records(*entries: Entry, left_out: tuple[Entry, ...] = (), **actions: str) -> Records:
    return Records(None, list(entries), list(left_out), decided(actions))


def decided(actions: Mapping[str, str]) -> dict[str, Correction]:
    """Corrections such as ``{"a/1": "relabel b"}``."""
    return {path: Correction(path, *words.split(" ")) for path, words in actions.items()}  # type: ignore[arg-type]


def plan(
    folder: Mapping[str, str],
    before: Records,
    *,
    sync: bool = True,
    is_alone: bool = True,
    hidden: frozenset[str] = frozenset(),
) -> Plan:
    """Of files by name, with their class in its first letter and their content."""
    looked = [
        (Source(f"/{name}", name, name[0], None), entry(name, content))
        for name, content in folder.items()
    ]
    there = [(e.path, e.content) for e in [*before.left_out, *before.entries]]
    decisions = Decisions(before.corrections, [*folder.items(), *there], False)
    return Plan(looked, before, decisions, set(hidden), sync=sync, is_alone=is_alone)


def told(made: Plan) -> set[tuple[str, str, str]]:
    added = made.join(made.new)
    return {(change.kind, change.name, change.words) for change in made.changes(added)}


def after(made: Plan) -> Records:
    added = made.join(made.new)
    return Records(None, made.entries(added), made.left_out, {})


BEFORE = records(entry("a/1", "u"), entry("a/2", "v", "eval"), entry("b/1", "w", "test"))
SAME = {"a/1": "u", "a/2": "v", "b/1": "w"}


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        (SAME, set()),
        ({"a/1": "u", "a/2": "v", "b/2": "w"}, {("renamed", "b/1 → b/2", "")}),
        ({"a/1": "u", "b/2": "v", "b/1": "w"}, {("relabelled", "b/2", "a → b")}),
        ({"a/1": "u", "b/1": "w"}, {("removed", "a/2", "")}),
        ({"a/1": "u", "a/2": "x", "b/1": "w"}, {("replaced", "a/2", "")}),
        # One was written over another: it is renamed, and the other is gone.
        ({"a/2": "u", "b/1": "w"}, {("renamed", "a/1 → a/2", ""), ("removed", "a/2", "")}),
        # Two changed places.
        (
            {"a/1": "w", "a/2": "v", "b/1": "u"},
            {("relabelled", "a/1", "b → a"), ("relabelled", "b/1", "a → b")},
        ),
        ({**SAME, "b/2": "u"}, set()),  # shows what another shows
        ({**SAME, "b/2": "z"}, {("added", "b/2", "")}),
    ],
)
def test_what_a_folder_changes(folder: dict[str, str], expected: set[tuple[str, str, str]]) -> None:
    made = plan(folder, BEFORE)
    assert told(made) == expected
    splits = {e.content: e.split for e in BEFORE.entries}
    for found in made.entries([]):
        assert found.split == splits[found.content]
    without = plan(folder, BEFORE, sync=False)
    added = {row for row in expected if row[0] == "added"}
    assert told(without) == added
    assert without.entries([]) == BEFORE.entries
    kinds = {kind for kind, _, _ in expected - added}
    # What a file with another name was written over is one sentence's worth.
    assert set(without.pending.values()) >= kinds - {"removed"}
    assert bool(without.pending) == bool(kinds)


@given(FOLDER, FOLDER, FOLDER)
def test_a_synced_target_is_what_the_source_is(
    first: dict[str, str], second: dict[str, str], third: dict[str, str]
) -> None:
    have = Records(None, [], [], {})
    splits: dict[str, str] = {}
    for number, folder in enumerate([first, second, third]):
        made = plan(folder, have)
        new = [
            (file, e._replace(split=made.fixed.get(e.content, SPLITS[number])))
            for file, e in made.new
        ]
        have = Records(None, made.entries(made.join(new)), made.left_out, {})
        assert {e.content for e in have.entries} == set(folder.values())
        assert len(have.entries) == len(set(folder.values()))
        for e in have.entries:
            assert folder[e.path] == e.content
            assert e.label == e.path[0]
            assert splits.setdefault(e.content, e.split) == e.split  # also of one that came back
        assert told(plan(folder, have)) == set()
        assert not {e.content for e in have.left_out} & set(folder.values())


@given(FOLDER, FOLDER)
def test_without_sync_nothing_that_is_there_changes(
    first: dict[str, str], second: dict[str, str]
) -> None:
    for is_alone in (True, False):
        before = after(plan(first, Records(None, [], [], {})))
        made = plan(second, before, sync=False, is_alone=is_alone)
        assert made.entries([]) == before.entries
        new = {e.content for _, e in made.new}
        assert not new & set(first.values())
        if not is_alone:  # files of two folders may have the same names
            assert new == set(second.values()) - set(first.values())
            assert not made.pending


def test_what_can_not_be_read_is_not_gone() -> None:
    for hidden in ("b", "b/sub", "b/sub/3"):
        before = records(entry("a/1", "u"), entry("b/sub/3", "v"))
        assert told(plan({"a/1": "u"}, before, hidden=frozenset([hidden]))) == set()
    assert told(plan({"a/1": "u"}, before, hidden=frozenset(["b/su"]))) == {
        ("removed", "b/sub/3", "")
    }


def test_corrections_change_what_is_there_whatever_the_source_says() -> None:
    before = records(
        *BEFORE.entries,
        **{"a/1": "relabel b", "a/2": "drop", "b/1": "keep", "c/9": "drop"},
    )
    for sync in (True, False):
        made = plan(SAME, before, sync=sync)
        assert told(made) == {("relabelled", "a/1", "a → b"), ("dropped", "a/2", "")}
        assert [e.path for e in made.left_out] == ["a/2"]
        # The next time it stays so, and comes back to its split without the correction.
        have = after(made)
        again = plan(SAME, have._replace(corrections=before.corrections), sync=sync)
        assert told(again) == set()
        assert again.left_out == made.left_out
        assert not again.pending
        back = plan(SAME, have, sync=sync)
        assert ("added", "a/2", "") in told(back)
        assert back.fixed == {"v": "eval"}
        assert bool(back.pending) is not sync  # that the source has another label


def test_a_new_image_is_corrected_too() -> None:
    before = records(**{"a/1": "relabel z", "a/2": "drop"})
    made = plan({"a/1": "u", "a/2": "v", "b/1": "w"}, before)
    assert {(e.path, e.label) for _, e in made.new} == {("a/1", "z"), ("b/1", "b")}
    assert {file.label for file, _ in made.new} == {"z", "b"}  # by which it is divided
    assert [e.path for e in made.left_out] == ["a/2"]


def test_corrections_go_with_their_image() -> None:
    before = records(
        *BEFORE.entries,
        **{"a/1": "relabel c", "a/2": "drop", "b/1": "same a/1"},
    )
    have = after(plan(SAME, before))
    moved = {"b/8": "u", "b/9": "v", "b/1": "w"}
    made = plan(moved, have._replace(corrections=before.corrections))
    assert made.renames == {"a/1": "b/8", "a/2": "b/9"}
    assert told(made) == {("renamed", "a/1 → b/8", "")}
    assert [e.path for e in made.left_out] == ["b/9"]
    assert changes.carried(before.corrections, made.renames, set()) == decided(
        {"b/8": "relabel c", "b/9": "drop", "b/1": "same b/8"}
    )


def test_a_correction_is_not_of_the_next_picture_with_its_name() -> None:
    before = records(*BEFORE.entries, **{"a/1": "drop"})
    have = after(plan(SAME, before))._replace(corrections=before.corrections)
    made = plan({**SAME, "a/1": "z"}, have)
    assert made.stale == {"a/1"}
    assert [e.content for _, e in made.new] == ["z"]
    assert changes.carried(before.corrections, {}, made.stale) == {}


def test_a_files_own_correction_wins_over_one_that_comes_to_its_name() -> None:
    rows = decided({"a/1": "drop", "a/2": "keep"})
    assert changes.carried(rows, {"a/1": "a/2"}, set()) == decided({"a/2": "keep"})


def test_the_same_thing_is_in_the_split_that_holds_out_the_most() -> None:
    before = records(*BEFORE.entries, **{"a/1": "same a/2", "a/2": "same b/1", "b/1": "same x"})
    made = plan(SAME, before)
    assert told(made) == {
        ("joined", "a/1", "train → test"),
        ("joined", "a/2", "eval → test"),
    }
    assert told(plan(SAME, after(made)._replace(corrections=before.corrections))) == set()


def test_a_split_that_the_source_changes_is_told() -> None:
    looked = [(Source("/a/1", "a/1", "a", "test"), entry("a/1", "u"))]
    decisions = Decisions({}, [], False)
    for found, words in (("train", "another split"), ("test", "")):
        made = Plan(
            looked, records(entry("a/1", "u", found)), decisions, set(), sync=True, is_alone=True
        )
        assert [e.split for e in made.entries([])] == [found]
        assert words in "".join(made.notes)
        assert bool(made.notes) == bool(words)


def test_several_labels_are_sorted() -> None:
    decisions = Decisions(decided({"a/1": "relabel b|a|b"}), [("a/1", "u")], True)
    assert decisions.label("u", "c") == "a|b"
    assert decisions.label("v", "c") == "c"
