import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from darkroom.components.base.settings import PusherSettings
from darkroom.components.pushing import version_folder
from darkroom.serving import files, rollout
from darkroom.serving.pushed_files import Rollout, RolloutError, VersionNote
from tests.conftest import environment
from tests.settings import configured

SETTINGS = configured(PusherSettings, "serving.keep_versions=3")


def write_model(folder: Path, number: int) -> Path:
    (folder / "variables").mkdir(parents=True, exist_ok=True)
    (folder / "saved_model.pb").write_text(f"graph {number}")
    (folder / "variables" / "variables.index").write_text("weights")
    (folder / "variables" / "variables.data").write_bytes(bytes([number % 256]) * 100_000)
    return folder


def push_number(tmp_path: Path, number: int, **changed: object) -> int:
    settings = SETTINGS.model_copy(update=changed)
    source = write_model(tmp_path / "model", number)
    folder = version_folder.at(str(tmp_path / "pushed" / "flowers"))
    return folder.push(source, VersionNote(run=f"r{number}"), settings)


def there(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "pushed" / "flowers").iterdir())


def test_a_version_is_the_model_and_a_note(tmp_path: Path) -> None:
    before = int(time.time())
    version = push_number(tmp_path, 1)
    folder = tmp_path / "pushed" / "flowers" / str(version)
    assert before <= version <= int(time.time())
    assert (folder / "saved_model.pb").read_text() == "graph 1"
    assert (folder / "variables" / "variables.data").stat().st_size == 100_000
    note = json.loads((folder / "assets.extra" / "pushed.json").read_text())
    assert (note["version"], note["run"]) == (version, "r1")
    assert note["fingerprint"] == version_folder.fingerprint_of(tmp_path / "model")
    beside = sorted(path.name for path in (tmp_path / "pushed").iterdir())
    assert beside == [
        "batching.config", "flowers", "models.config", "models.config.lock", "monitoring.config",
        "push.lock",
    ]  # fmt: skip
    assert (tmp_path / "pushed" / "batching.config").read_text().startswith("max_batch_size {")


def test_the_same_model_keeps_its_version(tmp_path: Path) -> None:
    first = push_number(tmp_path, 1)
    path = tmp_path / "pushed" / "models.config"
    written = path.stat().st_mtime_ns
    assert push_number(tmp_path, 1) == first
    assert there(tmp_path) == [str(first)]
    assert path.stat().st_mtime_ns == written
    second = push_number(tmp_path, 2)
    third = push_number(tmp_path, 1)  # which is not the newest any more
    assert there(tmp_path) == sorted(map(str, [first, second, third]))


def test_other_batching_reaches_the_file_without_a_new_version(tmp_path: Path) -> None:
    first = push_number(tmp_path, 1)
    batching = SETTINGS.batching.model_copy(update={"max_batch_size": 32})
    assert push_number(tmp_path, 1, batching=batching) == first
    assert "max_batch_size { value: 32 }" in (tmp_path / "pushed" / "batching.config").read_text()


def test_a_fingerprint_is_of_names_and_content(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", 1)
    before = version_folder.fingerprint_of(model)
    (model / "saved_model.pb").rename(model / "saved_model2.pb")
    renamed = version_folder.fingerprint_of(model)
    (model / "variables" / "variables.index").write_text("weightz")
    assert len({before, renamed, version_folder.fingerprint_of(model)}) == 3


def test_numbers_grow_and_are_never_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, now in enumerate((5000.0, 5000.2, 3000.0)):
        monkeypatch.setattr(version_folder.time, "time", lambda now=now: now)
        push_number(tmp_path, number)
    assert there(tmp_path) == ["5000", "5001", "5002"]
    folder = tmp_path / "pushed" / "flowers"
    rollout.roll_back(folder)
    files_of_newest = folder / "5002"
    files_of_newest.rename(tmp_path / "removed by hand")
    assert push_number(tmp_path, 4) == 5003


def test_the_last_ones_stay_and_what_is_needed(tmp_path: Path) -> None:
    folder = tmp_path / "pushed" / "flowers"
    first, second = push_number(tmp_path, 1), push_number(tmp_path, 2)
    rollout.promote(folder, first)  # rolling back leads to the second
    canaries = [push_number(tmp_path, n, rollout="canary", keep_versions=1) for n in range(3, 7)]
    assert there(tmp_path) == sorted(map(str, [first, second, canaries[-1]]))
    assert rollout.read(folder) == Rollout(first, canaries[-1], (second,), canaries[-1])
    last = [push_number(tmp_path, number) for number in range(7, 12)][-3:]
    assert there(tmp_path) == sorted(map(str, last))


@pytest.mark.parametrize("fails_at", ["saved_model.pb", "variables.data", "pushed.json"])
def test_a_failed_copy_leaves_the_old_versions_and_no_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: str
) -> None:
    first = push_number(tmp_path, 1)
    whole = os.fsync

    def disk_is_full(descriptor: int) -> None:
        if fails_at in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(28, "No space left on device")
        whole(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(files.os, "fsync", disk_is_full)
        with pytest.raises(OSError, match="No space left"):
            push_number(tmp_path, 2)
    assert [name for name in there(tmp_path) if name.isdigit()] == [str(first)]
    second = push_number(tmp_path, 2)
    assert there(tmp_path) == [str(first), str(second)]  # and what was left over is gone


def test_a_push_that_was_killed_before_its_label_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = push_number(tmp_path, 1)
    with monkeypatch.context() as patched:
        patched.setattr(version_folder.rollout, "admit", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            push_number(tmp_path, 2)
    folder = tmp_path / "pushed" / "flowers"
    assert rollout.served_version(folder).name == str(first)
    second = push_number(tmp_path, 2)
    assert there(tmp_path) == [str(first), str(second)]
    assert rollout.served_version(folder).name == str(second)


def test_an_old_version_that_can_not_be_removed_fails_no_push(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first = push_number(tmp_path, 1)
    with monkeypatch.context() as patched:

        def refuse(path: Path, target: Path) -> None:
            raise PermissionError(13, "Permission denied")

        patched.setattr(Path, "rename", refuse)
        last = [push_number(tmp_path, number, keep_versions=1) for number in (2, 3)]
    assert there(tmp_path) == sorted(map(str, [first, *last]))
    assert "is old, and can't be removed" in caplog.text


def test_a_damaged_model_config_file_is_said_before_anything_is_copied(tmp_path: Path) -> None:
    first = push_number(tmp_path, 1)
    (tmp_path / "pushed" / "models.config").write_text("{")
    with pytest.raises(RolloutError, match=r"models.config is not a model config file"):
        push_number(tmp_path, 2)
    assert there(tmp_path) == [str(first)]


PUSHING = """
import itertools, sys
from pathlib import Path
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2
from darkroom.components.base.settings import PusherSettings
from darkroom.components.pushing import version_folder
from darkroom.serving.pushed_files import VersionNote
folder, *models = map(Path, sys.argv[1:-1])
settings = PusherSettings.unpack(sys.argv[-1])
print("begins", flush=True)
for model in itertools.cycle(models):
    version_folder.at(str(folder)).push(model, VersionNote(), settings)
"""
# Reads what is there as a model server would, again and again, and prints what is not whole.
WATCHING = """
import os, sys
from pathlib import Path
from darkroom.components.pushing import version_folder
from darkroom.serving import rollout
from darkroom.serving.pushed_files import VersionNote
folder = Path(sys.argv[1])
looks = 0
while not os.path.exists(sys.argv[2]):
    for path in rollout.versions(folder):
        try:
            note = VersionNote.of(path)
            seen = version_folder.fingerprint_of(path)
        except FileNotFoundError:
            seen = note = None
        if not path.exists():
            continue  # removed, as a whole, while this looked at it
        if note is None or seen != note.fingerprint:
            print("not whole:", path, note, seen)
    current = rollout.read(folder)
    if current is None:
        continue
    for version in current.served:
        if not (folder / str(version)).exists() and rollout.read(folder) == current:
            print("not there:", version)
    looks += 1
print(looks)
"""


@pytest.mark.slow
def test_killed_at_any_point_every_version_is_whole(tmp_path: Path) -> None:
    folder, stop = tmp_path / "pushed" / "flowers", tmp_path / "stop"
    began = time.monotonic()
    push_number(tmp_path, 2)
    longest = 3 * max(0.03, time.monotonic() - began)  # longer beside busy processes
    watcher = subprocess.Popen(
        [sys.executable, "-c", WATCHING, folder, stop],
        env=environment(), stdout=-1, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    models = [write_model(tmp_path / f"model{number}", number) for number in range(2)]
    generator = random.Random(0)
    pushed: list[int] = []
    kills, left_over = 25, 0
    for _ in range(kills):
        pushing = subprocess.Popen(
            [sys.executable, "-c", PUSHING, folder, *models, SETTINGS.model_dump_json()],
            env=environment(), stdout=-1,
        )  # fmt: skip
        assert pushing.stdout is not None
        assert pushing.stdout.readline() == b"begins\n"
        time.sleep(generator.uniform(0, longest))
        pushing.send_signal(signal.SIGKILL)
        pushing.communicate()
        pushed += [int(name) for name in there(tmp_path) if name.isdigit()]
        left_over += not all(name.isdigit() for name in there(tmp_path))
    assert left_over  # or no push was killed in its midst
    stop.touch()
    output, _ = watcher.communicate(timeout=60)
    assert output.strip().isdigit(), output
    assert int(output) > kills
    version = push_number(tmp_path, 3)
    assert version > max(pushed)
    assert all(name.isdigit() for name in there(tmp_path))
    assert rollout.served_version(folder).name == str(version)
