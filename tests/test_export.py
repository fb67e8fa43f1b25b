"""Parity: the same encoded images through every way in give equal scores."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_serving.apis import prediction_log_pb2

from darkroom.components.base import features, tfrecord
from darkroom.components.base.settings import NetworkSettings
from darkroom.components.networks import export, models
from darkroom.components.training import dataset, fitting
from darkroom.components.training.transform_graph import TransformGraph
from darkroom.components.transform import vocabulary
from darkroom.pipeline.config import load
from darkroom.serving import signatures
from tests.conftest import Project
from tests.settings import configured


def transform_of(project: Project) -> tft.TFTransformOutput:
    database = sqlite3.connect(project.folder / "runs" / "small" / "metadata.sqlite")
    query = "select uri from Artifact where uri like '%/transform_graph/%' order by id desc"
    [uri] = database.execute(query).fetchmany(1)[0]
    return tft.TFTransformOutput(uri)


@pytest.fixture(scope="module")
def eval_file(small: Project) -> Path:
    [path] = (small.folder / "runs" / "small" / "data" / "eval").iterdir()
    return path


@pytest.fixture(scope="module")
def trained(
    small: Project, eval_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[keras.Model, dataset.Examples, object]:
    """A model, what it was trained on, and its export loaded again."""
    config = configured(NetworkSettings, config=load(small.folder / "config.yaml"))
    transform = transform_of(small)
    classes = vocabulary.class_names(transform)
    examples = dataset.preprocessed([str(eval_file)], TransformGraph(transform), 2**30)
    keras.utils.set_random_seed(0)
    model = models.build_model(keras_tuner.HyperParameters(), config, classes)
    fitting.fit(model, config, examples, examples, [], until=2)
    folder = tmp_path_factory.mktemp("export") / "model"
    samples = dataset.sample_images([str(eval_file)], 8)
    serving_model = export.ServingModel(model, transform, classes, "softmax")
    export.save(serving_model, str(folder), samples)
    return model, examples, tf.saved_model.load(str(folder))


def test_parity(trained: tuple, eval_file: Path) -> None:
    model, examples, loaded = trained
    records = list(tfrecord.read(eval_file))
    images = [
        tf.train.Example.FromString(r).features.feature[features.IMAGE_KEY].bytes_list.value[0]
        for r in records
    ]
    batch = next(iter(dataset.batches(examples, len(records))))
    trained_scores = tf.nn.softmax(model(batch[0], training=False)).numpy()
    of_images = loaded.signatures[signatures.SERVING](image_bytes=tf.constant(images))
    of_examples = loaded.signatures[signatures.EXAMPLES](examples=tf.constant(records))
    np.testing.assert_array_equal(of_images["scores"], of_examples["scores"])
    np.testing.assert_array_equal(of_images["classes"], of_examples["classes"])
    np.testing.assert_allclose(of_images["scores"], trained_scores, atol=1e-6)
    assert np.ptp(trained_scores[:, 0]) > 0.01  # scores that differ from image to image

    labels = loaded.signatures[signatures.TRANSFORM](examples=tf.constant(records))
    np.testing.assert_array_equal(labels[features.LABEL], batch[1])


def test_a_loader_that_replays_the_graph_restores_what_the_signatures_read(
    small: Project, eval_file: Path
) -> None:
    [version] = (small.folder / "runs" / "small" / "pushed" / "small").iterdir()
    images = dataset.sample_images([str(eval_file)], 8)
    expected = tf.saved_model.load(str(version)).signatures[signatures.SERVING]
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        # As TensorFlow Serving does.
        graph = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(version))
        signature = graph.signature_def[signatures.SERVING]
        scores = session.run(
            signature.outputs[signatures.SCORES].name,
            {signature.inputs[signatures.IMAGE_BYTES].name: images},
        )
    expected_scores = expected(image_bytes=tf.constant(images))["scores"]
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-5)
    names = [name for name, _ in tf.train.list_variables(str(version / "variables" / "variables"))]
    assert not [name for name in names if "optimizer" in name or "metric" in name]


class Scaled(keras.layers.Layer):
    """A user's layer with resources that Keras doesn't know."""

    def __init__(self) -> None:
        super().__init__()
        pairs = tf.lookup.KeyValueTensorInitializer(["scale"], [3.0])
        self.table = tf.lookup.StaticHashTable(pairs, 0.0)
        self.offset = tf.Variable(2.0)

    def call(self, images: tf.Tensor) -> tf.Tensor:
        return images * self.table.lookup(tf.constant("scale")) + self.offset


def test_a_users_layer_with_a_lookup_table_is_exported(
    small: Project, eval_file: Path, tmp_path: Path
) -> None:
    network = [keras.Input((8, 8, 1)), Scaled(), keras.layers.Flatten(), keras.layers.Dense(3)]
    model = keras.Sequential(network)
    serving_model = export.ServingModel(model, transform_of(small), ["x"] * 3, "softmax")
    images = dataset.sample_images([str(eval_file)], 8)
    export.save(serving_model, str(tmp_path / "model"), images)
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    answer = loaded.signatures[signatures.SERVING](image_bytes=tf.constant(images))
    expected = serving_model.serve_images(tf.constant(images))
    np.testing.assert_allclose(answer["scores"], expected["scores"], rtol=1e-5)


def test_signatures_are_tensorflow_servings(trained: tuple) -> None:
    signature = trained[2].signatures[signatures.SERVING]
    [image_bytes] = signature.structured_input_signature[1].values()
    assert image_bytes.dtype == tf.string
    assert image_bytes.shape.as_list() == [None]
    outputs = {
        name: (t.dtype, t.shape.as_list()) for name, t in signature.structured_outputs.items()
    }
    assert outputs["classes"][0] == tf.string
    assert outputs["scores"] == (tf.float32, [None, 10])


def test_classes_are_names_in_the_vocabularys_order(trained: tuple, small: Project) -> None:
    loaded = trained[2]
    answer = loaded.signatures[signatures.SERVING](
        image_bytes=tf.constant([_png(np.zeros((8, 8), np.uint8))] * 2)
    )
    names = [c.decode() for c in answer["classes"].numpy()[0]]
    assert names == vocabulary.class_names(transform_of(small))
    assert sorted(names) == [str(digit) for digit in range(10)]
    np.testing.assert_allclose(answer["scores"].numpy().sum(axis=1), 1, atol=1e-5)


def test_an_example_without_a_label_can_be_served(trained: tuple) -> None:
    image = _png(np.full((8, 8), 200, np.uint8))
    unlabelled = tfrecord.encode_example({features.IMAGE_KEY: image})
    answer = trained[2].signatures[signatures.EXAMPLES](examples=tf.constant([unlabelled]))
    direct = trained[2].signatures[signatures.SERVING](image_bytes=tf.constant([image]))
    np.testing.assert_array_equal(answer["scores"], direct["scores"])


def test_warmup_requests_are_answered(small: Project) -> None:
    [version] = (small.folder / "runs" / "small" / "pushed" / "small").iterdir()
    loaded = tf.saved_model.load(str(version))
    sizes = []
    for record in tfrecord.read(version / signatures.WARMUP_PATH):
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        signature = loaded.signatures[request.model_spec.signature_name]
        images = tf.make_ndarray(request.inputs[signatures.IMAGE_BYTES])
        sizes.append(signature(image_bytes=tf.constant(images))["scores"].shape[0])
    assert sizes == [1, 8]


@pytest.mark.parametrize(
    "last",
    [
        lambda: [keras.layers.Dense(10, activation="softmax")],
        lambda: [keras.layers.Dense(10), keras.layers.Softmax()],
        lambda: [keras.layers.Dense(10), keras.layers.Activation("softmax")],
        lambda: [keras.Sequential([keras.layers.Dense(10, activation="softmax")])],
    ],
    ids=["dense", "layer", "activation", "nested"],
)
def test_a_model_that_ends_in_softmax_is_exported_as_it_is(
    small: Project, eval_file: Path, last: Callable[[], list]
) -> None:
    transform = transform_of(small)
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), *last()])
    serving_model = export.ServingModel(model, transform, ["x"] * 10, "softmax")
    batch = dataset.preprocessed([str(eval_file)], TransformGraph(transform), 2**30).first(5)
    np.testing.assert_array_equal(serving_model._predict(batch)["scores"], model(batch))


@pytest.mark.parametrize("activation", [None, "softmax"])
def test_a_temperature_divides_the_logits(small: Project, activation: str | None) -> None:
    images = np.random.default_rng(0).normal(0, 5, (50, 8, 8, 1)).astype("float32")
    logits = images.reshape(50, 64)
    last = [keras.layers.Flatten(), keras.layers.Activation(activation)]
    model = keras.Sequential([keras.Input((8, 8, 1)), *last])
    classes = [str(number) for number in range(64)]
    made = export.ServingModel(model, transform_of(small), classes, "softmax", 2.0)
    expected = tf.nn.softmax(logits / 2)
    np.testing.assert_allclose(made._predict(images)["scores"], expected, atol=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("activation", [None, "sigmoid"])
def test_scores_of_the_other_heads(
    small: Project, activation: str | None, temperature: float
) -> None:
    transform = transform_of(small)
    images = np.random.default_rng(0).normal(size=(5, 8, 8, 1)).astype("float32")

    def scores(head: str, classes: list[str], outputs: int) -> tuple[np.ndarray, np.ndarray]:
        layers = [keras.layers.Flatten(), keras.layers.Dense(outputs, activation)]
        model = keras.Sequential([keras.Input((8, 8, 1)), *layers])
        made = export.ServingModel(model, transform, classes, head, temperature)
        assert made.contract.multi_label == (head == "multi-label")
        found = made._predict(images)["scores"].numpy()
        layers[-1].activation = keras.activations.linear
        logits = keras.Sequential([keras.Input((8, 8, 1)), *layers])(images)
        return found, tf.sigmoid(logits / temperature).numpy()

    found, expected = scores("binary", ["no", "yes"], 1)
    np.testing.assert_allclose(found, np.hstack([1 - expected, expected]), atol=1e-6)
    found, expected = scores("multi-label", ["a", "b", "c"], 3)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def _png(pixels: np.ndarray) -> bytes:
    encoded: bytes = tf.io.encode_png(pixels[..., np.newaxis]).numpy()
    return encoded
