"""``tuner_results.json``: what the trials of a search came to. Light to import."""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from typing_extensions import Self

from darkroom.components.base import remote
from darkroom.components.base.settings import Value
from darkroom.components.training.hand_over import without_notes
from darkroom.serving import files

# Fields that a row of the file has even where they are None; others are left out then.
_ALWAYS = {"best_epoch", "message"}


class TrialRow(NamedTuple):
    """What one trial came to; in the file the hyperparameters are keys beside the others."""

    trial_id: str
    score: float | None  # of the objective; None: it failed
    hyperparameters: dict[str, Value]
    status: str | None = None  # COMPLETED or FAILED
    seconds: float | None = None  # of all fits
    seed: int | None = None  # of the first fit
    initial_epoch: int | None = None  # from which Hyperband went on with another trial
    epochs: int | None = None  # with those of that trial
    best_epoch: int | None = None  # from 0, the mean over all fits
    message: str | None = None  # why it failed
    history: list[dict[str, list[float]]] | None = None  # of each fit, as Keras has it

    @classmethod
    def of(cls, flat: Mapping[str, Any]) -> Self:
        """Reads a row of the file, of any version; raises a KeyError where it lacks the trial."""
        fields = {key: flat[key] for key in FIELDS if key in flat or key in ("trial_id", "score")}
        values = {key: value for key, value in flat.items() if key not in FIELDS}
        return cls(**fields, hyperparameters=without_notes(values))

    def flat(self) -> dict[str, object]:
        """The row as the file has it."""
        fields = self._asdict()
        first = {key: fields.pop(key) for key in ("trial_id", "score")}
        rest = {k: v for k, v in fields.items() if v is not None or k in _ALWAYS}
        return {**first, **rest.pop("hyperparameters"), **rest}

    @property
    def number(self) -> str:
        """What people call the trial; KerasTuner puts zeros before it."""
        return self.trial_id.lstrip("0") or "0"

    @property
    def failed(self) -> bool:
        """Whether the trial has no score; older rows don't say how a trial ended."""
        return self.status == "FAILED" or self.score is None or not math.isfinite(self.score)


# What a row says of a trial; every other key of the file is a hyperparameter.
FIELDS = set(TrialRow._fields) - {"hyperparameters"}


@dataclass(frozen=True)
class TunerResults:
    """All trials of a search, the best first, failed ones last."""

    FILE: ClassVar[str] = "tuner_results.json"
    PICTURE: ClassVar[str] = "search.png"
    """Beside it: the trials as lines, and which hyperparameters mattered."""

    rows: list[TrialRow]

    @classmethod
    def read(cls, uri: str) -> Self:
        """Reads the file of Tuner's ``tuner_results``; raises a FileNotFoundError without one."""
        text = remote.file(uri, cls.FILE).read_text(encoding="utf-8")
        return cls([TrialRow.of(flat) for flat in json.loads(text)])

    def write(self, folder: str) -> None:
        os.makedirs(folder, exist_ok=True)
        files.write_json(os.path.join(folder, self.FILE), [row.flat() for row in self.rows])
