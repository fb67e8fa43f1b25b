"""What a training needs to go on where it was interrupted."""

import io
import json
import os
import time
import zipfile
from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np

from darkroom.components.base import remote, results
from darkroom.components.training.model_run import History, TrainingHistory
from darkroom.components.training.weight_average import AverageWeights
from darkroom.serving import files


class Stopping(NamedTuple):
    """Attributes of Keras's EarlyStopping, by their names."""

    wait: int  # epochs without a better one
    best: float | None
    best_epoch: int  # from 0; -1: what the stages before came to


_NONE = TrainingHistory()


class State(NamedTuple):
    """A training between two epochs."""

    stage: int  # of the training plan, from 0
    epoch: int  # the next one of the stage, from 0
    over: bool  # stopped early: no further epoch
    history: History  # of the stage
    stopping: Stopping
    variables: list[np.ndarray]  # of model and optimizer
    best_weights: list[np.ndarray]  # of the best epoch; may be empty
    earlier: TrainingHistory  # of the stages before
    trained: Sequence[np.ndarray] = ()  # weights of which the model has the average; may be empty


def read(path: str) -> State | None:
    """The state in a file; None where there is none, or none that can be read."""
    try:
        with np.load(io.BytesIO(remote.read(path)) if remote.is_remote(path) else path) as file:
            facts = json.loads(str(file["facts"]))
            count, best, trained = [*facts.pop("counts"), 0][:3]  # earlier files have two
            facts["stopping"] = Stopping(**facts["stopping"])
            facts["earlier"] = TrainingHistory.model_validate(facts["earlier"])
            variables = [file[f"variable{number}"] for number in range(count)]
            best_weights = [file[f"best{number}"] for number in range(best)]
            return State(
                **facts,
                variables=variables,
                best_weights=best_weights,
                trained=[file[f"trained{number}"] for number in range(trained)],
            )
    except (OSError, EOFError, ValueError, LookupError, zipfile.BadZipFile):
        return None


class Checkpoint:
    """A file that holds the newest state of one training, and is whole or not there."""

    def __init__(self, folder: str, writes: bool = True, **determined_by: object):
        """Names the file in a folder or URI by these facts; of several machines one ``writes``."""
        self._folder, self._writes = folder, writes
        self.path = os.path.join(folder, f"{results.name_of(determined_by)}.npz")

    def read(self) -> State | None:
        return read(self.path)

    def write(self, state: State) -> None:
        """Replaces the state in one step."""
        if not self._writes:
            return
        facts = state._asdict()
        lists = {n: facts.pop(n) for n in ("variables", "best_weights", "trained")}
        facts |= {
            "counts": [len(arrays) for arrays in lists.values()],
            "stopping": state.stopping._asdict(),
            "earlier": state.earlier.model_dump(),
        }
        arrays = {
            f"{name}{number}": value
            for name, values in zip(("variable", "best", "trained"), lists.values(), strict=True)
            for number, value in enumerate(values)
        }
        here = remote.place(self.path)
        here.parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(here) as unfinished, open(unfinished, "wb") as file:
            np.savez(file, facts=np.array(json.dumps(facts)), **arrays)
        remote.put(self.path)

    def clear(self) -> None:
        """Removes the folder, with every training's state."""
        remote.remove(self._folder)


class Keep(keras.callbacks.Callback):
    """Keeps a checkpoint while a stage of a training is fitted, and goes on from one."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        stopping: keras.callbacks.EarlyStopping,
        stage: int = 0,
        earlier: TrainingHistory = _NONE,
        share: float = 0.1,
    ):
        """Reads the checkpoint now, and writes it after the epochs of this ``stage``.

        It skips epochs where writing would take more than this ``share`` of the time. In the list
        of callbacks it must come after ``stopping``, and after all that add to the logs.
        """
        super().__init__()
        self._checkpoint, self._stage, self._earlier = checkpoint, stage, earlier
        self._stopping, self._share = stopping, share
        self.average: AverageWeights | None = None
        state = checkpoint.read()
        self.state = state if state is not None and state.stage == stage else None
        self._written, self._took = time.monotonic(), 0.0

    @property
    def goes_on(self) -> bool:
        """Whether other stages have come to something that can be exported."""
        return bool(self._earlier.epochs)

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        stopping, earlier = self._stopping, self._earlier
        if self.state is not None:
            for variable, value in zip(_variables(self.model), self.state.variables, strict=True):
                variable.assign(value)
            for name, value in self.state.stopping._asdict().items():
                setattr(stopping, name, value)
            stopping.best_weights = self.state.best_weights or None
            if self.average is not None and self.state.trained:
                self.average.resume(self.state.trained)
        elif earlier.epochs and stopping.restore_best_weights:
            # What the stages before came to is the best, until it is beaten.
            stopping.best = earlier.history[stopping.monitor][earlier.exported_epoch]
            stopping.best_epoch = -1
            stopping.best_weights = self.model.get_weights()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        before = self.state.history if self.state else {}
        best = self._stopping.best
        best = None if best is None else float(best)
        self.state = State(
            stage=self._stage,
            epoch=epoch + 1,
            over=bool(self.model.stop_training),
            history={n: [*before.get(n, []), float(value)] for n, value in (logs or {}).items()},
            stopping=Stopping(self._stopping.wait, best, self._stopping.best_epoch),
            variables=[],
            best_weights=[],
            earlier=self._earlier,
        )
        begin = time.monotonic()
        last = self.state.over or epoch + 1 == self.params["epochs"]
        if not last and (begin - self._written) * self._share < self._took:
            return  # a large model of short epochs
        whole = self.state._replace(
            variables=[variable.numpy() for variable in _variables(self.model)],
            best_weights=self._stopping.best_weights or [],
            trained=self.average.trained if self.average is not None else (),
        )
        self._checkpoint.write(whole)
        self._written = time.monotonic()
        self._took = self._written - begin


def keep_every(
    every: int, model: keras.Model, folder: str, before: int
) -> keras.callbacks.Callback:
    """Writes all weights each time that ``every`` epochs are done, counted on from ``before``."""

    def save(epoch: int, logs: dict[str, float]) -> None:
        number = before + epoch + 1
        if number % every == 0:
            model.save_weights(os.path.join(folder, f"epoch-{number:04d}.weights.h5"))

    return keras.callbacks.LambdaCallback(on_epoch_end=save)


def _variables(model: keras.Model) -> list[keras.Variable]:
    """Weights, the states of random layers such as dropout, and the optimizer's own."""
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    return [*model.variables, *model.optimizer.variables]
