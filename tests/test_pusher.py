import json
from pathlib import Path
from typing import Any

import pytest
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from darkroom.components.base import remote
from darkroom.components.base.settings import PusherSettings
from darkroom.components.evaluation.artifacts import Verdict
from darkroom.components.pushing import pusher
from darkroom.serving import rollout
from darkroom.serving.pushed_files import MONITORING, VersionNote
from tests import buckets
from tests.settings import configured

VERDICT = {"metrics": {"accuracy": 0.9}, "reasons": [], "remarks": ["close to the bound"]}


def push(
    tmp_path: Path,
    *overrides: str,
    blessed: bool = True,
    infra: int | None = None,
    graph: str = "graph",
    base: str | None = None,
    **inputs: Any,
) -> standard_artifacts.PushedModel:
    model, blessing = standard_artifacts.Model(), standard_artifacts.ModelBlessing()
    model.uri, model.id = str(tmp_path / "model"), 5
    blessing.set_int_custom_property("blessed", int(blessed))
    blessing.set_string_custom_property(Verdict.PROPERTY, json.dumps(VERDICT))
    serving = tmp_path / "model" / "Format-Serving"
    (serving / "variables").mkdir(parents=True, exist_ok=True)
    (serving / "saved_model.pb").write_text(graph)
    (serving / "variables" / "variables.index").write_text("weights")
    given = {"model": [model], "model_blessing": [blessing], **inputs}
    if infra is not None:
        given["infra_blessing"] = [standard_artifacts.InfraBlessing()]
        given["infra_blessing"][0].set_int_custom_property("blessed", infra)
    pushed = standard_artifacts.PushedModel()
    pushed.uri = str(tmp_path / "artifact")
    destination = pusher_pb2.PushDestination(
        filesystem=pusher_pb2.PushDestination.Filesystem(
            base_directory=base or str(tmp_path / "pushed" / "digits")
        )
    )
    executor = pusher.Executor(base_executor.BaseExecutor.Context(pipeline_run_id="today"))
    executor.Do(
        given,
        {"pushed_model": [pushed]},
        {
            "push_destination": proto_utils.proto_to_json(destination),
            "custom_config": configured(PusherSettings, *overrides).model_dump_json(),
        },
    )
    return pushed


def versions(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "pushed" / "digits").iterdir())


def test_a_blessed_model_becomes_a_whole_version(tmp_path: Path) -> None:
    pushed = push(tmp_path)
    [version] = versions(tmp_path)
    folder = tmp_path / "pushed" / "digits" / version
    assert (folder / "saved_model.pb").read_text() == "graph"
    assert (folder / "variables" / "variables.index").read_text() == "weights"
    assert pushed.get_string_custom_property("pushed_version") == version
    assert pushed.get_string_custom_property("pushed_destination") == str(folder)
    assert pushed.get_int_custom_property("pushed") == 1
    assert (tmp_path / "artifact" / "saved_model.pb").exists()
    note = VersionNote.of(folder)
    assert note is not None
    assert (note.run, note.model) == ("today", {"id": 5, "uri": str(tmp_path / "model")})
    assert note.metrics == {"accuracy": 0.9}
    assert note.remarks == ["close to the bound"]
    batching = (tmp_path / "pushed" / "batching.config").read_text()
    assert "max_batch_size { value: 64 }" in batching


def test_the_same_model_again_is_the_same_version(tmp_path: Path) -> None:
    first = push(tmp_path)
    again = push(tmp_path)
    other = push(tmp_path, graph="other")
    found = [one.get_string_custom_property("pushed_version") for one in (first, again, other)]
    assert found[0] == found[1] < found[2]
    assert versions(tmp_path) == sorted(set(found))
    assert rollout.served_version(tmp_path / "pushed" / "digits").name == found[2]


def test_a_canary_waits_for_its_promotion(tmp_path: Path) -> None:
    for graph in ("one", "two", "three"):
        push(tmp_path, "serving.rollout=canary", "serving.keep_versions=1", graph=graph)
    first, last = versions(tmp_path)
    found = rollout.read(tmp_path / "pushed" / "digits")
    assert found is not None
    assert found.served == (int(first), int(last))


@pytest.mark.parametrize(
    "missing",
    [
        {"blessed": False},
        {"blessed": False, "infra": 1},
        {"infra": 0},
        {"model_blessing": []},
        {"infra_blessing": []},
    ],
)
def test_what_is_not_blessed_by_all_is_not_pushed(tmp_path: Path, missing: Any) -> None:
    pushed = push(tmp_path, **missing)
    assert pushed.get_int_custom_property("pushed") == 0
    assert not (tmp_path / "pushed").exists()


def test_both_blessings_push(tmp_path: Path) -> None:
    assert push(tmp_path, infra=1).get_int_custom_property("pushed") == 1


def test_a_full_disk_leaves_the_old_versions_and_no_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(tmp_path)
    before = versions(tmp_path)
    whole_copy = pusher.io_utils.copy_dir

    def half_a_copy(source: str, target: str) -> None:
        Path(target).mkdir(exist_ok=True)
        (Path(target) / "saved_model.pb").write_text("gra")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pusher.io_utils, "copy_dir", half_a_copy)
    with pytest.raises(OSError, match="No space left"):
        push(tmp_path, graph="other")
    assert versions(tmp_path) == before
    monkeypatch.setattr(pusher.io_utils, "copy_dir", whole_copy)
    push(tmp_path, graph="other")
    assert len(versions(tmp_path)) == 2


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A model's URI in a bucket; the bucket's files are in ``tmp_path / "bucket" / "models"``."""
    monkeypatch.setenv(buckets.FOLDER, str(tmp_path / "bucket"))
    remote.use(tmp_path / "staging")
    return "test://models/pushed/digits"


def test_a_bucket(tmp_path: Path, bucket: str) -> None:
    folder = tmp_path / "bucket" / "models" / "pushed" / "digits"
    first = push(tmp_path, base=bucket)
    assert push(tmp_path, base=bucket).get_string_custom_property("pushed_destination") == (
        first.get_string_custom_property("pushed_destination")
    )
    [version] = folder.iterdir()
    assert first.get_string_custom_property("pushed_destination") == f"{bucket}/{version.name}"
    assert (version / "saved_model.pb").read_text() == "graph"
    assert f'base_path: "{bucket}"' in rollout.config_path(folder).read_text()
    assert (folder.parent / "monitoring.config").read_text() == MONITORING

    (folder / str(int(version.name) + 7)).mkdir()  # of a push that was killed
    options = ("serving.rollout=canary", "serving.keep_versions=1")
    for graph in ("two", "three"):
        last = push(tmp_path, *options, graph=graph, base=bucket)
    canary = int(last.get_string_custom_property("pushed_version"))
    assert canary == int(version.name) + 9
    found = rollout.read(folder)
    assert found is not None
    assert found.served == (int(version.name), canary)
    assert not (folder / str(canary - 1)).exists()


def test_a_model_in_a_bucket(tmp_path: Path, bucket: str) -> None:
    fileio.makedirs("test://models/made")
    push(tmp_path / "elsewhere")  # makes a model
    made = tmp_path / "bucket" / "models" / "made"
    made.rmdir()
    (tmp_path / "elsewhere" / "model").rename(made)
    model = standard_artifacts.Model()
    model.uri = "test://models/made"
    push(tmp_path, model=[model])
    [version] = versions(tmp_path)
    folder = tmp_path / "pushed" / "digits" / version
    assert (folder / "variables" / "variables.index").read_text() == "weights"
