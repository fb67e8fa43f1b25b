import json
from pathlib import Path

import pytest

from darkroom.components.base import sections
from darkroom.serving import pushed_files
from darkroom.serving.pushed_files import VersionNote

NOTE = VersionNote(
    run="today", model={"id": 5, "uri": "/model"}, metrics={"accuracy": 0.9}, remarks=["close"]
)


@pytest.mark.parametrize(
    ("section", "lines"),
    [
        ((64, 0, 100, None, []),
         ["max_batch_size { value: 64 }", "batch_timeout_micros { value: 0 }",
          "max_enqueued_batches { value: 100 }"]),
        ((8, 500, 9, 2, [4, 8]),
         ["max_batch_size { value: 8 }", "batch_timeout_micros { value: 500 }",
          "max_enqueued_batches { value: 9 }", "num_batch_threads { value: 2 }",
          "allowed_batch_sizes: 4", "allowed_batch_sizes: 8"]),
    ],
)  # fmt: skip
def test_the_batching_file(section: tuple[object, ...], lines: list[str]) -> None:
    names = (
        "max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads",
        "allowed_batch_sizes",
    )  # fmt: skip
    batching = sections.Batching.model_validate(dict(zip(names, section, strict=True)))
    assert pushed_files.batching(batching).splitlines() == lines


def test_the_monitoring_file_is_as_the_server_reads_it() -> None:
    assert pushed_files.MONITORING.split() == [
        "prometheus_config", "{", "enable:", "true", "path:",
        '"/monitoring/prometheus/metrics"', "}",
    ]  # fmt: skip


def test_a_note_is_read_as_it_was_written(tmp_path: Path) -> None:
    note = NOTE.numbered(7, 1_795_000_000, "f00d")
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / "assets.extra" / "pushed.json").write_text(note.text())
    assert VersionNote.of(tmp_path) == note
    assert json.loads(note.text()) == {
        "version": 7, "pushed": "2026-11-18T11:06:40+00:00", "run": "today",
        "model": {"id": 5, "uri": "/model"}, "metrics": {"accuracy": 0.9}, "remarks": ["close"],
        "fingerprint": "f00d",
    }  # fmt: skip


@pytest.mark.parametrize("text", ["", "{", "[]", "1", "null"])
def test_what_is_no_note(tmp_path: Path, text: str) -> None:
    assert VersionNote.parse(text) in (None, VersionNote())
    assert VersionNote.of(tmp_path) is None


def test_a_note_with_more_or_less_in_it_is_read() -> None:
    note = VersionNote.parse('{"version": 7, "of_a_later_darkroom": 1}')
    assert note == VersionNote(version=7)
