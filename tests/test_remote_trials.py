"""Another machine's part of a search; of a real one it is in test_search and test_multi_worker."""

from pathlib import Path
from types import SimpleNamespace

import keras_tuner
import pytest

from darkroom.components.tuning import remote_trials

pytestmark = pytest.mark.slow


def test_a_trial_whose_process_ends_again_and_again_has_failed(tmp_path: Path) -> None:
    """Else it would take down the machine's process each time that it is begun again."""

    class Killed(BaseException):
        pass

    def run(*_: object) -> None:
        raise Killed

    tuner = remote_trials.RemoteTuner.__new__(remote_trials.RemoteTuner)
    tuner._trials, tuner._sign, tuner.tuner_id = SimpleNamespace(run=run), tmp_path / "b", "b"

    def begin(trial_id: str) -> None:
        tuner.run_trial(SimpleNamespace(trial_id=trial_id, hyperparameters=None))

    for trial_id in ("0", "0", "1", "1", "1"):
        with pytest.raises(Killed):
            begin(trial_id)
    with pytest.raises(keras_tuner.errors.FailedTrialError, match="process ended 3 times on b"):
        begin("1")
    with pytest.raises(Killed):
        begin("2")
