import json
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from darkroom.components.training.callbacks import Curves
from tests.conftest import PATIENCE, Project, command, darkroom, environment


def curves(folder: Path, name: str) -> list[tuple[int, float]]:
    found = EventAccumulator(str(folder))
    found.Reload()
    return [
        (event.step, float(tf.make_ndarray(event.tensor_proto))) for event in found.Tensors(name)
    ]


def test_curves_count_over_an_interruption_and_over_stages(tmp_path: Path) -> None:
    written = Curves(str(tmp_path))
    written.write({"loss": [3.0, 2.0], "val_loss": [3.5, 2.5]}, before=0)
    written.before = 2
    written.on_epoch_end(0, {"loss": 1.0, "val_loss": 1.5, "val_accuracy": 0.5})
    assert curves(tmp_path / "train", "epoch_loss") == [(0, 3.0), (1, 2.0), (2, 1.0)]
    assert curves(tmp_path / "validation", "epoch_loss") == [(0, 3.5), (1, 2.5), (2, 1.5)]
    assert curves(tmp_path / "validation", "epoch_accuracy") == [(2, pytest.approx(0.5))]


def test_one_command_shows_every_training(small: Project) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command_line = command("tensorboard", *small.options, "--port", str(port))
    expected = {"train", "validation", "trial_0", "trial_1"}
    with subprocess.Popen(command_line, cwd=small.folder, env=environment()) as server:
        try:
            deadline = time.monotonic() + PATIENCE
            while True:
                assert server.poll() is None
                assert time.monotonic() < deadline
                try:
                    url = f"http://127.0.0.1:{port}/data/plugin/timeseries/tags"
                    tags = json.load(urllib.request.urlopen(url))["scalars"]["runTagInfo"]
                    shown = {Path(run).name: set(names) for run, names in tags.items()}
                    if shown.keys() >= expected:  # it reads them one by one
                        break
                except OSError:
                    pass  # not up yet
                time.sleep(0.3)
        finally:
            server.terminate()
    assert shown.keys() == expected
    assert all({"epoch_loss", "epoch_accuracy"} <= shown[run] for run in ("train", "validation"))
    assert all("score" in shown[run] for run in ("trial_0", "trial_1"))


def test_before_a_training_there_is_nothing_to_show(tmp_path: Path) -> None:
    result = darkroom("tensorboard", cwd=tmp_path)
    assert result.returncode == 1
    assert "digits has trained nothing yet" in result.stdout
