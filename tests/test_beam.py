import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from apache_beam.options import pipeline_options
from apache_beam.runners.runner import create_runner
from apache_beam.transforms import environments
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx.utils import dependency_utils

from darkroom.components.base import features, tfrecord
from darkroom.components.base.errors import DarkroomError
from darkroom.pipeline import beam
from darkroom.pipeline.config import load
from darkroom.pipeline.platforms import Beam
from tests.conftest import PATIENCE, REPOSITORY, SMALL_CONFIG, Project, environment
from tests.model_servers import free_port

GIB = 2**30
POOL = {"environment_type": "EXTERNAL", "environment_config": "localhost:50000"}
DATAFLOW = {
    "runner": "dataflow",
    "project": "photos",
    "region": "europe-west1",
    "temp_location": "gs://photos/tmp",
    "sdk_container_image": "europe-docker.pkg.dev/photos/darkroom:1",
}
ENGINES: dict[str, dict[str, Any]] = {
    "portable": {"runner": "portable", "job_endpoint": "localhost:8099", **POOL},
    "flink": {
        "runner": "flink",
        "flink_master": "flink-rest:8081",
        "environment_type": "DOCKER",
        "sdk_container_image": "registry/darkroom:1",
        "parallelism": 8,
        "options": {"flink_version": "1.19"},
    },
    "spark": {
        "runner": "spark",
        "spark_master_url": "spark://master:7077",
        "environment_type": "PROCESS",
        "environment_config": '{"command": "/opt/apache/beam/boot"}',
        "sdk_worker_parallelism": 2,
    },
    "dataflow": {
        **DATAFLOW,
        "num_workers": 2,
        "max_num_workers": 20,
        "options": {
            "worker_machine_type": "n2-standard-8",
            "dataflow_service_options": ["enable_prime"],
            "use_public_ips": False,
            "sdk_harness_log_level_overrides": {"tensorflow": "ERROR"},
        },
    },
}


def section(engine: str) -> Beam:
    return Beam.model_validate(ENGINES[engine])


def parsed(arguments: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = pipeline_options.PipelineOptions(arguments).get_all_options()
    return found


@pytest.mark.parametrize(
    ("mode", "size", "cores", "expected"),
    [
        ("auto", GIB // 8, 8, "in_memory"),
        ("auto", 5 * GIB, 1, "in_memory"),
        ("auto", 5 * GIB, 8, "multi_processing"),
        ("in_memory", 5 * GIB, 8, "in_memory"),
        ("multi_threading", GIB, 8, "multi_threading"),
    ],
)
def test_the_direct_runners_mode_follows_size_and_cores(
    mode: str, size: int, cores: int, expected: str
) -> None:
    direct = Beam.model_validate({"direct_running_mode": mode, "direct_num_workers": 3})
    arguments = beam.arguments(direct, size, cores)
    if expected == "in_memory":
        assert arguments == []
    else:
        assert f"--direct_running_mode={expected}" in arguments
        assert "--direct_num_workers=3" in arguments


@pytest.mark.parametrize("engine", ENGINES)
def test_beam_understands_what_an_engine_is_told(engine: str) -> None:
    arguments = beam.arguments(section(engine), 5 * GIB, 8)
    options = parsed(arguments)
    for key, value in ENGINES[engine].items():
        if key not in ("runner", "options", "environment_config"):
            assert str(options[key]) == str(value), key
    assert type(create_runner(options["runner"])).__name__.lower() == f"{engine}runner"
    # Else TFX builds a package of itself for the workers, in every node.
    assert dependency_utils.make_beam_dependency_flags(arguments) == arguments


def test_a_job_may_take_hours() -> None:
    assert parsed(beam.arguments(section("portable"), 0, 1))["job_server_timeout"] >= 24 * 3600
    sooner = {**ENGINES["portable"], "options": {"job_server_timeout": 600}}
    arguments = beam.arguments(Beam.model_validate(sooner), 0, 1)
    assert parsed(arguments)["job_server_timeout"] == 600


def test_further_options_are_beams() -> None:
    options = parsed(beam.arguments(section("dataflow"), 0, 1))
    assert options["machine_type"] == "n2-standard-8"
    assert options["dataflow_service_options"] == ["enable_prime"]
    assert options["use_public_ips"] is False
    assert options["sdk_harness_log_level_overrides"] == {"tensorflow": "ERROR"}


def test_python_runs_where_the_configuration_says() -> None:
    def made(engine: str) -> Any:
        options = pipeline_options.PipelineOptions(beam.arguments(section(engine), 0, 1))
        return environments.Environment.from_options(
            options.view_as(pipeline_options.PortableOptions)
        )

    assert made("portable").url == "localhost:50000"
    assert made("flink").container_image == "registry/darkroom:1"
    assert made("spark").command == "/opt/apache/beam/boot"


def test_the_documents_recipes_are_complete(tmp_path: Path) -> None:
    text = (REPOSITORY / "docs" / "platforms" / "beam.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^ *```yaml\n(.*?)```", text, re.DOTALL | re.MULTILINE)
    recipes = [textwrap.dedent(block) for block in blocks if "beam:\n" in block]
    runners = []
    for recipe in recipes:
        (tmp_path / "recipe.yaml").write_text(f"name: photos\n{recipe}")
        loaded = load(tmp_path / "recipe.yaml")
        runners.append(parsed(beam.arguments(loaded.beam, 0, 1))["runner"])
    assert runners == ["DataflowRunner", "FlinkRunner", "SparkRunner"]


def test_keys_are_named_as_beams_options() -> None:
    known = parsed([])
    ours = {"runner", "options", "multi_processing_from_gib"}
    assert {*Beam.model_fields} - ours <= {*known}


BUCKETS = ["root=gs://photos/runs", "data={path: gs://photos/data}"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"runner": "dask"}, "beam.runner: Beam's Dask runner loses data"),
        ({"runner": "samza"}, "'spark' or 'dataflow', found 'samza'"),
        ({"runner": "flink", "direct_num_workers": 4}, "direct_num_workers is for beam.runner dir"),
        ({"num_workers": 4}, "num_workers is for beam.runner dataflow, found direct: take it out"),
        ({"runner": "portable"}, "runner portable needs beam.job_endpoint"),
        ({"runner": "flink"}, "runner flink needs beam.job_endpoint or beam.flink_master"),
        ({"runner": "spark", "spark_master_url": "local[2]"}, "needs beam.environment_type"),
        ({**ENGINES["portable"], "job_endpoint": "http://here:8099/"}, "beam.job_endpoint: exp"),
        ({**ENGINES["portable"], "environment_type": "DOCKER"}, "needs beam.sdk_container_image"),
        ({**ENGINES["portable"], "environment_type": "LOOPBACK"}, "no use for beam.environment_co"),
        ({**ENGINES["portable"], "job_endpoint": "far:1", "environment_type": "LOOPBACK",
          "environment_config": None}, "LOOPBACK is for an engine on this machine, found far:1"),
        ({**ENGINES["portable"], "environment_type": "PROCESS"}, "expected JSON, such as"),
        ({**ENGINES["portable"], "environment_config": "here"}, "host:port of a worker pool"),
        *[
            ({**DATAFLOW, key: None}, f"runner dataflow needs beam.{key}")
            for key in DATAFLOW
            if key != "runner"
        ],
        ({**DATAFLOW, "temp_location": "/tmp/x"}, "expected gs://BUCKET/FOLDER, found /tmp/x"),
        ({**DATAFLOW, "project": "Our Photos"}, "beam.project: expected"),
        ({**DATAFLOW, "num_workers": 3, "max_num_workers": 2}, "num_workers is 3, more than max_"),
    ],
)  # fmt: skip
def test_what_a_runner_can_not_use_is_refused_on_load(changes: dict, words: str) -> None:
    with pytest.raises(DarkroomError) as caught:
        load("mnist", [*BUCKETS, f"beam={json.dumps(changes)}"])
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("engine", "changes", "where"),
    [
        ("dataflow", {}, "on Google's machines"),
        ("flink", {"flink_master": "localhost:8081"}, "in containers"),
        ("portable", {"job_endpoint": "10.0.0.7:8099"}, "at 10.0.0.7:8099"),
        ("portable", {"environment_config": "pool:50000"}, "at pool:50000"),
        ("spark", {}, "at spark://master:7077"),
    ],
)
def test_folders_that_the_workers_do_not_see_are_refused(
    engine: str, changes: dict, where: str
) -> None:
    written = f"beam={json.dumps({**ENGINES[engine], **changes})}"
    load("mnist", [*BUCKETS, written])
    for bucket, key in zip(BUCKETS, ("root", "data.path"), strict=True):
        with pytest.raises(
            DarkroomError, match=f"{key}: the workers of beam.runner .* are {where}"
        ):
            load("mnist", [other for other in BUCKETS if other != bucket] + [written])


def test_an_engine_on_this_machine_sees_its_folders() -> None:
    load("digits", [f"beam={json.dumps(ENGINES['portable'])}"])
    local = {**ENGINES["spark"], "spark_master_url": "local[2]"}
    load("digits", [f"beam={json.dumps(local)}"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"worker_machine_typ": "x"}, "no such option. Did you mean 'worker_machine_type'?"),
        ({"disk_size_gb": "big"}, "beam.options.disk_size_gb: Beam says invalid int value"),
        ({"enable_hot_key_logging": False}, "beam.options.enable_hot_key_logging: Beam has no"),
        ({"region": "europe-west1"}, "it has a key of its own: set beam.region"),
        ({"no_wait_until_finish": True}, "not with darkroom, where a node goes on with"),
        ({"experiments": ["a", "b"], "update": True, "num_worker": 2}, "num_worker: Beam has no"),
    ],
)
def test_options_that_beam_does_not_know_are_refused(options: dict, words: str) -> None:
    with pytest.raises(DarkroomError) as caught:
        beam.arguments(Beam.model_validate({**DATAFLOW, "options": options}), 0, 1)
    assert words in str(caught.value)


def test_java_is_missed_before_a_job_server_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DarkroomError, match="with Java, which isn't on the PATH"):
        beam.require_engine(load("mnist", [*BUCKETS, f"beam={json.dumps(ENGINES['flink'])}"]))


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[tuple[list[str], dict[str, subprocess.Popen], Path]]:
    """Beam's job server and worker pool, processes of their own, in another folder."""
    job, pool = free_port(), free_port()
    commands = {
        "job": ["apache_beam.runners.portability.local_job_service_main", f"--port={job}"],
        "pool": ["apache_beam.runners.worker.worker_pool_main", f"--service_port={pool}"],
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # the pool's python
    servers = {}
    for name, (module, flag) in commands.items():
        with open(tmp_path / f"{name}.log", "wb") as log:
            servers[name] = subprocess.Popen(
                [sys.executable, "-m", module, flag],
                cwd=tmp_path,
                env={**environment(), "PATH": path},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    try:
        for port in (job, pool):
            _wait_for(port)
        settings = {"runner": "portable", "job_endpoint": f"localhost:{job}", **POOL}
        settings["environment_config"] = f"localhost:{pool}"
        yield [f"beam={json.dumps(settings)}"], servers, tmp_path / "pool.log"
    finally:
        for server in servers.values():
            if server.poll() is None:
                _kill(server)


def _kill(server: subprocess.Popen) -> None:
    """With the workers that it has started."""
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("localhost", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"nothing listens at {port}")


def _files(artifacts: Path, names: str) -> dict[str, bytes]:
    """What a node wrote in its one run, by the path below its artifact."""
    [folder] = artifacts.iterdir()
    found = {str(p.relative_to(folder)): p.read_bytes() for p in folder.glob(names)}
    assert found
    return found


def _statistics(artifacts: Path) -> dict[str, float]:
    """Counts, means and deviations of all features, and the classes' counts."""
    found: dict[str, float] = {}
    for name, content in _files(artifacts / "StatisticsGen/statistics", "*/*.pb").items():
        of_split = statistics_pb2.DatasetFeatureStatisticsList.FromString(content).datasets[0]
        found[name] = of_split.num_examples
        for feature in of_split.features:
            key = f"{name} {feature.path.step[0]}"
            numbers = feature.num_stats
            for field in ("mean", "std_dev", "min", "max", "num_zeros"):
                found[f"{key} {field}"] = getattr(numbers, field)
            for value in feature.string_stats.rank_histogram.buckets:
                found[f"{key} {value.label}"] = value.sample_count
    return found


def _transformed(artifacts: Path) -> np.ndarray:
    """The first images of the eval split, after the transform graph, and their labels."""
    [graph] = (artifacts / "Transform/transform_graph").iterdir()
    [file] = (artifacts / "ImportExampleGen/examples").glob("*/Split-eval/*")
    output = tft.TFTransformOutput(str(graph))
    records = list(itertools.islice(tfrecord.read(file), 20))
    made = output.transform_raw_features(tf.io.parse_example(records, output.raw_feature_spec()))
    pixels = made[features.IMAGE].numpy().reshape(len(records), -1)
    return np.column_stack([pixels, made[features.LABEL].numpy()])


@pytest.mark.slow
def test_workers_in_other_processes_give_what_the_direct_runner_gives(
    engine: tuple[list[str], dict[str, subprocess.Popen], Path], small: Project, tmp_path: Path
) -> None:
    settings, servers, pool_log = engine
    project = Project(tmp_path / "project")
    project.folder.mkdir()
    config = SMALL_CONFIG.replace("enabled: true", "enabled: false")
    (project.folder / "config.yaml").write_text(config)
    result = project.run(*settings)
    assert result.returncode == 0, result.stdout

    ours, theirs = (where.folder / "runs/small/artifacts" for where in (project, small))
    for node, names in (
        ("ImportExampleGen/examples", "**/data_tfrecord-*"),
        ("ImportExampleGen/examples", "*.json"),
        ("Transform/transform_graph", "transform_fn/assets/*"),
    ):
        assert _files(ours / node, names) == _files(theirs / node, names), node
    # Beam makes batches by the clock, so that sums differ in their last digits from run to run.
    assert _statistics(ours) == pytest.approx(_statistics(theirs), rel=1e-9)
    np.testing.assert_allclose(_transformed(ours), _transformed(theirs), atol=1e-5)
    status = project.status()
    [facts] = _files(ours / "Evaluator/evaluation", "evaluation.json").values()
    assert json.loads(facts)["examples"] == status["images"]["eval"] == 180
    trainer = next(node["result"] for node in status["nodes"] if node["id"] == "Trainer")
    assert f"val_accuracy {status['metrics']['accuracy']:.4f}" in trainer
    assert status["pushed_version"]
    # ImportExampleGen, StatisticsGen, Transform, Rehearsal and Evaluator were there.
    assert pool_log.read_text().count("Starting worker with command") == 5
    assert "infer TFX Python dependency" not in Path(status["log"]).read_text()

    for name, key in (("pool", "environment_config"), ("job", "job_endpoint")):
        _kill(servers[name])
        result = project.run(*settings)
        assert result.returncode == 1
        assert result.stdout.startswith(f"darkroom: beam.{key}: there is no ")
        assert len(result.stdout.splitlines()) == 1
