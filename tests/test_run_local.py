"""Specifications run here: a real one from images to a pushed model, and small ones that fail."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from darkroom.components.base import results
from darkroom.components.evaluation.artifacts import Evaluation
from darkroom.components.training.model_run import TrainingHistory
from darkroom.kubeflow import run_local
from darkroom.serving.predictor import Predictor
from tests import test_spec
from tests.conftest import PATIENCE, darkroom, environment, python

CONFIG = """
name: small
root: /cluster/runs
data: {path: /images}
preprocessing: {height: 8, width: 8, channels: 1}
model: {filters: [16], units: [32]}
training: {recipe: none, epochs: 4, batch_size: 32, learning_rate: 3e-3}
evaluation: {min_accuracy: 0.5}
serving: {validation: {requests: 5}}
kubeflow:
  image: registry.example/darkroom:1
  volumes: {/cluster: disk, /images: images}
"""


def run(*arguments: str, cwd: Path, **environ: str) -> Any:
    return python("-m", "darkroom.kubeflow.run_local", *arguments, cwd=cwd, **environ)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, digit_records: Path) -> Path:
    """Where the compiled pipeline ran twice: first.txt, second.txt, and cluster/."""
    folder = tmp_path_factory.mktemp("run_local")
    (folder / "small.yaml").write_text(CONFIG)
    result = darkroom("compile", "--config", "small.yaml", "-o", "spec.yaml", cwd=folder)
    assert result.returncode == 0, result.stdout
    for name in ("first", "second"):
        mount = f"/images={digit_records}"
        result = run("spec.yaml", "--root", "cluster", "--mount", mount, cwd=folder)
        (folder / f"{name}.txt").write_text(result.stdout)
        assert result.returncode == 0, result.stdout
    return folder


def lines(folder: Path, name: str) -> dict[str, str]:
    """What was said of each task, without the seconds."""
    told = (folder / f"{name}.txt").read_text().splitlines()
    words = [line.split(maxsplit=4) for line in told]
    assert all(mark == "✓" and unit == "s" for mark, _, _, unit, *_ in words)
    return {task: " ".join(rest) for _, task, _, _, *rest in words}


@pytest.mark.slow
def test_a_compiled_pipeline_pushes_a_model(folder: Path, digit_images: list[bytes]) -> None:
    first = lines(folder, "first")
    assert list(first)[:2] == ["images", "import-example-gen"]
    assert list(first)[-1] == "report"
    assert first["import-example-gen"] == "train 1,437, eval 180 images"
    assert first["last-statistics"] == "none"
    assert first["baseline"] == "no baseline"
    assert "blessed" in first["evaluator"]
    assert first["serving-validator"].startswith("blessed, p99 in ms")
    pushed = folder / "cluster" / "cluster" / "runs" / "small" / "pushed" / "small"
    version = pushed / first["pusher"].removeprefix("version ").partition(",")[0]
    assert len(Predictor(version).predict_all(digit_images[:3])) == 3


def runs(folder: Path) -> list[Path]:
    """The folders of the two runs' files, in their order."""
    found = (folder / "cluster" / "runs" / "small").iterdir()
    return sorted(found, key=lambda path: path.stat().st_mtime)


@pytest.mark.slow
def test_a_second_run_finds_what_the_first_one_blessed(folder: Path) -> None:
    second = lines(folder, "second")
    assert second["last-statistics"] == "of an earlier run"
    assert second["baseline"] == "has a baseline"
    given = json.loads((runs(folder)[1] / "evaluator" / "executor_input.json").read_text())
    [evaluation] = given["outputs"]["artifacts"]["evaluation"]["artifacts"]
    found = json.loads((Path(evaluation["uri"]) / Evaluation.FILE).read_text())
    assert found["baseline"] is not None
    [baseline] = given["inputs"]["artifacts"]["baseline_model"]["artifacts"]
    assert found["baseline"]["uri"] == baseline["uri"]


@pytest.mark.slow
def test_tasks_get_what_the_driver_would_hand_to_them(folder: Path) -> None:
    first = runs(folder)[0]
    given = json.loads((first / "trainer" / "executor_input.json").read_text())
    [examples] = given["inputs"]["artifacts"]["examples"]["artifacts"]
    assert examples["type"] == {"instanceSchema": ""}  # as the open-source back end has it
    [model] = given["outputs"]["artifacts"]["model"]["artifacts"]
    assert "title: tfx.Model" in model["type"]["instanceSchema"]
    reader = json.loads((first / "import-example-gen" / "executor_input.json").read_text())
    assert "split:train,num_files:" in reader["inputs"]["parameterValues"]["seen"]
    assert json.loads(examples["metadata"]["split_names"]) == ["train", "eval"]
    assert Path(examples["uri"]).is_relative_to(folder / "cluster" / "artifacts")
    pusher = json.loads((first / "pusher" / "executor_input.json").read_text())
    parameters = pusher["inputs"]["parameterValues"]
    assert parameters["pipeline_run_id"] == first.name
    assert str(folder / "cluster" / "cluster" / "runs" / "small") in parameters["push_destination"]
    log = (first / "trainer" / "log.txt").read_text()
    assert "Trainer: epoch 4/4" in log  # progress, as a pod's log has it


@pytest.mark.slow
def test_the_report_knows_its_run(folder: Path) -> None:
    run_folder = runs(folder)[1]
    given = json.loads((run_folder / "report" / "executor_input.json").read_text())
    [report] = given["outputs"]["artifacts"]["report"]["artifacts"]
    facts = json.loads((Path(report["uri"]) / results.REPORT_FACTS).read_text())
    assert facts["run"] == run_folder.name
    assert (Path(report["uri"]) / results.REPORT_PAGE).exists()


@pytest.mark.slow
def test_a_pod_that_is_lost_goes_on_where_it_was(folder: Path, tmp_path: Path) -> None:
    """The container's command, killed and tried again in another pod, as ``retries`` has it."""
    spec = yaml.safe_load((folder / "spec.yaml").read_text().partition("---")[0])
    container = spec["deploymentSpec"]["executors"]["exec-trainer"]["container"]
    text = (runs(folder)[0] / "trainer" / "executor_input.json").read_text()
    parameters = json.loads(text)["inputs"]["parameterValues"]
    assert "/cluster/runs/small/unfinished" in parameters["custom_config"]
    log = tmp_path / "log.txt"

    def start(pod: str) -> subprocess.Popen:
        given = json.loads(text)
        config = json.loads(parameters["custom_config"])
        config["training"] |= {"epochs": 25, "steps_per_execution": 1}
        given["inputs"]["parameterValues"]["custom_config"] = json.dumps(config)
        for key, listed in given["outputs"]["artifacts"].items():
            listed["artifacts"][0]["uri"] = str(tmp_path / pod / key)
        given["outputs"]["outputFile"] = str(tmp_path / pod / "output.json")
        words = [json.dumps(given) if word == "{{$}}" else word for word in container["args"]]
        with log.open("w") as file:
            return subprocess.Popen(
                [sys.executable, *container["command"][1:], *words],
                cwd=tmp_path,
                env=environment(),
                stdout=file,
                stderr=file,
            )

    first = start("first")
    deadline = time.monotonic() + PATIENCE
    while "Trainer: epoch 3/25" not in log.read_text():
        assert first.poll() is None, log.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    first.kill()
    first.wait()
    assert start("second").wait(PATIENCE) == 0, log.read_text()
    history = json.loads((tmp_path / "second" / "model_run" / TrainingHistory.FILE).read_text())
    assert history["resumed_at"] >= 1
    assert len(history["history"]["loss"]) == 25


# What the tasks of a small specification do, in place of an executor.
MAKE = """
import json, os, sys
given = json.loads(sys.argv[1])
made = given["outputs"]["artifacts"].get("made", {"artifacts": []})["artifacts"]
for artifact in made:
    os.makedirs(artifact["uri"]); open(os.path.join(artifact["uri"], "file"), "w").close()
if made:
    told = {"artifacts": {"made": {"artifacts": [{"metadata": {"split_names": "[]"}}]}}}
else:
    [taken] = given["inputs"]["artifacts"]["made"]["artifacts"]
    assert taken["metadata"] == {"split_names": "[]"} and taken["type"] == {"instanceSchema": ""}
    told = {"artifacts": {}}
json.dump(told, open(given["outputs"]["outputFile"], "w"))
"""


def described(**code: str) -> dict[str, Any]:
    """A graph of two tasks, a and b, that run these pieces of Python."""
    graph = test_spec.graph()
    for name in ("a", "b"):
        container = graph["deploymentSpec"]["executors"][f"exec-{name}"]["container"]
        container["args"] = ["-c", code.get(name, MAKE), "{{$}}"]
    return graph


def run_two(tmp_path: Path, graph: dict[str, Any], *documents: Any, **environ: str) -> Any:
    path = tmp_path / "two.yaml"
    path.write_text(yaml.safe_dump_all([graph, *documents]))
    return run(str(path), "--root", str(tmp_path / "cluster"), cwd=tmp_path, **environ)


def test_two_tasks(tmp_path: Path) -> None:
    (tmp_path / "my_code.py").write_text("")
    result = run_two(tmp_path, described(a=f"import my_code\n{MAKE}"))
    assert result.returncode == 0, result.stdout
    assert [line.split()[1] for line in result.stdout.splitlines()] == ["a", "b"]


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("print('reading'); raise SystemExit('no disk')", "task a failed with exit code 1."),
        ("import os; os.kill(os.getpid(), 9)", "task a was killed by signal 9."),
        (MAKE.replace("json.dump(", "print("), "task a wrote no executor output that can be"),
        (MAKE.replace("json.dump(told", "json.dump([told]"),
         "task a wrote no executor output that"),
        (MAKE.replace('{"artifacts": [{"metadata"', '{"artifacts": [] and [{"metadata"'),
         "task a wrote no executor output that"),
        (MAKE.replace('open(os.path.join(artifact["uri"], "file"), "w")', "os.sys.stdout"),
         "task a did not write its output made, expected in "),
    ],
    ids=["exit", "killed", "no output file", "a list", "an empty list", "no output"],
)  # fmt: skip
def test_a_task_that_fails_is_named_with_command_and_log(
    tmp_path: Path, code: str, sentence: str
) -> None:
    result = run_two(tmp_path, described(a=code))
    assert result.returncode == 1
    assert f"run_local: {sentence}" in result.stdout
    assert "Its command: python -c " in result.stdout
    log = Path(result.stdout.rpartition("Its log:")[2].strip())
    assert ("no disk" in log.read_text()) == ("no disk" in result.stdout.partition("Its")[0])
    assert not list((tmp_path / "cluster" / "runs" / "two").glob("*/b"))  # it never began


def test_a_failure_of_ours_is_shown_from_its_sentence_on() -> None:
    said = ["W noise", "Traceback …", "Trainer failed. The disk is full.", "more of it"]
    assert run_local._last_words(said) == "Trainer failed. The disk is full.\n  more of it"
    assert run_local._last_words(["x"] * 9).count("x") == 5


def test_environment_secrets_and_placeholders(tmp_path: Path) -> None:
    code = "import os; assert (os.environ['GIVEN'], os.environ['KEY']) == ('here', 'ours')\n"
    graph = described(a=code + MAKE)
    container = graph["deploymentSpec"]["executors"]["exec-a"]["container"]
    container["env"] = [{"name": "GIVEN", "value": "here"}]
    secret = {"secretName": "storage", "keyToEnv": [{"secretKey": "key", "envVar": "KEY"}]}
    executors = {"exec-a": {"secretAsEnv": [secret]}}
    platform = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}
    assert run_two(tmp_path, graph, platform, KEY="ours").returncode == 0
    result = run_two(tmp_path, graph, platform)
    assert "task a: KEY comes from the secret storage on the cluster. Set it" in result.stdout
    # Said before the first task begins.
    later = graph["deploymentSpec"]["executors"]["exec-b"]["container"]
    later["args"][-1] = "{{$.inputs.parameters['x']}}"
    result = run_two(tmp_path, graph, platform, KEY="ours")
    assert result.stdout.startswith("run_local: task b: can't fill in the placeholder of")


def test_variables_and_arguments_name_places_of_the_cluster(tmp_path: Path) -> None:
    code = "import os, sys; assert os.environ['KEYS'] == sys.argv[2] == os.environ['HERE']\n"
    graph = described(a=code + MAKE)
    container = graph["deploymentSpec"]["executors"]["exec-a"]["container"]
    container["env"] = [{"name": "KEYS", "value": "/shared/keys.json"}]
    container["args"].append("/shared/keys.json")
    mounts = {"exec-a": {"pvcMount": [{"constant": "disk", "mountPath": "/shared"}]}}
    platform = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": mounts}}}}
    here = str(tmp_path / "cluster" / "shared" / "keys.json")
    result = run_two(tmp_path, graph, platform, HERE=here)
    assert result.returncode == 0, result.stdout


def test_what_can_not_be_started_is_a_sentence(tmp_path: Path) -> None:
    graph = described()
    graph["deploymentSpec"]["executors"]["exec-a"]["container"]["command"] = ["no-such-program"]
    result = run_two(tmp_path, graph)
    assert result.returncode == 1
    assert "task a can't be started: No such file or directory.\n" in result.stdout
    assert "Its command: no-such-program -c " in result.stdout
    (tmp_path / "file").write_text("")
    path = tmp_path / "two.yaml"
    result = run(str(path), "--root", str(tmp_path / "file"), cwd=tmp_path)
    assert result.returncode == 1
    assert result.stdout.startswith("run_local: --root: ")
    assert "can't be made: Not a directory." in result.stdout


def test_interrupted_it_leaves_nothing_running(tmp_path: Path) -> None:
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    path = tmp_path / "two.yaml"
    path.write_text(yaml.safe_dump(described(a=code)))
    command = [
        sys.executable,
        "-m",
        "darkroom.kubeflow.run_local",
        str(path),
        "--root",
        str(tmp_path / "c"),
    ]
    for number in (signal.SIGINT, signal.SIGKILL):
        process = subprocess.Popen(command, env=environment(), cwd=tmp_path)
        pid = _wait_for_pid(tmp_path)
        process.send_signal(number)
        assert process.wait(PATIENCE) == (130 if number == signal.SIGINT else -number)
        deadline = time.monotonic() + PATIENCE
        while _is_running(pid):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def _wait_for_pid(tmp_path: Path) -> int:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for log in (tmp_path / "c").glob("runs/two/*/a/log.txt"):
            if text := log.read_text().strip():
                log.write_text("")
                return int(text)
        time.sleep(0.05)
    raise AssertionError("task a never began")


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_paths_of_the_cluster(tmp_path: Path) -> None:
    mounts = {"/data/mnist": Path("/play/mnist"), "gs://bucket/in": Path("/in")}
    here = run_local.Places(Path("/play"), ("/data", "/play"), mounts).here
    assert here("/data/mnist") == "/play/mnist"  # and not replaced once more
    assert here("/data/mnist2/x") == "/play/data/mnist2/x"
    assert here('{"base_directory": "gs://bucket/runs"}') == (
        '{"base_directory": "/play/gcs/bucket/runs"}'
    )
    assert here("gs://bucket/in/train") == "/in/train"
    assert here("other/data/x") == "other/data/x"


def test_mounts_are_pairs(tmp_path: Path) -> None:
    for mount, sentence in (
        ("nothing", "expected PATH=FOLDER, found nothing"),
        ("/images=nowhere", "there is no nowhere, which is to be /images"),
    ):
        result = run("x.yaml", "--root", "c", "--mount", mount, cwd=tmp_path)
        assert result.returncode == 2
        assert sentence in result.stdout
