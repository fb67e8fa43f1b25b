"""The SavedModel that Trainer hands on: three signatures over one preprocessing graph."""

import functools
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from darkroom.components.base import features
from darkroom.components.compat.keras import random_states
from darkroom.components.compat.tensorflow_transform import transform_graph
from darkroom.components.networks import parts
from darkroom.components.transform import preprocessing
from darkroom.serving import description, signatures
from darkroom.serving.contract import Contract

# TensorFlow Serving replays at most 1000; a few batch sizes are enough to trace and allocate.
_WARMUP_BATCHES = (1, 8)


class ServingModel(tf.Module):
    """A trained network with its preprocessing graph and class names; ``head``: ``model.head``."""

    def __init__(
        self,
        model: keras.Model,
        transform: tft.TFTransformOutput,
        classes: list[str],
        head: str,
        temperature: float = 1.0,
    ):
        """``temperature``: what logits are divided by, as ``training.calibration`` fitted it."""
        super().__init__()
        # A Keras variable that is tracked is saved beside the tf.Variable that it wraps, and
        # TensorFlow Serving restores only the first while the signatures read the second.
        self._network = functools.partial(model, training=False)
        self.weights = [weight.value for weight in model.weights]
        self.seed_generators = [state.value for state in random_states(model)]
        # What a user's own layers hold besides Keras variables: lookup tables, plain variables.
        resources = (tf.Variable, tf.saved_model.experimental.TrackableResource)
        tracked = tf.train.TrackableView(model).descendants()
        self.others = [child for child in tracked if isinstance(child, resources)]
        # The graph's resources must be tracked, or saving fails.
        self.preprocess, self.resources = transform_graph(transform)
        # weights.load reads here which variables are backbone and classifier, in order.
        own = [layer for layer in model.layers if layer.name in parts.NAMES]
        self.parts = [[weight.value for weight in part.weights] for part in own]
        self.contract = Contract(tuple(classes), head == "multi-label")
        self._classes = tf.constant(classes)
        spec = transform.raw_feature_spec()
        wanted = (features.IMAGE_KEY, *features.target_keys(spec))
        self._raw_spec = {key: spec[key] for key in wanted}
        self._head, self._temperature = head, temperature
        self._gives_scores = gives_scores(model, head)

    def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        images = tf.TensorSpec([None], tf.string, signatures.IMAGE_BYTES)
        examples = tf.TensorSpec([None], tf.string, signatures.EXAMPLES_INPUT)
        return {
            signatures.SERVING: self.serve_images.get_concrete_function(images),
            signatures.EXAMPLES: self.serve_examples.get_concrete_function(examples),
            signatures.TRANSFORM: self.transform_features.get_concrete_function(examples),
        }

    @tf.function(autograph=False)
    def serve_images(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """From encoded images, string [batch], to classes and scores, [batch, num_classes] both."""
        raw = {features.IMAGE_KEY: image_bytes[:, tf.newaxis]}
        return self._answer(self.preprocess(raw))

    @tf.function(autograph=False)
    def serve_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """From serialised tf.Examples, string [batch], to the same; the label may be missing."""
        spec = {features.IMAGE_KEY: self._raw_spec[features.IMAGE_KEY]}
        raw = tf.io.parse_example(examples, spec)
        return self._answer(self.preprocess(raw))

    @tf.function(autograph=False)
    def transform_features(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """From serialised tf.Examples, string [batch], to the label, for TFMA."""
        raw = tf.io.parse_example(examples, self._raw_spec)
        return {features.LABEL: preprocessing.target(self.preprocess(raw), len(self._classes))}

    def _answer(self, transformed: preprocessing.Tensors) -> dict[str, tf.Tensor]:
        return self._predict(transformed[features.IMAGE])

    def _predict(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        found = scores(self._network(images), self._head, self._gives_scores, self._temperature)
        classes = tf.repeat(self._classes[tf.newaxis], tf.shape(found)[0], axis=0)
        return {signatures.CLASSES: classes, signatures.SCORES: tf.cast(found, tf.float32)}


class RegressionModel(ServingModel):
    """The same of a network that says numbers: these in their own units, with intervals."""

    def __init__(
        self,
        model: keras.Model,
        transform: tft.TFTransformOutput,
        names: list[str],
        radii: Sequence[float],
    ):
        """``radii``: how far the intervals reach either way, [outputs], in standard deviations."""
        super().__init__(model, transform, names, "regression")
        self.contract = Contract(tuple(names), numbers=True)
        self._radii = tf.constant(radii, tf.float32)

    def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """One more, where there is one number: TensorFlow Serving's Regress takes no other."""
        examples = tf.TensorSpec([None], tf.string, signatures.REGRESS_INPUT)
        is_one = len(self.contract.classes) == 1
        regress = (
            {signatures.REGRESS: self.regress.get_concrete_function(examples)} if is_one else {}
        )
        return {**super().signatures(), **regress}

    @tf.function(autograph=False)
    def regress(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """From serialised tf.Examples, string [batch], to the number alone, float32 [batch, 1]."""
        return {signatures.NUMBERS: self.serve_examples(inputs)[signatures.NUMBERS]}

    @tf.function(autograph=False)
    def transform_features(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """From serialised tf.Examples, string [batch], to the numbers in their units, for TFMA."""
        transformed = self.preprocess(tf.io.parse_example(examples, self._raw_spec))
        return {features.LABEL: _in_units(transformed[features.LABEL], transformed)}

    def _answer(self, transformed: preprocessing.Tensors) -> dict[str, tf.Tensor]:
        numbers = tf.cast(self._network(transformed[features.IMAGE]), tf.float32)
        names = tf.repeat(self._classes[tf.newaxis], tf.shape(numbers)[0], axis=0)
        return {
            signatures.NAMES: names,
            signatures.NUMBERS: _in_units(numbers, transformed),
            signatures.LOW: _in_units(numbers - self._radii, transformed),
            signatures.HIGH: _in_units(numbers + self._radii, transformed),
        }

    def deviations(self, image: bytes) -> list[float]:
        """Of the train split's numbers, [outputs]; any image will do."""
        values = self.preprocess({features.IMAGE_KEY: tf.constant([[image]])})
        return [float(value) for value in values[features.DEVIATION][0]]


def _in_units(deviations: tf.Tensor, transformed: preprocessing.Tensors) -> tf.Tensor:
    return deviations * transformed[features.DEVIATION] + transformed[features.MEAN]


def scores(outputs: tf.Tensor, head: str, are_scores: bool, temperature: float = 1.0) -> tf.Tensor:
    """What clients get of a network's outputs, [batch, num_classes]."""
    if are_scores and temperature == 1.0:
        return _columns(outputs, head, are_scores)
    activation = tf.sigmoid if head == "multi-label" else tf.nn.softmax
    return activation(logits(outputs, head, are_scores) / temperature)


def logits(outputs: tf.Tensor, head: str, are_scores: bool) -> tf.Tensor:
    """What softmax, or sigmoid where multi-label, makes scores of; [batch, num_classes].

    ``outputs`` are a network's, scores or logits.
    """
    outputs = _columns(outputs, head, are_scores)
    if not are_scores:
        return outputs
    tiny = outputs.dtype.as_numpy_dtype(np.finfo(outputs.dtype.as_numpy_dtype).tiny)
    logarithm = tf.math.log(tf.maximum(outputs, tiny))
    if head != "multi-label":
        return logarithm
    return logarithm - tf.math.log(tf.maximum(1.0 - outputs, tiny))


def _columns(outputs: tf.Tensor, head: str, are_scores: bool) -> tf.Tensor:
    if head != "binary":
        return outputs
    # The first class has what the second hasn't.
    first = 1.0 - outputs if are_scores else tf.zeros_like(outputs)
    return tf.concat([first, outputs], axis=1)


def of_head(
    model: keras.Model,
    transform: tft.TFTransformOutput,
    names: list[str],
    head: str,
    temperature: float = 1.0,
    radii: Sequence[float] = (),
) -> ServingModel:
    """What to export for ``model.head``; ``names`` are of classes, or of numbers.

    ``radii``: as of ``RegressionModel``; none: intervals of no width.
    """
    if head == "regression":
        return RegressionModel(model, transform, names, radii or [0.0] * len(names))
    return ServingModel(model, transform, names, head, temperature)


def save(
    serving_model: ServingModel,
    directory: str,
    sample_images: list[bytes],
    facts: Mapping[str, object] | None = None,
) -> None:
    """Replaces the SavedModel in a directory; ``sample_images``, encoded, are for its warm-up."""
    if Path(directory).is_dir():
        shutil.rmtree(directory)
    tf.saved_model.save(serving_model, directory, signatures=serving_model.signatures())
    warmup = Path(directory, signatures.WARMUP_PATH)
    warmup.parent.mkdir(parents=True)
    serving_model.contract.write(Path(directory))
    Path(directory, description.FACTS_PATH).write_text(json.dumps(facts or {}, indent=2), "utf-8")
    with tf.io.TFRecordWriter(str(warmup)) as writer:
        for batch_size in _WARMUP_BATCHES:
            images = (sample_images * batch_size)[:batch_size]
            tensor = tf.make_tensor_proto(images, tf.string)
            spec, inputs = {"signature_name": signatures.SERVING}, {signatures.IMAGE_BYTES: tensor}
            log = {"request": predict_pb2.PredictRequest(model_spec=spec, inputs=inputs)}
            writer.write(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString())


def gives_scores(model: keras.Model, head: str) -> bool:
    """Whether a network ends in a softmax or, of other heads of classes, a sigmoid."""
    return head != "regression" and _ends_in(model, "softmax" if head == "softmax" else "sigmoid")


def _ends_in(layer: keras.Layer, activation: str) -> bool:
    while isinstance(layer, keras.Model):
        layer = layer.layers[-1]
    if isinstance(layer, keras.layers.Softmax):
        return activation == "softmax"
    return getattr(layer, "activation", None) is keras.activations.get(activation)
