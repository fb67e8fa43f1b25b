"""The networks. Each is a function of the configuration that returns a compiled Keras model.

The contract, also for a user's own ``model.build_fn``: ``build_model(hp, config, num_classes)``
returns a compiled ``keras.Model`` from images [batch, height, width, channels], as the transform
graph makes them, to logits [batch, num_classes], or to scores where the last layer has a softmax.

``config.model.head`` says what the outputs mean: ``softmax``, one of the classes; ``multi-label``,
yes or no to each; ``binary``, one output [batch, 1], for the second of two classes;
``regression``, an output for each number, in standard deviations from its mean.

Hyperparameters that the search space names by configuration key arrive in ``config``; others are
asked for with KerasTuner's ``hp.Float(...)``.
"""

import math
import os
import re
from collections.abc import Mapping, Sequence

import keras
import keras_tuner
import tensorflow as tf

from darkroom.components.base import remote, sections, tracing, user_code
from darkroom.components.base.errors import DarkroomError
from darkroom.components.base.settings import NetworkSettings
from darkroom.components.compat.keras import discriminative
from darkroom.components.networks import efficientnet_lite, layers, losses, parts, weights
from darkroom.components.networks.architectures import ARCHITECTURES

# Input values: 20 batches of 64 CIFAR-10 images, one of 32 images of 224 by 224.
_VALUES_PER_EXECUTION = 2**22
_NOT_DECAYED = ["bias", "beta", "gamma"]  # they turn or stretch nothing that could overfit
_OPTIMIZERS = {
    "adam": keras.optimizers.Adam,
    "adagrad": keras.optimizers.Adagrad,
    "rmsprop": keras.optimizers.RMSprop,
    "sgd": keras.optimizers.SGD,
}


def build_model(
    hp: keras_tuner.HyperParameters, config: NetworkSettings, classes: Sequence[str]
) -> keras.Model:
    """The model that the configuration names, of these classes in the order of its outputs.

    ``hp`` are a trial's hyperparameters, or empty.
    """
    num_classes = len(classes)
    if config.model.head == "binary" and num_classes != 2:
        raise DarkroomError(
            f"model.head is binary, which is for two classes, and the train split has "
            f"{num_classes}. Set it to softmax, or take the other classes out of the data."
        )
    path = config.model.build_fn
    if path is None:
        own = {"cnn": cnn, "dense": dense, "residual": residual}
        make = own.get(config.model.name, application)
        if config.model.backbone_fn is not None:
            make = own_backbone
        model = compiled(make(config, num_classes), config)
        if config.model.weights not in (None, "imagenet"):
            weights.load(model, str(remote.fetch(config.model.weights)), classes)
        return model
    build_fn = user_code.resolve(path, "model.build_fn")
    model = user_code.call(build_fn, path, hp, config, num_classes)
    if not isinstance(model, keras.Model) or not model.compiled:
        received = "one that is not compiled" if isinstance(model, keras.Model) else repr(model)
        raise DarkroomError(
            f"model.build_fn: expected {path} to return a compiled keras.Model, "
            f"received {received}."
        )
    tracing.check(model, image_shape(config), f"model.build_fn: {path}", parts.leaves(model))
    expected = (None, _outputs(config, num_classes))
    # A subclassed model tells its shape only after the first batch.
    output_shape = getattr(model, "output_shape", expected)
    if output_shape != expected:
        raise DarkroomError(
            f"model.build_fn: expected {path} to return a model with the output shape "
            f"{expected} for model.head {config.model.head} and {num_classes} classes, "
            f"received {output_shape}."
        )
    return model


def image_shape(config: NetworkSettings) -> tuple[int, int, int]:
    """Height, width and channels of the images that a network gets."""
    return config.preprocessing.height, config.preprocessing.width, config.preprocessing.channels


def _seen(config: NetworkSettings) -> tuple[int, int]:
    """Height and width at which the network sees the images."""
    height, width = config.model.image_size or image_shape(config)[:2]
    return height, width


def _outputs(config: NetworkSettings, num_classes: int) -> int:
    return 1 if config.model.head == "binary" else num_classes


def begin(config: NetworkSettings) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """A network's input, and what ``model.input_layer`` makes of it; raises that layer's errors."""
    images = hidden = _input(config)
    if config.model.image_size is not None:
        hidden = keras.ops.image.resize(images, config.model.image_size)
    path = config.model.input_layer
    if path is None:
        return images, hidden
    who = f"model.input_layer: {path}"
    layer = user_code.call(user_code.resolve(path, "model.input_layer"), who)
    if not isinstance(layer, keras.Layer):
        raise DarkroomError(f"{who}: expected a keras.Layer, received {layer!r}.")
    output = user_code.call(layer, who, hidden, failed=tracing.FAILED)
    is_tensor = isinstance(output, keras.KerasTensor)
    if not is_tensor or len(output.shape) != 4:
        received = f"shape {output.shape}" if is_tensor else repr(output)
        raise DarkroomError(
            f"{who}: expected it to give images [batch, height, width, channels], "
            f"received {received}."
        )
    tracing.check(keras.Model(images, output), image_shape(config), who, parts.leaves(layer))
    return images, output


def cnn(config: NetworkSettings, num_classes: int) -> keras.Model:
    """Blocks of convolutions, batch normalisation and pooling, then dense layers."""
    images, hidden = begin(config)
    model = config.model
    if model.stem == "whitened":
        hidden = keras.layers.Activation(model.activation)(layers.Whitening()(hidden))
    for number, block in enumerate(map(_listed, model.filters)):
        pooled = model.pooled_blocks is None or number < model.pooled_blocks
        for place, filters in enumerate(block):
            size = (model.first_kernel_size if number == place == 0 else None) or model.kernel_size
            last = place == len(block) - 1
            # Batch normalisation of it comes right after it, with a bias of its own.
            before = model.normalize == "each" or (last and model.normalize == "before")
            options = {"padding": model.padding, **_kernel(model, axes=3)}
            convolution = keras.layers.Conv2D(filters, size, use_bias=not before, **options)
            hidden = convolution(hidden)
            if last and pooled and model.normalize == "each":
                hidden = _max_pooled(hidden, model)
            if before:
                hidden = layers.BatchNormalization()(hidden)
            hidden = keras.layers.Activation(model.activation)(hidden)
            if last and model.normalize == "after":
                hidden = layers.BatchNormalization()(hidden)
        if pooled and model.normalize != "each":
            hidden = _max_pooled(hidden, model)
    return _whole("cnn", images, _pooled(hidden, model, "flatten"), config, num_classes)


def _max_pooled(hidden: keras.KerasTensor, model: sections.Model) -> keras.KerasTensor:
    # "same" lets images shrink to one pixel instead of failing at odd sizes.
    return keras.layers.MaxPooling2D(padding=model.padding)(hidden)


def residual(config: NetworkSettings, num_classes: int) -> keras.Model:
    """Stages of pre-activated residual blocks (He et al. 2016), each of half height and width."""
    images, hidden = begin(config)
    widths = [width for group in config.model.filters for width in _listed(group)]
    hidden = _convolution(hidden, widths[0], 3, 1, config.model)
    for stage, width in enumerate(widths):
        for block in range(config.model.blocks):
            stride = 2 if stage and not block else 1
            hidden = _residual_block(hidden, width, stride, config.model)
    hidden = _pooled(_activated(hidden, config.model), config.model)
    return _whole("residual", images, hidden, config, num_classes)


def _activated(hidden: keras.KerasTensor, model: sections.Model) -> keras.KerasTensor:
    hidden = layers.BatchNormalization()(hidden)
    return keras.layers.Activation(model.activation)(hidden)


def _residual_block(
    hidden: keras.KerasTensor, width: int, stride: int, model: sections.Model
) -> keras.KerasTensor:
    shortcut = hidden
    hidden = _activated(hidden, model)
    if stride > 1 or shortcut.shape[-1] != width:
        shortcut = hidden
        if stride > 1:
            # Instead of a convolution that looks at every fourth place only (He et al. 2019), and
            # with which TensorFlow 2.16's oneDNN corrupted memory where it has 8 channels.
            shortcut = keras.layers.AveragePooling2D(stride, padding="same")(hidden)
        shortcut = _convolution(shortcut, width, 1, 1, model)
    hidden = _activated(_convolution(hidden, width, 3, stride, model), model)
    hidden = _convolution(hidden, width, 3, 1, model)
    return keras.layers.Add()([shortcut, hidden])


def _convolution(
    hidden: keras.KerasTensor, width: int, size: int, stride: int, model: sections.Model
) -> keras.KerasTensor:
    # Without a bias: batch normalisation, which has one, follows somewhere.
    options = {"padding": "same", "use_bias": False, **_kernel(model, axes=3)}
    return keras.layers.Conv2D(width, size, stride, **options)(hidden)


def application(config: NetworkSettings, num_classes: int) -> keras.Model:
    """An architecture of ``keras.applications``, in its own range of pixels, and our classifier."""
    name = config.model.name
    images, hidden = begin(config)
    shape = (*_seen(config), images.shape[-1])
    if hidden.shape[1:] != shape:
        raise DarkroomError(
            f"model.input_layer: {config.model.input_layer}: expected it to give images of "
            f"{name}'s shape {shape}, received {hidden.shape[1:]}."
        )
    pretrained = "imagenet" if config.model.weights == "imagenet" else None
    try:
        if ARCHITECTURES[name].package is not None:
            architecture = efficientnet_lite.build(name, pretrained, shape)
        else:
            architecture = getattr(keras.applications, name)(
                include_top=False, weights=pretrained, input_shape=shape
            )
    except Exception as error:
        url = re.search(r"https?://\S+/([^/\s:]+)", str(error))
        if pretrained is None or url is None:
            raise
        home = os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")
        raise DarkroomError(
            f"model.weights: ImageNet's weights of {name} can't be downloaded. Put the file "
            f"{url[1]} of keras.applications into {os.path.join(home, 'models')}."
        ) from error
    hidden = architecture(_Pixels(ARCHITECTURES[name].pixels, name="pixels")(hidden))
    return _whole(name.lower(), images, _pooled(hidden, config.model), config, num_classes)


def own_backbone(config: NetworkSettings, num_classes: int) -> keras.Model:
    """The network of ``model.backbone_fn``, and our classifier; raises that function's errors."""
    path = config.model.backbone_fn
    assert path is not None
    who = f"model.backbone_fn: {path}"
    images, hidden = begin(config)
    backbone = user_code.call(user_code.resolve(path, "model.backbone_fn"), who, config)
    if not isinstance(backbone, keras.Model):
        raise DarkroomError(f"{who}: expected it to return a keras.Model, received {backbone!r}.")
    tracing.check(backbone, hidden.shape[1:], who, parts.leaves(backbone))
    hidden = user_code.call(backbone, who, hidden, failed=tracing.FAILED)
    is_tensor = isinstance(hidden, keras.KerasTensor)
    if not is_tensor or len(hidden.shape) != 4 or None in hidden.shape[1:]:
        raise DarkroomError(
            f"{who}: expected a model with one spatial output [batch, rows, columns, channels], "
            f"received {f'shape {hidden.shape}' if is_tensor else repr(hidden)}. Take the pooling "
            "and the classifier out of it: model.pooling and model.units are for that."
        )
    return _whole("own", images, _pooled(hidden, config.model), config, num_classes)


def _pooled(
    hidden: keras.KerasTensor, model: sections.Model, usual: str = "average"
) -> keras.KerasTensor:
    kinds = {
        "average": keras.layers.GlobalAveragePooling2D,
        "max": keras.layers.GlobalMaxPooling2D,
        "flatten": keras.layers.Flatten,
    }
    return kinds[usual if model.pooling == "auto" else model.pooling]()(hidden)


def _kernel(model: sections.Model, axes: int = 1) -> dict[str, object]:
    """How a layer's weights begin and are bounded; one unit's are along the first ``axes``."""
    initializer = layers.Dirac() if model.initializer == "dirac" else model.initializer
    bounded = model.max_norm and keras.constraints.MaxNorm(model.max_norm, list(range(axes)))
    return {"kernel_initializer": initializer, "kernel_constraint": bounded}


@keras.saving.register_keras_serializable("darkroom")
class _Pixels(keras.layers.Layer):
    """Scales images from [0, 1] to the range that an architecture was made for."""

    # Mean and deviation of ImageNet's pixels in [0, 1], as in keras.applications' "torch" mode;
    # the means in [0, 255] of its "caffe" mode.
    _MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    _BGR_MEAN = (103.939, 116.779, 123.68)

    def __init__(self, pixels: str, **options: object):
        super().__init__(**options)
        self.pixels = pixels

    def call(self, images: keras.KerasTensor) -> keras.KerasTensor:
        if self.pixels == "signed":
            return images * 2.0 - 1.0
        if self.pixels == "bytes":
            return images * 255.0
        if self.pixels == "imagenet":
            return (images - list(self._MEAN)) / list(self._DEVIATION)
        return images[..., ::-1] * 255.0 - list(self._BGR_MEAN)

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "pixels": self.pixels}


def dense(config: NetworkSettings, num_classes: int) -> keras.Model:
    """Dense layers on the flattened image."""
    images, hidden = begin(config)
    return _whole("dense", images, keras.layers.Flatten()(hidden), config, num_classes)


def compiled(
    model: keras.Model, config: NetworkSettings, rates: Mapping[str, float] | None = None
) -> keras.Model:
    """The model with the configured optimizer and loss, and accuracy, or of numbers their MAE.

    ``rates``: shares of the learning rate, by the paths of variables that don't have all of it.
    """
    training = config.training
    if config.model.head == "regression":
        metric = keras.metrics.MeanAbsoluteError(name="mae")
    else:
        accuracy = _accuracy if config.model.head == "softmax" else _binary_accuracy
        metric = keras.metrics.MeanMetricWrapper(accuracy, name="accuracy")
    options: dict[str, object] = {}
    if training.optimizer == "sgd":
        options = {"momentum": training.momentum, "nesterov": training.nesterov}
    kind = _OPTIMIZERS[training.optimizer]
    optimizer = (discriminative(kind, rates) if rates else kind)(
        training.learning_rate,
        weight_decay=training.weight_decay or None,
        global_clipnorm=training.clip_norm,
        **options,
    )
    if training.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=_NOT_DECAYED)
    model.compile(
        optimizer=optimizer,
        loss=losses.of(training, config.model.head),
        metrics=[metric],
        jit_compile=bool(training.jit_compile),
        steps_per_execution=_steps_per_execution(model, training),
    )
    return model


@keras.saving.register_keras_serializable("darkroom")
def _accuracy(y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
    """Whether the best class is right; of a mixed image, that which it has most of."""
    if losses.are_shares(y_true, y_pred):
        return keras.metrics.categorical_accuracy(y_true, y_pred)
    return keras.metrics.sparse_categorical_accuracy(y_true, y_pred)


@keras.saving.register_keras_serializable("darkroom")
def _binary_accuracy(y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
    y_true = keras.ops.round(y_true)  # of a mixed image
    return keras.metrics.binary_accuracy(y_true, y_pred, threshold=0.0)


def _steps_per_execution(model: keras.Model, training: sections.Training) -> int:
    """The number configured, or less: Keras runs whole executions only, so it divides an epoch."""
    # With large inputs a step takes long enough by itself, and an interruption waits for its end.
    if tf.distribute.get_strategy().num_replicas_in_sync > 1:
        return 1  # Keras 3.8's loop of steps fails in TensorFlow where an iterator has replicas
    values = training.batch_size * math.prod(side or 1 for side in model.input_shape[1:])
    most: int = max(1, min(training.steps_per_execution, _VALUES_PER_EXECUTION // values))
    steps = training.steps_per_epoch
    return most if steps is None else max(n for n in range(1, most + 1) if steps % n == 0)


def _listed(group: int | list[int]) -> list[int]:
    return group if isinstance(group, list) else [group]


def _whole(
    name: str,
    images: keras.KerasTensor,
    hidden: keras.KerasTensor,
    config: NetworkSettings,
    num_classes: int,
) -> keras.Model:
    """The network in two parts, which transfer learning trains apart: backbone and classifier."""
    backbone = keras.Model(images, hidden, name=parts.BACKBONE)
    follows = classifier(backbone.output_shape[1:], config, num_classes)
    image = _input(config)
    return keras.Model(image, follows(backbone(image)), name=name)


def _input(config: NetworkSettings) -> keras.KerasTensor:
    """The network's images: of any size where it resizes them, as crops have their size already."""
    height, width, channels = image_shape(config)
    any_size = config.model.image_size is not None
    return keras.Input(
        (None, None, channels) if any_size else (height, width, channels), name="image"
    )


def classifier(shape: tuple[int, ...], config: NetworkSettings, num_classes: int) -> keras.Model:
    """From a backbone's outputs [batch, *shape] to logits."""
    model, dense = config.model, keras.layers.Dense
    inputs = hidden = keras.Input(shape, name="hidden")
    if model.backbone_fn is not None or model.name != "dense":  # which would drop pixels
        hidden = keras.layers.Dropout(model.dropout)(hidden)
    for units in filter(None, model.units):
        hidden = dense(units, model.activation, **_kernel(model))(hidden)
        hidden = keras.layers.Dropout(model.dropout)(hidden)
    # In float32 also where the rest computes with 16 bits, which a softmax is too fine for.
    outputs = _outputs(config, num_classes)
    logits = dense(outputs, name="logits", dtype="float32")(hidden)
    if model.logit_scale != 1:
        logits = keras.layers.Rescaling(model.logit_scale, dtype="float32")(logits)
    return keras.Model(inputs, logits, name=parts.CLASSIFIER)
