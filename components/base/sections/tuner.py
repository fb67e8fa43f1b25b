"""The hyperparameter search."""

from typing import Literal

from pydantic import Field, model_validator

from darkroom.components.base.sections.section import Section


class Range(Section):
    """The values of one hyperparameter: `choices`, or `min` and `max`."""

    choices: list[bool | int | float | str] | None = Field(None, min_length=1)
    """The values to choose from."""
    min: float | int | None = None
    """The smallest value."""
    max: float | int | None = None
    """The largest value."""
    step: float | int | None = Field(None, gt=0)
    """Distance of two values, for log their ratio; empty: any value between (grid: 10 of them)."""
    sampling: Literal["linear", "log"] = "linear"
    """log: every order of magnitude is equally likely."""

    @model_validator(mode="after")
    def _choices_or_bounds(self) -> "Range":
        bounds = self.min is not None and self.max is not None
        if (self.choices is not None) == bounds:
            raise ValueError("set either choices, or both min and max")
        if self.min is not None and self.max is not None and not self.min < self.max:
            raise ValueError(f"min must be below max, got min {self.min} and max {self.max}")
        if self.sampling == "log" and self.min is not None and self.min <= 0:
            raise ValueError(f"log sampling needs min above 0, got {self.min}")
        if self.choices is not None:
            if len(set(self.choices)) < len(self.choices):
                raise ValueError(f"expected choices that differ, found {self.choices}")
            if self.step is not None or self.sampling != "linear":
                raise ValueError("step and sampling are for min and max, not for choices")
            if len({isinstance(c, str) for c in self.choices}) > 1:
                raise ValueError(f"expected choices of one kind, found {self.choices}")
        if self.step is not None and self.min is not None and self.max is not None:
            if self.sampling == "log" and self.step <= 1:
                raise ValueError(f"log sampling: step is a factor above 1, got {self.step}")
            second = self.min * self.step if self.sampling == "log" else self.min + self.step
            if second > self.max:
                raise ValueError(
                    f"step {self.step} leaves nothing but min {self.min} below max {self.max}"
                )
        return self


class Tuner(Section):
    enabled: bool = False
    """Search hyperparameters with KerasTuner; off: the values of this configuration are used."""
    algorithm: Literal["random", "grid", "hyperband", "bayesian", "list"] = "random"
    """How values are chosen; list: those of `trials`, one after the other."""
    objective: str = "val_accuracy"
    """What the best trial is best at: a metric of the model's, with val_ of held-out examples."""
    direction: Literal["max", "min"] | None = None
    """Whether more or less of the objective is better; empty: as Keras knows of its own metrics."""
    space: dict[str, Range] = {}
    """Hyperparameters by their key in this tree: `training.learning_rate`, `model.units.0`."""
    trials: list[dict[str, bool | int | float | str]] = []
    """list: the trials, each of them values by their key in this tree."""
    max_trials: int | None = Field(None, ge=1)
    """random, bayesian: how many trials; grid: the most, empty: all combinations."""
    epochs: int | None = Field(None, ge=1)
    """Epochs of each trial, at most; empty: as `training.epochs`."""
    patience: int | None = Field(None, ge=1)
    """End a trial as `training.patience` says, with this number; empty: with that one."""
    executions_per_trial: int = Field(1, ge=1)
    """Fits of each trial, from other initial weights; the score is their mean."""
    folds: int | None = Field(None, ge=2)
    """Parts of the train split for cross-validation; empty: trials are scored on eval."""
    factor: int = Field(3, ge=2)
    """hyperband: one in `factor` trials goes on, with `factor` times the epochs."""
    iterations: int = Field(1, ge=1)
    """hyperband: how often the whole algorithm runs."""
    initial_trials: int | None = Field(None, ge=1)
    """bayesian: random trials before it; empty: three times the number of hyperparameters."""
    workers: int | None = Field(None, ge=1)
    """Trials at the same time; empty: one on each GPU, or on each core where there is none."""
    keep_checkpoints: int = Field(3, ge=1)
    """How many of the best trials' checkpoints stay on disk."""
    carry_over: Literal["values", "checkpoint"] = "values"
    """What Trainer gets; values: it trains anew; checkpoint: it goes on with the best trial's."""
    carry_epochs: bool = False
    """Train as many epochs as were best for the best trial, instead of `training.epochs`."""

    @property
    def ranges(self) -> set[str]:
        """The keys of which a search draws values, where it is on."""
        return set(self.space) if self.enabled else set()

    @property
    def searched(self) -> set[str]:
        """The keys of which trials have values of their own."""
        return {*self.space, *(key for trial in self.trials for key in trial)}
