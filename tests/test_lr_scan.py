from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from darkroom.components.base.settings import ScanSettings
from darkroom.components.training import dataset, lr_scan
from darkroom.components.training.model_run import LearningRates, ScannedRate
from tests.conftest import darkroom
from tests.settings import configured
from tests.test_stages import SMALL, donor, splits  # noqa: F401


def points(losses: dict[float, float | None]) -> list[ScannedRate]:
    return [
        ScannedRate(
            rate=rate,
            metrics=loss and {"loss": loss, "val_loss": loss, "val_accuracy": 0.5},
        )
        for rate, loss in losses.items()
    ]


def test_the_best_rate_is_suggested_in_words() -> None:
    rate, words = lr_scan.suggestion(
        points({1e-4: 2.0, 1e-3: 1.05, 1e-2: 1.0, 0.1: 2.5, 1.0: None}), "val_loss"
    )
    assert rate == 1e-2
    assert words == (
        "0.01 gives the best val_loss, 1.0000; 0.001 to 0.01 are nearly as good; from 1 on the "
        "loss is no number."
    )


@pytest.mark.parametrize(
    ("losses", "words"),
    [({1e-3: 1.0, 1e-2: 2.0}, "try a lower lr_scan.min"),
     ({1e-3: 2.0, 1e-2: 1.0}, "try a higher lr_scan.max"),
     ({1e-3: None, 1e-2: None}, "no number at any rate")],
)  # fmt: skip
def test_a_range_that_is_too_narrow_is_said(losses: dict, words: str) -> None:
    assert words in lr_scan.suggestion(points(losses), "val_loss")[1]


def test_high_accuracies_are_good() -> None:
    accuracies = {0.1: 0.2, 0.2: 0.9, 0.3: 0.5}
    several = [ScannedRate(rate=r, metrics={"val_accuracy": a}) for r, a in accuracies.items()]
    assert lr_scan.suggestion(several, "val_accuracy")[0] == 0.2


def test_the_picture_shows_any_points(tmp_path: Path) -> None:
    for number, losses in enumerate(
        [{1e-4: 2.0, 1e-3: 1.0, 1e-2: 1e9, 0.1: None}, {0.1: None, 0.2: None}, {0.1: float("inf")}]
    ):
        path = tmp_path / f"{number}.png"
        lr_scan.picture(points(losses), 1e-3 if number == 0 else None, str(path))
        picture = np.asarray(Image.open(path).convert("RGB"))
        assert picture.shape[0] > 300
        assert picture.std() > 10


@pytest.mark.parametrize("transferred", [False, True])
def test_rates_are_tried_from_the_same_weights(
    splits: tuple[dataset.Examples, dataset.Examples],  # noqa: F811
    donor: str,  # noqa: F811
    transferred: bool,
) -> None:
    more = [f"model.weights={donor}", "transfer.mode=similar"] if transferred else []
    scanned = ["lr_scan.min=1e-6", "lr_scan.max=1e38", "lr_scan.points=4", "lr_scan.epochs=1"]
    sgd = ["training.optimizer=sgd", "training.schedule=cosine", "training.warmup_epochs=1"]
    config = configured(ScanSettings, *SMALL, *more, *scanned, *sgd, config="cifar10")
    found = lr_scan.scan(config, ["a", "b"], splits)
    assert [p.rate for p in found] == pytest.approx([1e-6, 4.6e8, 2.2e23, 1e38], rel=0.1)
    assert found[-1].metrics is None
    assert found[0].metrics is not None
    assert found[0].metrics["val_loss"] < 10


@pytest.mark.slow
def test_the_command_suggests_a_rate(tmp_path: Path) -> None:
    few = ["lr_scan.points=3", "lr_scan.epochs=1", "lr_scan.min=1e-4", "lr_scan.max=0.01"]
    words = [w for o in [*few, "model.filters=[8]"] for w in ("--set", o)]
    result = darkroom("lr-scan", *words, cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert "gives the best val_loss" in result.stdout
    assert (
        "next         darkroom run --set 'tuner.space.training.learning_rate={min: "
        in result.stdout
    )
    assert "pushed" not in result.stdout
    [run] = (tmp_path / "runs/digits/artifacts/LearningRateScan/model_run").iterdir()
    assert (run / LearningRates.PICTURE).exists()
    assert len(LearningRates.read(str(run)).points) == 3
    again = darkroom("lr-scan", *words, cwd=tmp_path)
    assert "= LearningRateScan    cached" in again.stdout, again.stdout
