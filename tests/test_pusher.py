from pathlib import Path

import pytest
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from components import pusher


def push(tmp_path: Path, blessed: bool = True) -> standard_artifacts.PushedModel:
    model, blessing = standard_artifacts.Model(), standard_artifacts.ModelBlessing()
    model.uri = str(tmp_path / "model")
    blessing.set_int_custom_property("blessed", int(blessed))
    serving = tmp_path / "model" / "Format-Serving"
    (serving / "variables").mkdir(parents=True, exist_ok=True)
    (serving / "saved_model.pb").write_text("graph")
    (serving / "variables" / "variables.index").write_text("weights")
    pushed = standard_artifacts.PushedModel()
    pushed.uri = str(tmp_path / "artifact")
    destination = pusher_pb2.PushDestination(
        filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=str(tmp_path / "pushed"))
    )
    pusher.Executor().Do(
        {"model": [model], "model_blessing": [blessing]},
        {"pushed_model": [pushed]},
        {"push_destination": proto_utils.proto_to_json(destination)},
    )
    return pushed


def versions(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "pushed").iterdir())


def test_a_blessed_model_becomes_a_whole_version(tmp_path: Path) -> None:
    pushed = push(tmp_path)
    [version] = versions(tmp_path)
    folder = tmp_path / "pushed" / version
    assert (folder / "saved_model.pb").read_text() == "graph"
    assert (folder / "variables" / "variables.index").read_text() == "weights"
    assert pushed.get_string_custom_property("pushed_version") == version
    assert pushed.get_string_custom_property("pushed_destination") == str(folder)
    assert pushed.get_int_custom_property("pushed") == 1
    assert (tmp_path / "artifact" / "saved_model.pb").exists()


def test_what_is_not_blessed_is_not_pushed(tmp_path: Path) -> None:
    pushed = push(tmp_path, blessed=False)
    assert pushed.get_int_custom_property("pushed") == 0
    assert not (tmp_path / "pushed").exists()


def test_versions_grow_even_when_the_clock_goes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for now in (5000.0, 5000.2, 3000.0):
        monkeypatch.setattr(pusher.time, "time", lambda now=now: now)
        push(tmp_path)
    assert versions(tmp_path) == ["5000", "5001", "5002"]


@pytest.mark.parametrize("fails_at", ["artifact", "incoming-"])
def test_a_failed_copy_leaves_the_old_versions_and_no_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: str
) -> None:
    push(tmp_path)
    [old] = versions(tmp_path)
    whole_copy = pusher.io_utils.copy_dir

    def half_a_copy(source: str, target: str) -> None:
        if fails_at not in target:
            return whole_copy(source, target)
        Path(target).mkdir(exist_ok=True)
        (Path(target) / "saved_model.pb").write_text("gra")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(pusher.io_utils, "copy_dir", half_a_copy)
        with pytest.raises(OSError, match="No space left"):
            push(tmp_path)
    assert [name for name in versions(tmp_path) if name.isdigit()] == [old]
    push(tmp_path)
    assert all(name.isdigit() for name in versions(tmp_path))  # and what was left over is gone
    assert len(versions(tmp_path)) == 2
