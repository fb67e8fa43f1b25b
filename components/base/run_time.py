"""How long a run has taken, for the one node that must end in time for those after it."""

import time

# The nodes after Trainer take about so many times as long as loading TFX does: Evaluator,
# ServingValidator and Report by themselves, beside what each image takes.
_TIMES_LOADING = 4.0

# A node that runs alone, as on a cluster, can't tell how long the others take.
_began: float | None = None
_loading = 0.0


def begin() -> None:
    """A run of the whole graph begins in this process."""
    global _began
    _began = time.monotonic()


def loaded(seconds: float) -> None:
    """TFX was loaded in so many seconds, which tells how quick this machine is."""
    global _loading
    _loading = seconds


def passed() -> float:
    """Seconds since the run began; 0 where this process runs a single node."""
    return 0.0 if _began is None else time.monotonic() - _began


def to_come() -> float:
    """Seconds that the nodes after Trainer will take by themselves."""
    return _TIMES_LOADING * _loading
