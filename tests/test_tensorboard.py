from pathlib import Path

import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from components.tensorboard import Curves


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
