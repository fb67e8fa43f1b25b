"""One node in a process of its own. What Airflow does with it is in test_airflow.py."""

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ml_metadata.proto import metadata_store_pb2

from darkroom.components.base import tfrecord
from darkroom.components.base.errors import DarkroomError
from darkroom.components.runs import lineage
from darkroom.pipeline.config import Config, load
from darkroom.pipeline.history import reports, status
from darkroom.pipeline.pipeline import create_pipeline
from darkroom.pipeline.running import lock, node
from tests.conftest import PATIENCE, environment, python


def run_node(folder: Path, name: str, *overrides: str, run: str = "first") -> Any:
    """Runs it to its end; stdout and stderr together in ``stdout``."""
    words = [word for override in overrides for word in ("--set", override)]
    command = (
        "-m",
        "darkroom.pipeline.running.node",
        "--config",
        "digits",
        *words,
        "--run",
        run,
        name,
    )
    return python(*command, cwd=folder)


@pytest.fixture
def ran(small_config: Config, tmp_path: Path) -> Config:
    """The configuration of a pipeline that has run, with a copy of its records."""
    copied = small_config.model_copy(update={"root": str(tmp_path)})
    copied.home.mkdir()
    shutil.copy(small_config.store.path, copied.store.path)
    return copied


def test_the_first_node_looks_at_the_data_before_anything_is_imported(tmp_path: Path) -> None:
    gone = "data={path: nowhere, splits: {eval: null}}"
    result = run_node(tmp_path, "ImportExampleGen", gone, "tuner.enabled=false")
    assert result.returncode == 1
    expected = f"darkroom: The data folder {tmp_path}/nowhere doesn't exist. Set data.path"
    assert result.stdout.startswith(expected)
    assert len(result.stdout.splitlines()) == 1
    result = run_node(tmp_path, "Trainer")
    assert result.returncode == 1
    assert result.stdout.startswith("darkroom: digits has not run yet: ")
    result = run_node(tmp_path, "Trainer", "training.epocs=3")
    assert result.returncode == 2
    assert "Did you mean 'epochs'?" in result.stdout


def test_a_node_that_is_done_is_not_done_again(ran: Config) -> None:
    store = status.open_store(ran)
    [run] = lineage.runs(store, "small")
    before = len(store.get_executions())
    result = run_node(ran.home, "Pusher", "name=small", f"root={ran.home.parent}", run=run.name)
    assert result.returncode == 0, result.stdout
    [line] = result.stdout.splitlines()
    assert line.startswith(f"Pusher is done already in {run.name}. ")
    assert len(store.get_executions()) == before
    assert list((ran.home / "logs").iterdir()) == []


def test_one_that_was_killed_counts_as_failed_and_is_tried_again(ran: Config) -> None:
    store = status.open_store(ran)
    [run] = lineage.runs(store, "small")
    [pusher] = [one for one in lineage.nodes(store, "small", run) if one.id == "Pusher"]
    pusher.execution.last_known_state = pusher.execution.RUNNING
    store.put_executions([pusher.execution])

    done = node.nodes_done(ran, run.name, "Report")  # another's affair
    assert {"Trainer", "Report"} <= done
    assert "Pusher" not in done
    with lock.beside(ran, "Pusher", print):
        assert next(n for n in nodes_of(ran) if n.id == "Pusher").state == "running"
    assert next(n for n in nodes_of(ran) if n.id == "Pusher").state == "interrupted"
    assert "Pusher" not in node.nodes_done(ran, run.name, "Pusher")
    assert next(n for n in nodes_of(ran) if n.id == "Pusher").state == "failed"
    assert node.nodes_done(ran, "another run", "Trainer") == set()


def test_asked_to_end_it_ends_as_ctrl_c_has_it(ran: Config) -> None:
    """As Airflow asks when a task is marked as failed, or cleared."""
    words = ["--set", "name=small", "--set", f"root={ran.home.parent}", "--run", "another"]
    command = [
        sys.executable,
        "-m",
        "darkroom.pipeline.running.node",
        "--config",
        "digits",
        *words,
        "Trainer",
    ]
    with lock.beside(ran, "Trainer", print):
        process = subprocess.Popen(
            command, env=environment(), stdout=subprocess.PIPE, encoding="utf-8"
        )
        assert process.stdout is not None
        assert "waiting for its end" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 130
    process.stdout.close()
    assert not lock.alive(ran)


def nodes_of(config: Config) -> list:
    return status.latest(config, lock.alive(config)).nodes


def test_a_node_comes_after_those_that_it_waits_for(tmp_path: Path) -> None:
    pipeline = create_pipeline(load("digits", [f"root={tmp_path}", "tuner.enabled=false"]))
    nodes = {one.id for one in pipeline.components}
    node.required(pipeline, "Report", nodes, "first")
    # Transform takes nothing of the ExampleValidator: it waits for its verdict.
    words = "Transform comes after ExampleValidator, not done yet in first."
    with pytest.raises(DarkroomError, match=words):
        node.required(pipeline, "Transform", nodes - {"ExampleValidator"}, "first")
    with pytest.raises(DarkroomError, match="digits has no node Tuner; there are ImportExampleGen"):
        node.required(pipeline, "Tuner", nodes, "first")


def test_a_node_that_fails_says_why_and_leaves_a_report(tmp_path: Path) -> None:
    values = {"image/encoded": b"no image", "image/class/text": b"cat"}
    (tmp_path / "train").mkdir()
    records = [tfrecord.encode_example(values)] * 20
    tfrecord.write(tmp_path / "train" / "a.tfrecord", records)
    data = "data={path: ., splits: {eval: null}}"
    result = run_node(tmp_path, "ImportExampleGen", data, run="by hand/1")
    assert result.returncode == 1
    assert "✗ ImportExampleGen" in result.stdout
    assert "darkroom: ImportExampleGen failed. " in result.stdout
    assert "Traceback" not in result.stdout
    [log] = re.findall(r"^The log is (.*)$", result.stdout, re.MULTILINE)
    assert "Traceback" in Path(log).read_text(encoding="utf-8")
    assert log.endswith("-ImportExampleGen.log")
    [page] = re.findall(r"^The report is (.*)$", result.stdout, re.MULTILINE)
    facts = reports.load(Path(page).parent)
    assert (facts["run"], facts["failure"]["node"]) == (
        "by_hand_1",
        "ImportExampleGen",
    )
    config = load("digits", [f"root={tmp_path / 'runs'}"])
    assert [(n.id, n.state) for n in status.latest(config).nodes] == [
        ("ImportExampleGen", "failed")
    ]
    assert not list((config.home / "tmp").iterdir())

    # Tried again, it is another execution in the same run.
    assert run_node(tmp_path, "ImportExampleGen", data, run="by hand/1").returncode == 1
    store = status.open_store(config)
    [run] = lineage.runs(store, "digits")
    states = [execution.last_known_state for execution in store.get_executions_by_context(run.id)]
    assert states == [metadata_store_pb2.Execution.FAILED] * 2
    assert len(status.latest(config).nodes) == 1
