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
