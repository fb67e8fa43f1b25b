"""The sections of the configuration that say what model is made, with every default of theirs.

What several must agree on is checked in `Config`; nodes get them as JSON (``base.settings``).
"""

from darkroom.components.base.sections.data import Data, Preprocessing, Records, Splits
from darkroom.components.base.sections.evaluation import Evaluation, TfmaMetric, Threshold
from darkroom.components.base.sections.network import Augmentation, Model
from darkroom.components.base.sections.section import Section
from darkroom.components.base.sections.serving import Batching, Report, Serving, Validation
from darkroom.components.base.sections.training import LearningRateScan, Training, Transfer
from darkroom.components.base.sections.tuner import Range, Tuner

__all__ = [
    "Augmentation",
    "Batching",
    "Data",
    "Evaluation",
    "LearningRateScan",
    "Model",
    "Preprocessing",
    "Range",
    "Records",
    "Report",
    "Section",
    "Serving",
    "Splits",
    "TfmaMetric",
    "Threshold",
    "Training",
    "Transfer",
    "Tuner",
    "Validation",
]
