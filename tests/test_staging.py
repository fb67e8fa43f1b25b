import os
from pathlib import Path

import pytest
from tfx.types.standard_artifacts import Examples, Model

from darkroom.components.base import remote
from darkroom.components.runs import staging
from tests import buckets


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(buckets.FOLDER, str(tmp_path / "buckets"))
    monkeypatch.setenv(remote._FOLDER, str(tmp_path / "staging"))


def test_executors_see_folders(tmp_path: Path) -> None:
    taken, made, local = Examples(), Model(), Examples()
    taken.uri, made.uri = "test://b/examples/1", "test://b/model/2"
    local.uri = str(tmp_path / "local")
    Path(buckets.path(taken.uri)).mkdir(parents=True)
    (Path(buckets.path(taken.uri)) / "data").write_text("images")
    inputs, outputs = {"examples": [taken, local], "same": [taken]}, {"model": [made]}
    with staging.staged(inputs, outputs):
        assert (Path(taken.uri) / "data").read_text() == "images"
        assert local.uri == str(tmp_path / "local")
        (Path(made.uri) / "graph").write_text("a model")
        made.set_string_custom_property("trained_on", taken.uri)
        made.set_string_custom_property("word", "blessed")
    assert (taken.uri, made.uri) == ("test://b/examples/1", "test://b/model/2")
    assert (Path(buckets.path(made.uri)) / "graph").read_text() == "a model"
    assert made.get_string_custom_property("trained_on") == taken.uri
    assert made.get_string_custom_property("word") == "blessed"


def test_what_a_failed_executor_wrote_is_not_copied() -> None:
    made = Model()
    made.uri = "test://b/model/2"

    def fail() -> None:
        with staging.staged({}, {"model": [made]}):
            (Path(made.uri) / "graph").write_text("half a model")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert made.uri == "test://b/model/2"
    assert not os.path.exists(buckets.path(made.uri))


@pytest.mark.parametrize(
    ("arguments", "elsewhere"),
    [
        ([], False),
        (["--direct_running_mode=multi_processing"], False),
        (["--runner=DirectRunner"], False),
        (["--runner=FlinkRunner", "--flink_master=host:8081"], True),
        # As a node's own options come after the pipeline's.
        (["--runner=FlinkRunner", "--runner=DirectRunner"], False),
    ],
)
def test_beam_elsewhere_gets_uris(arguments: list[str], elsewhere: bool) -> None:
    assert staging.runs_elsewhere(arguments) is elsewhere
