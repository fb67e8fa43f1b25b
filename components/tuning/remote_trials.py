"""Trials on other machines, by KerasTuner's own protocol: docs/platforms/machines.md."""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path

import grpc
import keras_tuner
from keras_tuner.engine.trial import Trial

from darkroom.components.base import progress, results
from darkroom.components.base.errors import DarkroomError, explain
from darkroom.components.compat import keras_tuner as compat
from darkroom.components.training import devices
from darkroom.components.training.distribution import shared_work
from darkroom.components.tuning import oracles, trial_process
from darkroom.components.tuning.messages import SearchFile
from darkroom.components.tuning.oracles import Durable
from darkroom.components.tuning.trial import Trials
from darkroom.serving import files

_ALIVE_FOLDER = "alive"
_SECONDS_BETWEEN_SIGNS = 5
_SECONDS_OF_PATIENCE = 60  # without a sign of life, after which a machine is given up
# How often a machine begins the same trial: its own process, or the chief's, may be killed.
_BEGUN_AT_MOST = 3
# Between two questions to the chief, or looks at the disk, while there is nothing to do.
_SECONDS_BETWEEN_QUESTIONS = 0.2


def check() -> None:
    """Raises a DarkroomError where the environment names another chief, or says too little."""
    try:
        is_chief = compat.is_chief()
    except RuntimeError as error:
        raise DarkroomError(" ".join(str(error).split())) from error
    if is_chief is False:
        raise DarkroomError(
            f"KERASTUNER_TUNER_ID is {os.environ['KERASTUNER_TUNER_ID']}, and the pipeline runs on "
            "the chief. On this machine start darkroom worker, with the same configuration."
        )


@contextlib.contextmanager
def served(oracle: Durable, folder: str) -> Iterator[Callable[[], bool]]:
    """Serves trials to other machines, if this is the chief; yields a check if any are at work."""
    if compat.is_chief() is None:
        yield lambda: False
        return
    address = f"{os.environ['KERASTUNER_ORACLE_IP']}:{os.environ['KERASTUNER_ORACLE_PORT']}"
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=1))
    compat.serve(oracle, server)
    try:
        server.add_insecure_port(address)
    except RuntimeError as error:
        raise DarkroomError(
            f"KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT: {address} can't be listened at. Is "
            "another search using it?"
        ) from error
    server.start()
    path = os.path.join(os.path.dirname(folder), os.path.basename(results.SEARCH_FILE))
    shared_work.announce(path, folder=folder)
    progress.warn("Tuner", "other machines take part with: darkroom worker")
    try:
        yield lambda: _at_work(oracle, folder)
        shared_work.conclude(path)
    except Exception as error:
        shared_work.conclude(path, explain(error))
        raise
    finally:
        server.stop(grace=1)


def _at_work(oracle: Durable, folder: str) -> bool:
    ids = {tuner_id for tuner_id in list(oracle.tuner_ids) if not tuner_id.startswith("local-")}
    own = Path(folder, _ALIVE_FOLDER, "chief")
    own.parent.mkdir(exist_ok=True)
    own.touch()
    now = own.stat().st_mtime  # by the file system's clock, as theirs
    for tuner_id in ids:
        sign = own.with_name(tuner_id)
        if not sign.exists() or now - sign.stat().st_mtime < _SECONDS_OF_PATIENCE:
            continue
        oracle.tuner_ids.discard(tuner_id)
        trial = oracle.ongoing_trials.get(tuner_id)
        if trial is not None:
            progress.warn("Tuner", f"{tuner_id}, which ran trial {int(trial.trial_id)}, is gone")
            oracle.lose_trial(trial.trial_id, f"{tuner_id} was not heard of any more, twice.")
    return bool(ids)


def main(path: str, number: int) -> None:
    """Runs the trials that the chief of an announced search gives, until it has no more."""
    work = shared_work.Work.read(path)
    if work is None or work.number != number:
        return
    devices.grow_memory()
    folder = str(work.facts["folder"])
    search = _begun(folder)
    oracle = oracles.create(search.settings, folder)
    try:
        RemoteTuner(oracle, trial_process.of_search(folder, search), folder).search()
    except grpc.RpcError as error:
        print(f"darkroom: the chief of the search is gone: {error.code()}", file=sys.stderr)
        os._exit(shared_work.LOST)


def _begun(folder: str) -> SearchFile:
    """The file of a search, once its examples are there: the chief may still be decoding them."""
    while True:
        with contextlib.suppress(FileNotFoundError):
            search = SearchFile.read(folder)
            if os.path.exists(search.examples):
                return search
        time.sleep(_SECONDS_BETWEEN_QUESTIONS)


class RemoteTuner(keras_tuner.engine.base_tuner.BaseTuner):
    """Another machine's part of a search: KerasTuner's own loop around ``Trials``."""

    def __init__(self, oracle: Durable, trials: Trials, folder: str):
        """Asks the chief's oracle over the network; ``oracle`` only tells the objective."""
        signs = os.path.join(folder, _ALIVE_FOLDER)
        super().__init__(oracle, directory=folder, project_name=_ALIVE_FOLDER)
        self._trials, self._sign = trials, Path(signs, self.tuner_id)
        threading.Thread(target=self._give_signs, daemon=True).start()

    def _give_signs(self) -> None:
        while True:
            with contextlib.suppress(OSError):  # of a network disk, for a moment
                self._sign.touch()
            time.sleep(_SECONDS_BETWEEN_SIGNS)

    def pre_create_trial(self) -> None:
        """KerasTuner asks again at once where there is nothing to do yet."""
        time.sleep(_SECONDS_BETWEEN_QUESTIONS)

    def run_trial(self, trial: Trial, *args: object, **kwargs: object) -> dict[str, float]:
        """Runs a trial; one whose process ends again and again has failed."""
        note = f"{self._sign}.json"
        last = files.read_json(note)
        begun = last["begun"] + 1 if last and last["trial"] == trial.trial_id else 1
        if begun > _BEGUN_AT_MOST:
            raise keras_tuner.errors.FailedTrialError(
                f"Its process ended {_BEGUN_AT_MOST} times on {self.tuner_id}. Was its memory too "
                "small?"
            )
        files.write_json(note, {"trial": trial.trial_id, "begun": begun})
        result = self._trials.run(trial.trial_id, trial.hyperparameters)
        if result.message is not None:
            raise keras_tuner.errors.FailedTrialError(result.message)
        return result.metrics

    def save(self) -> None:
        """Does nothing: the chief and the trial have written all that there is to keep."""
