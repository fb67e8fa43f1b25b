import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import keras_tuner
import pytest

from darkroom.components.training.callbacks import Curves
from darkroom.components.tuning import hparams
from tests.conftest import PATIENCE, environment

Ask = Callable[[str, dict], dict]


@contextmanager
def dashboard(folder: Path) -> Iterator[Ask]:
    """TensorBoard itself, to ask its HParams plugin."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder)]
    words += ["--host", "127.0.0.1", "--port", str(port), "--load_fast", "false"]
    log = subprocess.DEVNULL
    with subprocess.Popen(words, env=environment(), stdout=log, stderr=log) as server:

        def ask(route: str, question: dict) -> dict:
            deadline = time.monotonic() + PATIENCE
            while True:
                assert server.poll() is None
                request = urllib.request.Request(
                    f"http://127.0.0.1:{port}/data/plugin/hparams/{route}",
                    json.dumps(question).encode(),
                    {"Content-Type": "application/json"},
                )
                try:
                    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                        return json.load(answer)
                except OSError:  # not up, or nothing loaded yet
                    assert time.monotonic() < deadline
                    time.sleep(0.3)

        try:
            yield ask
        finally:
            server.terminate()


def declared() -> keras_tuner.HyperParameters:
    space = keras_tuner.HyperParameters()
    space.Float("rate", 1e-4, 1e-1, sampling="log")
    space.Int("units", 8, 64, step=8)
    space.Choice("kind", ["relu", "tanh"])
    space.Choice("size", [3, 5])
    space.Boolean("flip")
    space.Fixed("fixed", "a")
    with space.conditional_scope("kind", "relu"):
        space.Float("slope", 0.0, 0.5)
    with space.conditional_scope("kind", "tanh"):
        space.Float("slope", 0.25, 2.0)
    return space


def test_tensorboard_shows_space_values_metrics_and_ends(tmp_path: Path) -> None:
    hparams.experiment(str(tmp_path), declared(), ["val_accuracy", "loss"], "val_accuracy")
    values = {"rate": 0.01, "units": 16, "kind": "relu", "size": 3, "flip": True, "fixed": "a",
              "slope": 0.25}  # fmt: skip
    accuracies = {"0": [0.5, 0.75], "1": [0.875, 0.5], "2": [0.125], "3": [0.375]}
    scores = {"0": 0.75, "1": 0.875}
    for trial, accuracy in accuracies.items():
        folder = tmp_path / f"trial_{trial}"
        own = {**values, "units": 8 * (int(trial) + 1), "tuner/epochs": 3}
        hparams.begin(str(folder), trial, own)
        Curves(str(folder)).write({"loss": accuracy, "val_accuracy": accuracy}, before=0)
        if trial != "3":  # which still runs
            hparams.end(str(folder), None if trial == "2" else scores[trial])
    question = {
        "colParams": [{"metric": {"group": "validation", "tag": "epoch_accuracy"},
                       "order": "ORDER_DESC"}],
        "allowedStatuses": ["STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_UNKNOWN", "STATUS_RUNNING"],
        "startIndex": 0, "sliceSize": 10,
    }  # fmt: skip
    with dashboard(tmp_path) as ask:
        deadline = time.monotonic() + PATIENCE
        while True:  # TensorBoard loads one folder after another
            groups = ask("session_groups", question)["sessionGroups"]
            if len(groups) == 4 and sum(len(g["metricValues"]) for g in groups) == 10:
                break
            assert time.monotonic() < deadline, groups
            time.sleep(0.3)
        found = ask("experiment", {})
    space = {info["name"]: info for info in found["hparamInfos"]}
    assert space["rate"]["domainInterval"] == {"minValue": 1e-4, "maxValue": 0.1}
    assert space["units"]["domainInterval"] == {"minValue": 8.0, "maxValue": 64.0}
    assert space["slope"]["domainInterval"] == {"minValue": 0.0, "maxValue": 2.0}
    assert space["kind"]["domainDiscrete"] == ["relu", "tanh"]
    assert space["size"]["domainDiscrete"] == [3.0, 5.0]
    assert space["flip"]["domainDiscrete"] == [False, True]
    assert space["flip"]["type"] == "DATA_TYPE_BOOL"
    assert space["fixed"]["domainDiscrete"] == ["a"]
    metrics = {(m["displayName"], m["name"]["group"], m["name"]["tag"])
               for m in found["metricInfos"]}  # fmt: skip
    assert metrics == {
        ("score: val_accuracy of the best epoch", "", "score"),
        ("val_accuracy", "validation", "epoch_accuracy"), ("loss", "train", "epoch_loss"),
    }  # fmt: skip

    assert [group["name"] for group in groups] == ["0", "1", "3", "2"]  # by their accuracy
    for group in groups:
        assert group["hparams"] == {**values, "units": 8 * (int(group["name"]) + 1)}
        last = {m["name"]["tag"]: m["value"] for m in group["metricValues"]}
        of_trial = accuracies[group["name"]][-1]
        score = {"score": scores[group["name"]]} if group["name"] in scores else {}
        assert last == {"epoch_accuracy": of_trial, "epoch_loss": of_trial, **score}
    ends = {group["name"]: group["sessions"][0]["status"] for group in groups}
    assert ends == {
        "0": "STATUS_SUCCESS", "1": "STATUS_SUCCESS", "2": "STATUS_FAILURE", "3": "STATUS_UNKNOWN"
    }  # fmt: skip
    assert all(group["sessions"][0]["startTimeSecs"] > 1e9 for group in groups)


@pytest.mark.parametrize("several", [["a", 1], [True, "a"], [1, 0.5]])
def test_one_name_for_several_types_is_no_error(tmp_path: Path, several: list) -> None:
    space = keras_tuner.HyperParameters()
    space.Boolean("on")
    for condition, value in zip((True, False), several, strict=True):
        with space.conditional_scope("on", condition):
            space.Fixed("odd", value)
    hparams.experiment(str(tmp_path), space, [], "loss")
    assert len(list(tmp_path.iterdir())) == 1
