"""What is fitted after the training, on images that no weight was fitted on.

A temperature for logits, so that scores are right as often as they say: Guo et al. 2017 (On
Calibration of Modern Neural Networks): one number corrects most of a network's over- or
underconfidence, and changes no class.

Of numbers the width of intervals that hold for a wanted share of images, whatever the distribution:
split conformal prediction (Lei et al. 2018, Distribution-Free Predictive Inference for Regression).
"""

import functools
import math
from collections.abc import Callable

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


def radii(model: keras.Model, validation: dataset.Examples, config: NetworkSettings) -> list[float]:
    """How far the intervals of ``training.interval`` reach either way, [outputs], in deviations."""
    chosen = _some(validation, min(len(validation), _MOST_IMAGES))
    said = outputs_of(model, chosen, config, lambda outputs: outputs)
    return held(np.abs(said - chosen.labels), config.training.interval)


def held(errors: np.ndarray, share: float) -> list[float]:
    """The least error of each output, of [count, outputs], that holds for a share of other images.

    Of too few images to say so it is the largest.
    """
    place = min(math.ceil((len(errors) + 1) * share), len(errors)) - 1
    return [float(value) for value in np.sort(errors, axis=0)[place]]


def temperature(model: keras.Model, validation: dataset.Examples, config: NetworkSettings) -> float:
    """The most likely temperature for ``validation``'s labels; 1 without calibration."""
    count = images(config.training, len(validation))
    if not count:
        return 1.0
    head = config.model.head
    chosen, are_scores = _some(validation, count), export.gives_scores(model, head)
    logits = functools.partial(export.logits, head=head, are_scores=are_scores)
    return fitted(outputs_of(model, chosen, config, logits), chosen.labels)


def _some(examples: dataset.Examples, count: int) -> dataset.Examples:
    return examples.part(np.linspace(0, len(examples) - 1, count).astype(int))


def outputs_of(
    model: keras.Model,
    examples: dataset.Examples,
    config: NetworkSettings,
    make: Callable[[tf.Tensor], tf.Tensor],
) -> np.ndarray:
    """What ``make`` makes of the network's outputs, float64 [count, ...]."""

    @tf.function(autograph=False, reduce_retracing=True)
    def of_batch(inputs: tf.Tensor) -> tf.Tensor:
        return make(tf.cast(model(inputs, training=False), tf.float32))

    batches = dataset.batches(examples, config.training.batch_size)
    outputs: np.ndarray = np.concatenate([of_batch(inputs).numpy() for inputs, _ in batches])
    return outputs.astype(float)


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
