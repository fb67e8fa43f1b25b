import logging
from functools import partial

import keras
import numpy as np
import pytest

from darkroom.components.training.callbacks import Diagnose, ReportEpochs
from darkroom.components.training.diagnosis import diagnose


def test_what_is_wrong_is_said_once_and_early(caplog: pytest.LogCaptureFixture) -> None:
    callback = Diagnose("Trainer", partial(diagnose, constant_accuracy=0.25))
    for epoch in range(6):
        callback.on_epoch_end(epoch, {"loss": 1.4, "accuracy": 0.25})
    for epoch in range(6, 9):
        callback.on_epoch_end(epoch, {"loss": float("nan"), "accuracy": 0.25})
    words = [record.getMessage() for record in caplog.records]
    assert len(words) == 2
    assert words[0].startswith("Trainer: after epoch 3: The accuracy is at chance")
    assert words[1].startswith("Trainer: after epoch 7: The loss is no number any more")


def test_epochs_are_shares_of_the_nodes_work(caplog: pytest.LogCaptureFixture) -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    reporter = ReportEpochs("Tuner", "fit 2/2, ", start=0.5, share=0.5)
    with caplog.at_level(logging.INFO, "darkroom.progress"):
        images = np.zeros((8, 2))
        model.fit(images, images, epochs=2, verbose=0, callbacks=[reporter])
    reports = [record.progress for record in caplog.records]  # type: ignore[attr-defined]
    assert reports[0] == ("Tuner", "fit 2/2, epoch 1/2", 0.5)
    node, text, fraction = reports[-1]
    assert (node, fraction) == ("Tuner", 1.0)
    assert text.startswith("fit 2/2, epoch 2/2, loss 0.0000")
