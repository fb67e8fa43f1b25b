"""What a model is judged by."""

import itertools
from typing import Any, Literal, cast

from pydantic import Field, field_validator, model_validator

from darkroom.components.base import features
from darkroom.components.base.errors import closest
from darkroom.components.base.sections.section import Section


class TfmaMetric(Section):
    class_name: str
    """A metric of `tfma.metrics` or `keras.metrics`, such as BalancedAccuracy."""
    module: str | None = None
    """The module that has the class of a metric of your own."""
    config: dict[str, Any] = {}
    """The metric's arguments."""
    per_class: bool = False
    """Compute it of each class against all others."""


class Threshold(Section):
    metric: str
    """What is compared (docs/evaluation.md names all)."""
    class_name: str | None = None
    """The class that it is for; `*`: each class; empty: all examples."""
    slice: dict[str, str] = {}
    """The examples that it is for, by values of `evaluation.slices`' features; `*`: each value."""
    min: float | None = None
    """The lowest value allowed."""
    max: float | None = None
    """The highest value allowed."""
    max_drop: float | None = None
    """How much lower than the baseline's it may be; below 0: how much higher it must be."""
    max_rise: float | None = None
    """How much higher than the baseline's it may be; below 0: how much lower it must be."""
    min_examples: int = Field(1, ge=1)
    """With fewer examples of that class or slice nothing is said; where it is named, it fails."""
    judged_by: Literal["value", "worst", "best"] | None = None
    """The measured value, or the worse or better end of its confidence interval. Empty: value for
    min and max; against a baseline best, and worst where it must be better."""

    @model_validator(mode="after")
    def _has_bounds(self) -> "Threshold":
        bounds = (self.min, self.max, self.max_drop, self.max_rise)
        if all(bound is None for bound in bounds):
            raise ValueError("set a bound: min, max, max_drop or max_rise")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(
                f"contradictory bounds: nothing is at least {self.min:g} and at most {self.max:g}"
            )
        drop, rise = self.max_drop, self.max_rise
        if drop is not None and rise is not None and drop + rise < 0:
            raise ValueError(
                f"contradictory bounds: nothing drops by at most {drop:g} and rises by at most "
                f"{rise:g}"
            )
        return self

    @property
    def group(self) -> tuple[Any, ...]:
        """What is compared, for finding others that compare the same."""
        return self.metric, self.class_name, tuple(sorted(self.slice.items()))


class Evaluation(Section):
    split: Literal["auto", "eval", "test"] = "auto"
    """The examples that a model is judged by; auto: the test split where `data.splits.test` names
    one, as its images chose nothing, else eval."""
    min_accuracy: float = Field(0.8, ge=0, le=1)
    """A model with a lower accuracy is not blessed."""
    min_class_recall: float = Field(0.1, ge=0, le=1)
    """Nor is one that recognises less of any class of at least 10 examples: it forgot the class."""
    max_accuracy_drop: float = Field(0.01, ge=0, le=1)
    """Nor is one whose accuracy is surely lower than the baseline's by more than this."""
    max_mae: float | None = Field(None, ge=0)
    """Of numbers: one with a larger mean absolute error is not blessed; empty: any."""
    min_r2: float | None = Field(0.5, le=1)
    """Of numbers: nor is one with a lower R², the share of their variance that it explains; empty:
    any."""
    max_r2_drop: float = Field(0.01, ge=0)
    """Of numbers: nor is one whose R² is surely lower than the baseline's by more than this."""
    baseline: Literal["stable", "none"] = "stable"
    """The model to beat. stable: the stable pushed version; one that can't be compared with it is
    not blessed. none: none, so that any other may replace it."""
    thresholds: list[Threshold] = []
    """What else a model must keep."""
    slices: dict[str, list[float]] = {}
    """Features whose values divide the examples; of a number: the edges of its ranges."""
    metrics: dict[str, TfmaMetric] = {}
    """Metrics of TFMA or Keras beside those of every evaluation, by a name for them."""
    folds: int | None = Field(None, ge=2)
    """Parts of the train split, each of which is held out once: so many models more are trained,
    and min_accuracy holds for what they answer together, too."""
    confidence: float = Field(0.95, gt=0, le=0.99)
    """Share of the bootstrap's draws between the ends of an interval."""

    @field_validator("slices")
    @classmethod
    def _rising(cls, slices: dict[str, list[float]]) -> dict[str, list[float]]:
        for key, edges in slices.items():
            if not edges and key in features.CONTINUOUS:
                raise ValueError(
                    f"{key}: expected the edges of ranges, such as [64, 256], found none"
                )
            if any(high <= low for low, high in itertools.pairwise(edges)):
                raise ValueError(f"{key}: expected edges in rising order, found {edges}")
        return slices

    @model_validator(mode="after")
    def _thresholds_can_be_met(self) -> "Evaluation":
        for number, threshold in enumerate(self.thresholds):
            for key in threshold.slice:
                if key not in self.slices:
                    there = f"it has {', '.join(self.slices)}" if self.slices else "it is empty"
                    raise ValueError(
                        f"thresholds.{number}.slice: {key} is not in evaluation.slices, {there}."
                        f"{closest(key, list(self.slices))}"
                    )
        both_targets = [*self.gate(), *self.gate(of_numbers=True)]
        for one, other in itertools.permutations(both_targets, 2):
            both = [one.group == other.group, one.min is not None, other.max is not None]
            if all(both) and cast(float, one.min) > cast(float, other.max):
                own = {"mae": "max_mae", "r2": "min_r2"}.get(one.metric, "min_accuracy")
                raise ValueError(
                    f"contradictory bounds in thresholds (or {own}): no {one.metric} is at "
                    f"least {one.min:g} and at most {other.max:g}"
                )
        return self

    def gate(self, of_numbers: bool = False) -> list[Threshold]:
        """All thresholds, that of the accuracy first; of numbers those of MAE and R²."""
        first = Threshold(metric="accuracy", min=self.min_accuracy, max_drop=self.max_accuracy_drop)
        if not of_numbers:
            return [first, *self.thresholds]
        first = Threshold(metric="r2", min=self.min_r2, max_drop=self.max_r2_drop)
        mae = [Threshold(metric="mae", max=self.max_mae)] if self.max_mae is not None else []
        return [first, *mae, *self.thresholds]
