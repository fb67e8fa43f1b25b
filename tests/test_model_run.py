"""What Trainer and LearningRateScan leave, as it is written and as it is read."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

from darkroom.components.base.status import Status
from darkroom.components.training import outcome
from darkroom.components.training.model_run import (
    Comparison,
    LearningRates,
    ScannedRate,
    TrainingHistory,
)

CURVES = {"loss": [2.0] * 9, "accuracy": [0.1] * 9, "val_accuracy": [0.1, 0.25] + [0.1] * 7}


def read(folder: Path) -> tuple[str, Status]:
    status = Status("", "", "")
    words = outcome.read_training(status, {"model_run": SimpleNamespace(uri=str(folder))})
    return words, status


def test_advice_is_derived_from_what_was_measured(tmp_path: Path) -> None:
    written = TrainingHistory(
        history=CURVES,
        exported_epoch=1,
        searched=4,
        stages=[("classifier", 0)],
        constant_accuracy=0.1,
        comparison=Comparison(epochs=2, metric="val_loss", transferred=2.0, scratch=1.0),
    )
    written.write(str(tmp_path))
    assert TrainingHistory.read(str(tmp_path)) == written
    words, status = read(tmp_path)
    assert words == "val_accuracy 0.2500, 9 epochs, the first 4 of them in the search"
    negative, chance = status.diagnosis
    assert negative.startswith("Negative transfer: after 2 epochs")
    assert chance.startswith("The accuracy is at chance (0.10; always the same answer gives 0.10)")
    assert "diagnosis" not in json.loads((tmp_path / "history.json").read_text())


def test_advice_of_earlier_versions_stands_in_the_file(tmp_path: Path) -> None:
    earlier = {
        "history": CURVES, "exported_epoch": 0, "resumed_at": 3, "stages": [["", 0]],
        "diagnosis": ["The training loss has stood still."],
    }  # fmt: skip
    (tmp_path / TrainingHistory.FILE).write_text(json.dumps(earlier), encoding="utf-8")
    words, status = read(tmp_path)
    assert words == "val_accuracy 0.1000, 9 epochs, the first 3 of them in an interrupted run"
    assert status.diagnosis == earlier["diagnosis"]


def test_numbers_that_are_none_come_back(tmp_path: Path) -> None:
    points = [ScannedRate(rate=0.1, metrics={"loss": math.nan}), ScannedRate(rate=1, metrics=None)]
    LearningRates(points=points, suggestion=None, words="None learns.").write(str(tmp_path))
    found = LearningRates.read(str(tmp_path))
    assert found.points[0].metrics is not None
    assert math.isnan(found.points[0].metrics["loss"])
    status = Status("", "", "")
    run = SimpleNamespace(uri=str(tmp_path))
    assert outcome.read_scan(status, {"model_run": run}) == "no rate learns"
    assert status.lr_scan is not None
    assert status.lr_scan["points"][1] == {"rate": 1.0, "metrics": None}
    assert Path(status.lr_scan["picture"]) == tmp_path / "lr_scan.png"
