import json
import subprocess
import sys
from pathlib import Path

import pytest

from darkroom.components.tuning.tuner_results import TrialRow, TunerResults
from tests.conftest import environment

ROWS = [
    {"trial_id": "1", "score": 0.5, "model.units": 8, "off": False, "hyperparameters": "own",
     "status": "COMPLETED", "seconds": 1.5, "seed": 0, "initial_epoch": 0, "epochs": 2,
     "best_epoch": 1, "message": None, "history": [{"loss": [0.5, 0.25]}]},
    {"trial_id": "0", "score": None, "model.units": 4, "status": "FAILED", "seconds": 0, "seed": 0,
     "initial_epoch": 0, "epochs": 0, "best_epoch": None, "message": "No layer.", "history": []},
]  # fmt: skip


def test_the_file_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / TunerResults.FILE
    path.write_text(json.dumps(ROWS))
    read = TunerResults.read(str(tmp_path))
    best, failed = read.rows
    assert best.hyperparameters == {"model.units": 8, "off": False, "hyperparameters": "own"}
    assert (best.epochs, best.history) == (2, [{"loss": [0.5, 0.25]}])
    assert (failed.failed, failed.message) == (True, "No layer.")
    read.write(str(tmp_path / "again"))
    assert (tmp_path / "again" / TunerResults.FILE).read_text() == path.read_text()


def test_rows_of_an_earlier_version_are_read(tmp_path: Path) -> None:
    earlier = {"trial_id": "2", "score": 0.75, "rate": 0.1, "tuner/epochs": 3, "filters": None}
    (tmp_path / TunerResults.FILE).write_text(json.dumps([earlier]))
    [row] = TunerResults.read(str(tmp_path)).rows
    assert row == TrialRow("2", 0.75, {"rate": 0.1})
    assert not row.failed
    expected = {"trial_id": "2", "score": 0.75, "rate": 0.1, "best_epoch": None, "message": None}
    assert row.flat() == expected
    with pytest.raises(KeyError):
        TrialRow.of({"score": 1.0})


@pytest.mark.parametrize(
    ("score", "status", "expected"),
    [(0.5, None, False), (None, None, True), (float("nan"), None, True), (0.5, "FAILED", True),
     (0.5, "COMPLETED", False)],
)  # fmt: skip
def test_a_trial_without_a_score_failed(
    score: float | None, status: str | None, expected: bool
) -> None:
    assert TrialRow("0", score, {}, status).failed is expected


def test_what_reads_results_is_light() -> None:
    code = (
        "import sys; from darkroom.components.tuning import outcome, trial_table, messages; "
        "print({'tensorflow', 'keras', 'keras_tuner', 'numpy', 'tfx'} & set(sys.modules))"
    )
    done = subprocess.check_output([sys.executable, "-c", code], env=environment(), text=True)
    assert done == "set()\n"
