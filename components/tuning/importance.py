"""Which hyperparameters of a search mattered."""

from collections.abc import Collection, Sequence

import numpy as np
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.inspection import permutation_importance
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from darkroom.components.base.settings import Value

# With fewer, synthetic searches over five hyperparameters named the right one as if by chance.
FEWEST_TRIALS = 10
METHOD = "permutation importance of a random forest"
_SEED, _TREES, _REPEATS = 0, 100, 20  # as many trees as scikit-learn's default


def importances(
    values: list[dict[str, Value]], scores: list[float], log: Collection[str] = frozenset()
) -> dict[str, float]:
    """How much each hyperparameter mattered to the score: shares of 1, the largest first.

    A random forest is fitted from values to scores; a hyperparameter matters as much as the
    forest errs more when its values are shuffled among the trials (Breiman, Random Forests, 2001).
    Empty where trials with a score are fewer than ``FEWEST_TRIALS``, or don't tell.

    Args:
      values: hyperparameters of each trial; conditional ones may be missing. One that is a string
        in any trial is categorical.
      scores: of the same trials; one that is no finite number is left out with its trial.
      log: names of hyperparameters that were sampled on a logarithmic scale.
    """
    kept = [(v, s) for v, s in zip(values, scores, strict=True) if np.isfinite(s)]
    if len(kept) < FEWEST_TRIALS:
        return {}
    names = dict.fromkeys(name for v, _ in kept for name in v)
    columns = {name: [v.get(name) for v, _ in kept] for name in names}
    columns = {name: column for name, column in columns.items() if len(set(column)) > 1}
    target = np.array([s for _, s in kept])
    if not columns or np.ptp(target) == 0:
        return {}
    table = np.column_stack([_numbers(column, name in log) for name, column in columns.items()])
    categorical = [i for i, column in enumerate(columns.values()) if is_categorical(column)]
    # One-hot behind the shuffling: a categorical hyperparameter is shuffled, and counts, as one.
    model = make_pipeline(
        make_column_transformer((OneHotEncoder(), categorical), remainder="passthrough"),
        RandomForestRegressor(_TREES, random_state=_SEED),
    )
    model.fit(table, target)
    errors = permutation_importance(model, table, target, n_repeats=_REPEATS, random_state=_SEED)
    weights = np.maximum(errors.importances_mean, 0)
    if not weights.sum() > 0:
        return {}
    shares = dict(zip(columns, (weights / weights.sum()).tolist(), strict=True))
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def is_categorical(column: Collection[Value | None]) -> bool:
    """Whether values are names, not numbers."""
    return any(isinstance(value, str) for value in column)


def _numbers(column: Sequence[Value | None], log: bool) -> np.ndarray:
    """A column as float64 [trials]; a category becomes its position."""
    if is_categorical(column):
        order = sorted(set(column), key=str)
        return np.array([order.index(value) for value in column], float)
    numbers = np.array([np.nan if value is None else value for value in column], float)
    if log and np.nanmin(numbers) > 0:
        numbers = np.log(numbers)
    # Missing is lower than all others: one split of a tree sets it apart.
    return np.nan_to_num(numbers, nan=np.nanmin(numbers) - 1 - np.ptp(numbers[numbers == numbers]))
