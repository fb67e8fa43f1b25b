"""Examples for tests."""

import numpy as np

from darkroom.components.training.dataset import Examples
from darkroom.components.training.rows import Rows


def of_arrays(inputs: np.ndarray, labels: np.ndarray, copies: int = 1) -> Examples:
    """Examples that are in memory already."""
    rows = Rows(inputs.shape[1:], inputs.dtype, inputs.nbytes)
    rows.append(inputs)
    return Examples(rows, labels, copies=copies)
