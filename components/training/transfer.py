"""Training a network that starts from another task's weights, part by part."""

import math

import keras
import numpy as np
import tensorflow as tf

from darkroom.components.base import progress, sections
from darkroom.components.base.errors import DarkroomError
from darkroom.components.base.settings import NetworkSettings, TunerSettings
from darkroom.components.networks import models, parts
from darkroom.components.networks.architectures import ARCHITECTURES
from darkroom.components.training import augmentation, dataset
from darkroom.components.training.model_run import Comparison, History
from darkroom.components.training.rows import Rows, free_bytes

# Keys that decide nothing but what becomes of a frozen backbone's outputs.
_OF_CLASSIFIER = ("training.", "model.units", "model.dropout", "model.logit_scale")
_OF_CLASSIFIER_ALONE = ("model.activation", "model.initializer", "model.max_norm")


def is_shared(config: TunerSettings) -> bool:
    """Whether all trials of a search train a classifier on the outputs of the same backbone."""
    of_classifier: tuple[str, ...] = _OF_CLASSIFIER
    if config.model.backbone_fn is not None or config.model.name in ARCHITECTURES:
        of_classifier += _OF_CLASSIFIER_ALONE
    frozen = config.transfer.mode != "none"
    return frozen and all(key.startswith(of_classifier) for key in config.tuner.searched)


def frozen_splits(
    backbone: keras.Model, splits: dataset.Splits, config: NetworkSettings, node: str = "Trainer"
) -> dataset.Splits:
    """The backbone's outputs, float32, for both splits; for train, of each augmented copy.

    Raises a DarkroomError where memory's budget and the disk can't hold them.
    """
    train, validation = splits
    left = config.training.cache_bytes - train.inputs.held_bytes - validation.inputs.held_bytes
    count, free = config.augmentation.copies * len(train) + len(validation), free_bytes()
    size = count * math.prod(backbone.output_shape[1:]) * np.dtype(np.float32).itemsize
    if size > left + free:
        raise DarkroomError(
            f"The frozen backbone's outputs for {count:,} images take {size / 2**30:,.1f} GiB, "
            f"more than training.cache_budget and the {free / 2**30:,.1f} GiB that are free for "
            "temporary files. Set TMPDIR to a folder on a larger disk, augmentation.copies to "
            "less, or transfer.mode to none."
        )
    kept = _outputs(backbone, train, config, left, node, config.augmentation)
    return kept, _outputs(backbone, validation, config, left - kept.inputs.held_bytes, node)


def _outputs(
    backbone: keras.Model,
    examples: dataset.Examples,
    config: NetworkSettings,
    left: int,
    node: str,
    changes: sections.Augmentation | None = None,
) -> dataset.Examples:
    """The backbone's outputs for the examples, or for copies augmented by ``changes``."""
    batch_size, copies = config.training.batch_size, changes.copies if changes else 1
    steps = copies * -(-len(examples) // batch_size)
    batches = dataset.batches(examples, batch_size).repeat(copies)
    numbered = batches.enumerate().map(lambda step, pair: (step, *pair))
    outputs = Rows(backbone.output_shape[1:], np.float32, left)
    run = tf.function(lambda images: backbone(images, training=False), reduce_retracing=True)
    changed = augmentation.augment(numbered, changes, config.training.seed, config.model.image_size)
    for step, (images, _) in enumerate(changed, 1):
        outputs.append(run(images).numpy())
        words = f"frozen backbone, {len(outputs):,} outputs"
        progress.report(node, words, step / steps)
    return dataset.Examples(outputs, examples.labels, copies=copies)


def classifier(part: keras.Model, config: NetworkSettings) -> keras.Model:
    """The classifier of a network, compiled to be trained alone."""
    # On two CPU cores XLA halved the time of dense layers; convolutions take longer.
    jit_compile = config.training.jit_compile is not False
    alone = config.with_values({"training.jit_compile": jit_compile})
    return models.compiled(part, alone)


def compared(history: History, scratch: History, epochs: int) -> Comparison:
    """Compares the best of the first epochs of a transferred training and of one from scratch."""
    metric = "val_accuracy" if "val_accuracy" in history else "val_loss"
    best = max if metric == "val_accuracy" else min
    transferred, random = (best(of[metric][:epochs]) for of in (history, scratch))
    return Comparison(epochs=epochs, metric=metric, transferred=transferred, scratch=random)


def groups(backbone: keras.Model) -> list[list[keras.Layer]]:
    """The layers with weights from the top to the stem, in groups of the same resolution.

    Batch normalisation stays out: statistics of few images would undo training (Keras's guide).
    """
    layers = parts.leaves(backbone)
    sizes = [_places(layer) for layer in layers]
    # Squeeze-and-excitation has single places in the middle of a stage: what comes later counts.
    sizes = [max(sizes[number:]) for number in range(len(sizes))]
    by_size: dict[int, list[keras.Layer]] = {}
    for layer, size in zip(layers, sizes, strict=True):
        if layer.weights and not isinstance(layer, keras.layers.BatchNormalization):
            by_size.setdefault(size, []).append(layer)
    return list(reversed(by_size.values()))


def rates(model: keras.Model, config: NetworkSettings) -> dict[str, float]:
    """Shares of the learning rate by ``transfer.group_decay``, by the variables' paths."""
    decay = config.transfer.group_decay
    if decay == 1.0:
        return {}
    return {
        variable.path: decay**number
        for number, group in enumerate(groups(model.get_layer(parts.BACKBONE)))
        for layer in group
        for variable in layer.trainable_variables
    }


def _places(layer: keras.Layer) -> int:
    shape = layer.output.shape
    return shape[1] * shape[2] if len(shape) == 4 else 1


def unfreeze(model: keras.Model, layers: list[keras.Layer]) -> None:
    """Makes the classifier and these layers of the backbone trainable, and no others."""
    backbone = model.get_layer(parts.BACKBONE)
    backbone.trainable = bool(layers)
    for leaf in parts.leaves(backbone):
        leaf.trainable = leaf in layers
