import logging

import pytest

from darkroom.components.base import progress


def test_what_is_wrong_is_said_once_and_early(caplog: pytest.LogCaptureFixture) -> None:
    said = progress.Diagnose("Trainer", constant_accuracy=0.25)
    for epoch in range(6):
        said.on_epoch_end(epoch, {"loss": 1.4, "accuracy": 0.25})
    for epoch in range(6, 9):
        said.on_epoch_end(epoch, {"loss": float("nan"), "accuracy": 0.25})
    words = [record.getMessage() for record in caplog.records]
    assert len(words) == 2
    assert words[0].startswith("Trainer: after epoch 3: The accuracy is at chance")
    assert words[1].startswith("Trainer: after epoch 7: The loss is no number any more")


def test_a_search_is_a_readable_line_and_its_table(caplog: pytest.LogCaptureFixture) -> None:
    table = {
        "names": ["rate"], "running": [], "objective": "val_loss", "planned": None,
        "ended": [{"trial": "7", "values": {"rate": 0.1}, "score": 0.25, "seconds": 1.0,
                   "status": "COMPLETED", "message": None}],
        "best": {"trial": "7", "score": 0.25, "values": {"rate": 0.1}},
        "elapsed": 3725.4, "remaining": None,
    }  # fmt: skip
    with caplog.at_level(logging.INFO, "darkroom.progress"):
        progress.trials("Tuner", table)
    [record] = caplog.records
    assert record.getMessage() == "Tuner: 1 trial, best 0.2500 (trial 7), elapsed 1:02:05"
    assert record.trials == table  # type: ignore[attr-defined]
