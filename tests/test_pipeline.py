"""The pipeline from end to end, through the command line, on real images."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from sklearn.datasets import load_digits

from darkroom.components.base import features, tfrecord
from darkroom.components.base.settings import TrainerSettings
from darkroom.components.networks import models
from darkroom.components.training import dataset, fitting
from darkroom.components.transform import vocabulary
from darkroom.pipeline.config import Config, load
from darkroom.pipeline.pipeline import create_pipeline
from darkroom.serving.description import describe
from darkroom.serving.predictor import Predictor
from darkroom.serving.rollout import served_version
from tests.conftest import (
    PATIENCE,
    SMALL_CONFIG,
    Project,
    command,
    darkroom,
    encoded,
    environment,
)
from tests.settings import configured

NODES = [
    "ImportExampleGen",
    "StatisticsGen",
    "SchemaGen",
    "LastStatistics",
    "ExampleValidator",
    "Transform",
    "Rehearsal",
    "Tuner",
    "Trainer",
    "Baseline",
    "Evaluator",
    "ServingValidator",
    "Pusher",
    "Report",
]
# Without a search, so that little is left to run.
QUICK = (
    "tuner.enabled=false",
    "training.epochs=2",
    "evaluation.min_accuracy=0.1",
    "evaluation.min_class_recall=0.0",
)


def project(folder: Path, config: str = SMALL_CONFIG) -> Project:
    (folder / "config.yaml").write_text(config)
    return Project(folder)


def rerun(states: dict[str, str]) -> list[str]:
    """The nodes that were not taken from the cache, but for the resolvers, which never are."""
    resolvers = ("LastStatistics", "Baseline")
    return [node for node, state in states.items() if state != "cached" and node not in resolvers]


def test_a_first_run_ends_in_a_pushed_model(small: Project) -> None:
    status = small.status()
    # SchemaGen and LastStatistics don't wait for each other.
    assert sorted(node["id"] for node in status["nodes"]) == sorted(NODES)
    assert {node["state"] for node in status["nodes"]} == {"complete"}
    assert {s: sum(c.values()) for s, c in status["examples"].items()} == {
        "train": 1437,
        "eval": 180,
    }
    assert len(status["examples"]["train"]) == 10
    assert status["blessed"] is True
    assert status["metrics"]["accuracy"] > 0.7
    assert status["metrics"]["example_count"] == 180
    assert status["best_trial"]["trials"] == 2
    assert 1e-3 <= status["best_trial"]["values"]["training.learning_rate"] <= 1e-2
    [version] = status["versions"]
    assert status["pushed_version"] == version
    assert (Path(status["push_path"]) / version / "saved_model.pb").exists()


def test_its_output_is_a_line_per_node_and_a_summary(small: Project) -> None:
    output = (small.folder / "first_run.txt").read_text(encoding="utf-8")
    lines = [line for line in output.splitlines() if not line.startswith("  trial ")]
    assert len(lines) < 46
    starts = [line.split()[1] for line in lines[1 : 1 + len(NODES)]]
    assert sorted(starts) == sorted(NODES)
    assert ["class", "train", "eval"] in [line.split() for line in lines]
    assert ["3", "146", "18"] in [line.split() for line in lines]
    status = small.status()
    for words in (
        "train split  1,437 examples, 10 classes of 139 to 146",
        "eval split   180 examples, 10 classes of 18 to 18",
        "best trial   ",
        f"metrics      accuracy {status['metrics']['accuracy']:.4g}",
        "blessed      yes",
        "remark       the images of the eval split, which judge the model, also chose its epoch "
        "and trial: ",
        f"pushed       version {status['pushed_version']}",
        f"log          {status['log']}",
        "next         darkroom predict --config config.yaml runs/small/artifacts/Report/report/",
    ):
        assert words in output


def test_the_libraries_lines_are_in_the_log(small: Project) -> None:
    log = Path(small.status()["log"])
    text = log.read_text(encoding="utf-8")
    assert "Running launcher for" in text  # TFX
    assert "loss:" in text  # Keras
    assert len(text.splitlines()) > 200


def test_status_shows_what_the_run_showed(small: Project) -> None:
    result = darkroom("status", *small.options, cwd=small.folder)
    first = (small.folder / "first_run.txt").read_text(encoding="utf-8")
    assert result.returncode == 0
    for line in first.splitlines()[-18:]:
        assert line in result.stdout
    as_json = darkroom("status", "--json", *small.options, cwd=small.folder)
    assert json.loads(as_json.stdout) == small.status()


def test_nothing_is_left_in_temporary_folders(small: Project) -> None:
    left = sorted(path.name for path in (small.folder / "runs" / "small").iterdir())
    assert left == ["artifacts", "data", "lock", "logs", "metadata.sqlite", "pushed"]


# --- what runs again, of a project that ran once; test_node_settings says which node when ---


ANY_DROP = "evaluation.max_accuracy_drop=1.0"


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that ran once, without a search, and goes on from run to run."""
    made = project(tmp_path_factory.mktemp("chain"))
    result = made.run(*QUICK)
    assert result.returncode == 0, result.stdout
    return made


def test_an_unchanged_run_reruns_nothing_and_a_threshold_the_gate(chain: Project) -> None:
    made = chain
    before = made.status()
    result = made.run(*QUICK)
    assert result.returncode == 0, result.stdout
    after = made.status()
    assert rerun(made.states()) == []
    assert after["versions"] == before["versions"]
    assert after["metrics"] == before["metrics"]

    options = made._with([*QUICK, "evaluation.min_accuracy=1.0", "runner=local"])
    unworthy = darkroom("run", "--require-blessed", *options, cwd=made.folder)
    assert unworthy.returncode == 3, unworthy.stdout
    assert "has a baseline" not in unworthy.stdout  # which is the model itself
    status = made.status()
    gate = ["Rehearsal", "Evaluator", "Pusher", "Report"]
    assert rerun(made.states()) == gate
    assert status["blessed"] is False
    reason = f"accuracy is {status['metrics']['accuracy']:.4g}, must be at least 1"
    assert status["reasons"][0].startswith(reason)
    assert reason in unworthy.stdout
    assert status["pushed_version"] is None
    assert status["versions"] == before["versions"]
    words = f"nothing new; version {before['versions'][0]} stays in place"
    assert words in unworthy.stdout


@pytest.mark.slow
def test_a_model_that_is_blessed_again_keeps_its_version(chain: Project) -> None:
    before = chain.status()
    newest = before["versions"][0]
    assert before["stable"] == newest
    result = chain.run(*QUICK, ANY_DROP, "evaluation.min_accuracy=0.2")
    assert result.returncode == 0, result.stdout
    assert rerun(chain.states()) == ["Rehearsal", "Evaluator", "Pusher", "Report"]
    after = chain.status()
    assert after["versions"] == before["versions"]
    assert (after["pushed_version"], after["stable"]) == (newest, newest)

    listed = darkroom("versions", "--json", *chain.options, cwd=chain.folder)
    notes = [version["note"] for version in json.loads(listed.stdout)["versions"]]
    assert [str(note["version"]) for note in notes] == before["versions"]
    assert notes[0]["metrics"]["accuracy"] == before["metrics"]["accuracy"]
    assert all(note["run"] for note in notes)


@pytest.mark.slow
def test_a_model_that_a_server_can_not_serve_within_its_limits_is_not_pushed(
    chain: Project,
) -> None:
    before = chain.status()["versions"]
    result = chain.run(
        *QUICK, ANY_DROP, "serving.validation.enabled=true", "serving.validation.requests=3",
        "serving.validation.max_memory_mib=1",
    )  # fmt: skip
    assert result.returncode == 0, result.stdout
    status = chain.status()
    [reason] = status["serving_reasons"]
    assert reason.endswith("above the 1 MiB of serving.validation.max_memory_mib")
    assert reason in result.stdout
    assert status["blessed"] is True
    assert status["pushed_version"] is None
    assert status["versions"] == before


@pytest.mark.slow
def test_a_model_worse_than_the_last_blessed_one_is_not_blessed(chain: Project) -> None:
    result = chain.run(
        *QUICK, "training.epochs=1", "training.learning_rate=1e-6", "evaluation.min_accuracy=0.0"
    )
    status = chain.status()
    assert status["blessed"] is False, result.stdout
    assert "has a baseline" in result.stdout
    reason = status["reasons"][0]
    assert "lower than the baseline's" in reason
    assert reason.endswith("at most 0.01 is allowed")
    assert status["pushed_version"] is None


@pytest.mark.slow
def test_an_evaluation_that_can_not_be_is_refused_before_training(chain: Project) -> None:
    arguments = "evaluation.metrics.top={class_name: TopKCategoricalAccuracy, config: {kk: 3}}"
    result = chain.run(*QUICK, arguments)
    assert result.returncode == 1
    assert "The evaluation fails as it is configured, tried on 10 examples" in result.stdout
    assert "Trainer" not in chain.states()


# --- interruptions ---


def start(folder: Path, *overrides: str) -> subprocess.Popen[str]:
    words = [word for override in overrides for word in ("--set", override)]
    return subprocess.Popen(
        command("run", "--config", "config.yaml", *words),
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )


def wait_for_training(process: subprocess.Popen[str], home: Path) -> None:
    """Until the Trainer has logged its first epoch."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, process.stdout and process.stdout.read()
        logs = sorted((home / "logs").glob("*.log"))
        if logs and " - loss: " in logs[-1].read_text(encoding="utf-8"):
            return
        time.sleep(0.1)
    raise AssertionError("no training within the time")


def history(home: Path) -> dict:
    """What the newest training came to."""
    paths = (home / "artifacts" / "Trainer" / "model_run").glob("*/history.json")
    newest = max(paths, key=lambda path: int(path.parent.name))
    found: dict = json.loads(newest.read_text())
    return found


def trained(config: Config, artifacts: Path) -> fitting.Fitted:
    """What a training comes to that nothing interrupts, on the examples of a run."""
    [examples] = (artifacts / "ImportExampleGen" / "examples").iterdir()
    [graph] = (artifacts / "Transform" / "transform_graph").iterdir()
    transform = tft.TFTransformOutput(str(graph))
    files = ([str(examples / f"Split-{split}" / "*")] for split in ("train", "eval"))
    own = configured(TrainerSettings, config=config)
    splits = dataset.splits(*files, transform, own.training, "Trainer")
    keras.utils.set_random_seed(own.training.seed)
    classes = vocabulary.class_names(transform)
    model = models.build_model(keras_tuner.HyperParameters(), own, classes)
    return fitting.fit(model, own, *splits, [])


@pytest.mark.slow
def test_after_a_kill_the_next_run_goes_on_from_the_finished_nodes(tmp_path: Path) -> None:
    made = project(tmp_path)
    home = tmp_path / "runs" / "small"
    long = (*QUICK, "training.epochs=20")
    killed = start(tmp_path, *long)
    wait_for_training(killed, home)
    status = json.loads(darkroom("status", "--json", *made.options, cwd=tmp_path).stdout)
    assert status["nodes"][-1]["id"] == "Trainer"
    assert status["nodes"][-1]["state"] == "running"  # seen from outside while it runs
    other = made.run(*QUICK)
    assert other.returncode == 1
    assert f"process {killed.pid}" in other.stdout
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert made.status()["nodes"][-1]["state"] == "interrupted"
    assert (home / "tmp").exists()  # what a killed run leaves behind …

    result = made.run(*long)
    assert result.returncode == 0, result.stdout
    assert rerun(made.states()) == ["Trainer", "Evaluator", "Pusher", "Report"]
    assert not (home / "tmp").exists()  # … the next one clears away
    resumed = history(home)
    assert 1 <= resumed["resumed_at"] < 20
    assert f"the first {resumed['resumed_at']} of them in an interrupted run" in result.stdout

    # The curve is that of a training that was not interrupted.
    whole = trained(load(tmp_path / "config.yaml", list(long)), home / "artifacts")
    assert whole.epoch == resumed["exported_epoch"]
    for name, values in whole.history.items():
        assert resumed["history"][name] == pytest.approx(values, rel=1e-3, abs=1e-4)

    # The same with Ctrl-C, and with a model in place that must stay.
    before = {p: p.stat().st_mtime_ns for p in (home / "pushed").rglob("*")}
    interrupted = start(tmp_path, *QUICK, "training.epochs=5000")
    while sum(" - loss: " in p.read_text() for p in (home / "logs").glob("*.log")) < 3:
        assert interrupted.poll() is None
        time.sleep(0.1)
    interrupted.send_signal(signal.SIGINT)
    output, _ = interrupted.communicate(timeout=PATIENCE)
    assert interrupted.returncode == 130
    assert "interrupted. The next run goes on" in output
    report = re.findall(r"^The report is (.*)$", output, re.MULTILINE)
    assert len(report) == 1
    facts = json.loads(Path(report[0]).with_suffix(".json").read_text())
    assert facts["failure"] == {"node": "Trainer", "sentence": "The run was interrupted."}
    assert facts["lineage"][-1]["state"] == "interrupted"
    assert facts["data"] is not None
    assert facts["training"] is None
    assert "Traceback" not in output
    assert {p: p.stat().st_mtime_ns for p in (home / "pushed").rglob("*")} == before
    assert not (home / "tmp").exists()


@pytest.mark.slow
def test_a_full_disk_is_said_and_leaves_what_was_pushed(tmp_path: Path) -> None:
    """A real small disk: a tmpfs in a mount namespace of its own."""
    project(tmp_path)
    script = (
        "set -e; mkdir disk; mount -t tmpfs -o size=1400k tmpfs disk; "
        "mkdir -p disk/small/pushed/small/7; echo old > disk/small/pushed/small/7/saved_model.pb; "
        'set +e; "$@" --set root=disk; echo "exit $?"; ls disk/small/pushed/small; '
        "cat disk/small/pushed/small/7/saved_model.pb"
    )
    namespace = ["unshare", "--mount", "--map-root-user", "sh", "-c", script, "sh"]
    words = [word for override in QUICK for word in ("--set", override)]
    if subprocess.run([*namespace[:3], "true"], stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip("this machine's kernel policy refuses mount namespaces to this user")
    result = subprocess.run(
        [*namespace, *command("run", "--config", "config.yaml", *words)],
        cwd=tmp_path, env=environment(), encoding="utf-8", timeout=PATIENCE,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert "The disk is full" in result.stdout, result.stdout
    assert "exit 1" in result.stdout
    assert "Traceback" not in result.stdout
    assert result.stdout.rstrip().endswith("old")
    pushed = result.stdout.split("exit 1\n")[1].split()
    assert [name for name in pushed if name.isdigit()] == ["7"]


# --- bad input that only the data show ---


PHOTOS = """
name: photos
data: {path: data}
preprocessing: {height: 16, width: 16, resize: pad, normalization: rescale}
model: {name: dense, units: [16]}
training: {recipe: none, epochs: 2, batch_size: 16}
evaluation: {min_accuracy: 0.0, min_class_recall: 0.0, max_accuracy_drop: 1.0}
serving: {validation: {enabled: false}}
"""


def add(path: Path, *values: dict[str, bytes]) -> None:
    """Adds examples to a TFRecord file."""
    tfrecord.write(path, [*tfrecord.read(path), *map(tfrecord.encode_example, values)])


IMAGE_FN = """
import tensorflow as tf

def edges(images):
    return tf.image.sobel_edges(images)[..., 0]
"""
INPUT_LAYER = """
import keras

class Gain(keras.layers.Layer):
    def build(self, shape):
        self.gain = self.add_weight(shape=shape[-1:], initializer="ones")

    def call(self, images):
        return images * self.gain
"""
THEIR_FUNCTIONS = (
    "preprocessing.image_fn=their_images.edges",
    "model.input_layer=their_layers.Gain",
)
TWO = {"pagode à l'étang": "china", "花": "flower"}


@pytest.fixture(scope="module")
def photos(
    tmp_path_factory: pytest.TempPathFactory, write_photos: Callable[..., None]
) -> tuple[Project, str, str]:
    """A project with functions of a user's and some images that can't be used.

    Returns:
      The project, and what a run says of the images, and one that may do without them.
    """
    folder = tmp_path_factory.mktemp("photos")
    made = project(folder, PHOTOS)
    train, held_out = (folder / "data" / s / "a.tfrecord" for s in ("train", "eval"))
    for path, count in ((train, 120), (held_out, 40)):
        write_photos(path, TWO, count, seed=count)
    first = tfrecord.decode_example(next(tfrecord.read(train)))[features.IMAGE_KEY][1][0]
    labelled = {features.LABEL_KEY: next(iter(TWO)).encode()}
    add(
        train,
        {features.IMAGE_KEY: b"no image", **labelled},
        {features.IMAGE_KEY: first[:-10], **labelled},
        {features.IMAGE_KEY: first},  # no label
    )
    add(held_out, {features.IMAGE_KEY: first, **labelled})
    refused = made.run()
    assert refused.returncode == 1
    assert not (folder / "runs" / "photos" / "pushed").exists()

    held_out.write_bytes(held_out.read_bytes()[:-5])
    (folder / "their_images.py").write_text(IMAGE_FN)
    (folder / "their_layers.py").write_text(INPUT_LAYER)
    result = made.run("data.max_corrupt_fraction=0.05", "runner=local", *THEIR_FUNCTIONS)
    assert result.returncode == 0, result.stdout
    return made, refused.stdout, result.stdout


@pytest.mark.slow
def test_colour_photos_of_any_size_with_the_local_runner(photos: tuple[Project, str, str]) -> None:
    status = photos[0].status()
    assert status["examples"]["train"] == dict.fromkeys(TWO, 60)
    assert len(status["versions"]) == 1


@pytest.mark.slow
def test_an_image_function_and_a_layer_of_the_users(
    photos: tuple[Project, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = photos[0]
    version = served_version(Path(made.status()["push_path"]))
    exported = tf.saved_model.load(str(version))
    assert (3,) in {tuple(variable.shape) for variable in exported.parts[0]}

    monkeypatch.chdir(made.folder)
    monkeypatch.syspath_prepend(made.folder)
    searched = (
        *THEIR_FUNCTIONS,
        "tuner.enabled=true",
        "tuner.max_trials=2",
        "tuner.space={training.batch_size: {choices: [16, 32]}}",
    )
    before = nodes_of(made, *searched)
    for file, expected in (
        ("their_layers.py", {"Tuner", "Trainer"}),
        ("their_images.py", {"Transform"}),
    ):
        path = made.folder / file
        path.write_text(path.read_text() + "\nCHANGED = True\n")
        after = nodes_of(made, *searched)
        assert {node for node in after if after[node] != before[node]} == expected
        before = after


def nodes_of(made: Project, *overrides: str) -> dict[str, str]:
    """What TFX's cache knows of each node itself, but for its inputs."""
    nodes = create_pipeline(load(made.folder / "config.yaml", list(overrides))).components
    return {node.id: str(node.exec_properties) for node in nodes}


@pytest.mark.slow
def test_images_that_can_not_be_used_are_set_aside_and_said(
    photos: tuple[Project, str, str],
) -> None:
    made, refused, output = photos
    assert "ImportExampleGen failed. 3 of 163 images can't be used" in refused
    assert "a.tfrecord, record 120: not an image" in refused
    assert "Traceback" not in refused

    status = made.status()
    assert status["inspection"]["splits"]["train"]["quarantined"] == {
        "not an image": 1,
        "cut off": 1,
        "no label": 1,
    }
    for words in (
        "train 120, eval 40 images, 3 in quarantine",
        "In quarantine from the train split: 1 no label, 1 not an image, 1 cut off.",
        "the file is cut off in the record that starts at byte",
        "Its first 40 records are used.",
    ):
        assert words in output or set(words.split()) <= set(output.split()), words
    quarantine = Path(status["quarantine"]) / "train"
    assert sum(1 for file in quarantine.iterdir() for _ in tfrecord.read(file)) == 3


@pytest.mark.slow
def test_a_new_class_is_left_out_of_the_comparison_with_the_baseline(
    photos: tuple[Project, str, str], write_photos: Callable[..., None]
) -> None:
    made = photos[0]
    for split, count in (("train", 24), ("eval", 12)):
        path = made.folder / "data" / split / "a.tfrecord"
        write_photos(path, {**TWO, "c": "china"}, count, seed=count)
    result = made.run()
    assert result.returncode == 0, result.stdout
    assert "has a baseline" in result.stdout
    assert "of an earlier run" in result.stdout
    status = made.status()
    [remark] = [r for r in status["remarks"] if r.startswith("the baseline has other classes")]
    assert "(it doesn't know 'c'): compared on the 8 images of the 2 classes" in remark
    assert remark in result.stdout
    assert len(status["versions"]) == 2
    drift = "'c' is 33.3% of the train split and 0.0% of the last run"
    assert any(sentence.startswith(drift) for sentence in status["anomalies"])
    assert drift in result.stdout


@pytest.mark.slow
def test_a_class_in_eval_only_is_named(tmp_path: Path, write_photos: Callable[..., None]) -> None:
    made = project(tmp_path, PHOTOS)
    write_photos(tmp_path / "data" / "train" / "a.tfrecord", {"a": "china", "b": "flower"}, 8, 1)
    write_photos(tmp_path / "data" / "eval" / "a.tfrecord", {"a": "china", "zebra": "flower"}, 8, 2)
    result = made.run()
    assert result.returncode == 1
    assert "ExampleValidator failed. The eval split has images of 'zebra'" in result.stdout
    assert "it has 'a', 'b'" in result.stdout
    assert "Traceback" not in result.stdout
    assert not (tmp_path / "runs" / "photos" / "pushed").exists()
    assert made.status()["nodes"][-1]["state"] == "failed"


# --- heads ---


@pytest.fixture(scope="module")
def attributes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of digits, with a manifest of what holds of each, and one of the zeros and ones."""
    folder = tmp_path_factory.mktemp("attributes")
    digits, several, two = load_digits(), ["path,label"], ["path,label"]
    for number, (pixels, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
        if number == 300:
            break
        (folder / f"{number}.png").write_bytes(encoded((pixels * 15).astype(np.uint8)))
        holds = {"even": digit % 2 == 0, "prime": digit in (2, 3, 5, 7), "big": digit > 4}
        several.append(f"{number}.png,{'|'.join(name for name in holds if holds[name])}")
        if digit < 2:
            two.append(f"{number}.png,{('zero', 'one')[digit]}")
    (folder / "several.csv").write_text("\n".join(several))
    (folder / "two.csv").write_text("\n".join(two))
    return folder


def ingested(attributes: Path, folder: Path, manifest: str, *options: str) -> Project:
    source = str(attributes / manifest)
    result = darkroom("ingest", source, "records", *options, cwd=folder)
    assert result.returncode == 0, result.stdout
    return project(folder, HEADS)


HEADS = """
name: heads
data: {path: records}
preprocessing: {height: 8, width: 8, channels: 1}
model: {filters: [16], units: [32]}
training: {recipe: none, epochs: 6, batch_size: 16, learning_rate: 5e-3, class_weights: balanced}
evaluation: {min_accuracy: 0.7}
serving: {validation: {enabled: false}}
"""


@pytest.mark.slow
def test_images_of_several_labels(attributes: Path, tmp_path: Path) -> None:
    made = ingested(attributes, tmp_path, "several.csv", "--multi-label")
    result = made.run("data.multi_label=true")
    assert result.returncode == 0, result.stdout
    status = made.status()
    assert set(status["examples"]["train"]) == {"even", "prime", "big"}
    assert sum(status["examples"]["train"].values()) > status["images"]["train"]
    assert f"train split  {status['images']['train']} examples, 3 classes" in result.stdout
    assert status["blessed"] is True
    assert 0.7 < status["metrics"]["accuracy"] < 1
    assert {"loss", "micro_precision", "micro_recall"} < set(status["metrics"])
    assert status["metrics"]["example_count"] == status["images"]["eval"]
    version = served_version(Path(status["push_path"]))
    assert describe(version).facts["head"] == "multi-label"

    rows = [line.split(",") for line in (attributes / "several.csv").read_text().split()[-20:]]
    images = [str(attributes / name) for name, _ in rows]
    predicted = darkroom("predict", *made.options, "--json", *images, cwd=tmp_path)
    right = []
    for answer, (_, label) in zip(json.loads(predicted.stdout), rows, strict=True):
        above = {c for c, s in zip(answer["classes"], answer["scores"], strict=True) if s > 0.5}
        assert answer["label"] == "|".join(sorted(above))
        right += [(c in above) == (c in label.split("|")) for c in answer["classes"]]
    assert sum(right) / len(right) > 0.7


@pytest.mark.slow
def test_one_output_for_two_classes(attributes: Path, tmp_path: Path) -> None:
    made = ingested(attributes, tmp_path, "two.csv")
    result = made.run("model.head=binary")
    assert result.returncode == 0, result.stdout
    status = made.status()
    assert status["metrics"]["accuracy"] > 0.8
    version = served_version(Path(status["push_path"]))
    assert describe(version).facts["head"] == "binary"
    model, right = Predictor(version), []
    for line in (attributes / "two.csv").read_text().split()[1:]:
        name, label = line.split(",")
        answer = model.predict(name, (attributes / name).read_bytes())
        assert sorted(answer.classes) == ["one", "zero"]
        assert sum(answer.scores) == pytest.approx(1)
        right.append(answer.label == answer.classes[0] == label)
    assert sum(right) / len(right) > 0.8


# --- what users write themselves: one project through a chain of changes ---


# It fails for the number of classes that there are, which nobody knows before the data are read.
BUILD_FN = """
from darkroom.components.networks import models

def build_model(hp, config, num_classes):
    return make(num_classes, config)

def make(size, config):
    if size == 10:
        raise ValueError(f"no network for {size} classes yet")
    return models.compiled(models.dense(config, size), config)
"""
MENDED = """
from darkroom.components.networks import models

def build_model(hp, config, num_classes):
    return models.compiled(models.dense(config, num_classes), config)
"""
THEIRS = (
    *QUICK,
    "model.build_fn=their_networks.build_model",
    "data.schema_path=their_schema.pbtxt",
)


@dataclass
class Theirs:
    """A project of a user's own code and schema, and what its runs said."""

    project: Project
    output: dict[str, str]
    states: dict[str, dict[str, str]]

    def run(self, name: str, *overrides: str, code: int = 0) -> None:
        result = self.project.run(*THEIRS, *overrides)
        assert result.returncode == code, result.stdout
        self.output[name], self.states[name] = result.stdout, self.project.states()


@pytest.fixture(scope="module")
def theirs(small: Project, tmp_path_factory: pytest.TempPathFactory) -> Theirs:
    folder = tmp_path_factory.mktemp("theirs")
    made = Theirs(project(folder), {}, {})
    (folder / "their_networks.py").write_text(BUILD_FN)
    printed = darkroom("schema", *small.options, cwd=small.folder)
    assert printed.returncode == 0
    schema = folder / "their_schema.pbtxt"
    schema.write_text(printed.stdout.replace('value: "9"', 'value: "nine"'))
    made.run("another schema", code=1)
    schema.write_text(printed.stdout)
    made.run("failing", code=1)
    made.run("failing in the search", "tuner.enabled=true", code=1)
    (folder / "their_networks.py").write_text(MENDED)
    made.run("mended")
    return made


@pytest.mark.slow
def test_your_own_schema_is_a_gate(theirs: Theirs) -> None:
    output = theirs.output["another schema"]
    assert "image/class/text is '9' in the train split; the schema allows '0'" in output
    assert "The train split has 0 of 'nine'" in output
    assert "edit the schema at data.schema_path" in output
    assert theirs.states["failing"]["ImportExampleGen"] == "cached"
    assert "SchemaGen" in rerun(theirs.states["failing"])
    assert "yours" in theirs.output["failing"]
    assert "yours" in theirs.output["mended"]


@pytest.mark.slow
def test_a_failing_build_fn_shows_the_users_own_traceback(theirs: Theirs) -> None:
    output = theirs.output["failing"]
    assert "Trainer failed. their_networks.build_model failed:" in output
    assert "\nThe report is " in output
    assert output.count("File ") == 2
    assert "ValueError: no network for 10 classes yet" in output
    output = theirs.output["failing in the search"]
    assert "Tuner failed. their_networks.build_model failed:" in output
    assert "ValueError: no network for 10 classes yet" in output
    # Mended, the run goes on from where it can.
    mended = ["Trainer", "Evaluator", "Pusher", "Report"]
    assert rerun(theirs.states["mended"]) == mended
