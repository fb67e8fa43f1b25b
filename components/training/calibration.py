"""A temperature for a trained network's logits, so that scores are right as often as they say.

Guo et al. 2017 (On Calibration of Modern Neural Networks): one number, fitted on images that no
weight was fitted on, corrects most of a network's over- or underconfidence, and changes no class.
"""

import functools

import keras
import numpy as np
import tensorflow as tf
from scipy import optimize, special

from darkroom.components.base import sections
from darkroom.components.base.settings import NetworkSettings
from darkroom.components.networks import export
from darkroom.components.training import dataset

_MOST_IMAGES = 5_000  # from there on one number doesn't change with more
# What is known before any image: a temperature is within a factor of about 1.6 of 1. A few
# images that are all right would else ask for scores of exactly 0 and 1.
_SPREAD = 0.5  # standard deviation of its logarithm
_LIMITS = (-3.0, 3.0)  # of its logarithm


def images(training: sections.Training, count: int) -> int:
    """How many of ``count`` images of the eval split it takes; 0 without calibration."""
    return min(count, _MOST_IMAGES) if training.calibration == "temperature" else 0


def temperature(model: keras.Model, validation: dataset.Examples, config: NetworkSettings) -> float:
    """The most likely temperature for ``validation``'s labels; 1 without calibration."""
    count = images(config.training, len(validation))
    if not count:
        return 1.0
    head = config.model.head
    chosen = validation.part(np.linspace(0, len(validation) - 1, count).astype(int))
    are_scores = export.gives_scores(model, head)

    @tf.function(autograph=False, reduce_retracing=True)
    def logits(inputs: tf.Tensor) -> tf.Tensor:
        outputs = tf.cast(model(inputs, training=False), tf.float32)
        return export.logits(outputs, head, are_scores)

    batches = dataset.batches(chosen, config.training.batch_size)
    found = np.concatenate([logits(inputs).numpy() for inputs, _ in batches]).astype(float)
    return fitted(found, chosen.labels)


def fitted(logits: np.ndarray, labels: np.ndarray) -> float:
    """The most likely temperature of logits [count, num_classes].

    ``labels``: class numbers int [count]; multi-label: 0 and 1 [count, num_classes].
    """
    finite = np.isfinite(logits).all(axis=1)
    logits, labels = logits[finite], labels[finite]
    loss = functools.partial(_loss, logits=logits, labels=labels)
    found = optimize.minimize_scalar(loss, bounds=_LIMITS, method="bounded")
    return float(np.exp(found.x))


def _loss(logarithm: float, logits: np.ndarray, labels: np.ndarray) -> float:
    """Less what is likely, in nats: of all labels, and of the temperature itself."""
    scaled = logits * np.exp(-logarithm)
    if labels.ndim == 1:
        of_labels = -special.log_softmax(scaled, axis=1)[np.arange(len(labels)), labels]
    else:
        of_labels = np.logaddexp(0, np.where(labels > 0, -scaled, scaled))
    return float(of_labels.sum() + (logarithm / _SPREAD) ** 2 / 2)
