import builtins
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from darkroom.serving import files
from tests.conftest import PATIENCE, environment

HOLDING = """
import sys
from darkroom.serving import files
with files.locked(sys.argv[1], shared=sys.argv[2] == "shared"):
    print("holds", flush=True)
    sys.stdin.read()
"""
WRITING = """
import sys
from darkroom.serving import files
with files.replacing(sys.argv[1]) as unfinished:
    unfinished.write_text("half")
    print("writes", flush=True)
    sys.stdin.read()
"""


@contextmanager
def process(code: str, *words: str | Path) -> Iterator[subprocess.Popen]:
    """One that has said its first word, and waits."""
    started = subprocess.Popen(
        [sys.executable, "-c", code, *words], env=environment(), stdin=-1, stdout=-1, text=True
    )
    assert started.stdout is not None
    assert started.stdout.readline() in ("holds\n", "writes\n")
    try:
        yield started
    finally:
        started.kill()
        started.communicate(timeout=PATIENCE)


def test_a_text_replaces_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for text in ("one", "two\nlines ✓"):
        files.replace(path, text)
        assert path.read_text(encoding="utf-8") == text
    written = path.stat().st_mtime_ns
    files.replace(path, "two\nlines ✓")
    assert path.stat().st_mtime_ns == written
    path.write_bytes(b"\xff")
    files.replace(path, "text")
    assert path.read_text() == "text"
    assert os.listdir(tmp_path) == ["file"]


def interrupted(path: Path, content: bytes | None, durable: bool) -> None:
    with files.replacing(path, durable=durable) as unfinished:
        if content is not None:
            unfinished.write_bytes(content)
        raise KeyboardInterrupt


@pytest.mark.parametrize("durable", [False, True])
def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    for content in (None, b"new"):
        with pytest.raises(KeyboardInterrupt):
            interrupted(path, content, durable)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_who_is_killed_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with process(WRITING, path) as writer:
        writer.kill()
        writer.wait(PATIENCE)
        assert path.read_text() == "old"
        files.replace(path, "new")  # beside what was left
    assert path.read_text() == "new"


def test_json(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    assert files.read_json(path) is None
    value = {"a": [1, None, "é"]}
    files.write_json(str(path), value)
    assert files.read_json(str(path)) == value
    with pytest.raises(TypeError):
        files.write_json(path, object())
    assert files.read_json(path) == value
    assert os.listdir(tmp_path) == ["file.json"]
    with pytest.raises(IsADirectoryError):
        files.read_json(tmp_path)


def test_a_file_that_a_network_disk_has_just_replaced_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.json"
    files.write_json(path, 1)
    really, stale = builtins.open, [True]

    def open_once_stale(*words: Any, **options: Any) -> Any:
        if stale:
            stale.pop()
            raise OSError(errno.ESTALE, "Stale file handle")
        return really(*words, **options)

    monkeypatch.setattr(builtins, "open", open_once_stale)
    assert files.read_json(path) == 1


def test_a_copied_folder_is_the_same(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "inside" / "empty").mkdir(parents=True)
    (source / "inside" / "file").write_bytes(bytes(range(256)))
    files.copy_folder(source, target)
    assert (target / "inside" / "file").read_bytes() == bytes(range(256))
    assert (target / "inside" / "empty").is_dir()
    with pytest.raises(FileExistsError):
        files.copy_folder(source, target)


def test_who_holds_a_lock_is_said(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not files.is_locked(path)
    with process(HOLDING, path, "alone") as holder:
        assert files.is_locked(path)
        for shared in (False, True):
            with (
                pytest.raises(files.Locked, match=f"{path} is locked by process {holder.pid}") as e,
                files.locked(path, shared=shared, patience=0),
            ):
                raise AssertionError("it is locked")
            assert e.value.holder == str(holder.pid)
    assert not files.is_locked(path)  # a killed process has lost it
    with files.locked(path, patience=0):
        assert path.read_text() == str(os.getpid())


def test_a_shared_lock_keeps_out_only_who_wants_it_alone(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with process(HOLDING, path, "shared"):
        assert not files.is_locked(path)
        with files.locked(path, shared=True, patience=0):
            pass
        with pytest.raises(files.Locked), files.locked(path, patience=0):
            pass


@pytest.mark.parametrize("patience", [None, float(PATIENCE)])
def test_a_lock_is_waited_for(tmp_path: Path, patience: float | None) -> None:
    path = tmp_path / "lock"
    with process(HOLDING, path, "alone") as holder:
        os.kill(holder.pid, signal.SIGSTOP)
        waiting = subprocess.Popen(
            [sys.executable, "-c", f"""
from darkroom.serving import files
with files.locked({str(path)!r}, patience={patience}):
    pass
"""], env=environment(),
        )  # fmt: skip
        time.sleep(1)
        assert waiting.poll() is None
        holder.kill()
        assert waiting.wait(PATIENCE) == 0


def test_a_folder_that_is_not_there_has_no_locks(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), files.locked(tmp_path / "none" / "lock"):
        pass
    assert not files.is_locked(tmp_path / "none" / "lock")
