from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from darkroom.components.networks.layers import BatchNormalization

IMAGES = np.random.default_rng(0).normal(3, 2, (16, 6, 5, 4)).astype(np.float32)
VALUES = 16 * 6 * 5  # in a channel


def pair(
    policy: str = "float32", shape: tuple[int, ...] = IMAGES.shape, **options: object
) -> list[keras.layers.BatchNormalization]:
    """Keras's and ours, with the same weights."""
    kinds = keras.layers.BatchNormalization, BatchNormalization
    both = [kind(dtype=policy, **options) for kind in kinds]
    for layer in both:
        layer.build(shape)
        layer.set_weights([np.linspace(low, low + 1, 4) for low in (0.5, -1, 2, 3)])
    return both


@pytest.mark.parametrize(("policy", "off"), [("float32", 1e-5), ("mixed_bfloat16", 0.03)])
@pytest.mark.parametrize("training", [True, False])
def test_it_computes_as_kerass(policy: str, off: float, training: bool) -> None:
    theirs, ours = (
        np.asarray(layer(IMAGES, training=training), np.float32) for layer in pair(policy)
    )
    np.testing.assert_allclose(ours, theirs, atol=off, rtol=off)


def test_its_averages_are_of_the_population() -> None:
    theirs, ours = pair(momentum=0.0)
    for layer in (theirs, ours):
        layer(IMAGES, training=True)
    np.testing.assert_allclose(ours.moving_mean, theirs.moving_mean, rtol=1e-5)
    expected = theirs.moving_variance * VALUES / (VALUES - 1)
    np.testing.assert_allclose(ours.moving_variance, expected, rtol=1e-5)


def test_a_frozen_one_keeps_its_averages() -> None:
    _, ours = pair()
    ours.trainable = False
    before = ours.get_weights()
    outputs = ours(IMAGES, training=True)
    np.testing.assert_array_equal(outputs, ours(IMAGES, training=False))
    np.testing.assert_array_equal(ours.get_weights(), before)


@pytest.mark.parametrize("shape", [(8, 4), (8, 5, 4)])
def test_what_is_no_image_is_kerass(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    theirs, ours = (layer(values, training=True) for layer in pair(shape=shape))
    np.testing.assert_array_equal(theirs, ours)


def test_it_sees_the_whole_batch_of_several_devices() -> None:
    devices = tf.distribute.MirroredStrategy(["CPU:0"])
    outputs = []
    with devices.scope():
        both = pair()
    for layer in both:
        layer.synchronized = True  # as a training on several sets it
        outputs.append(devices.run(lambda layer=layer: layer(tf.constant(IMAGES), training=True)))
    np.testing.assert_array_equal(*outputs)


def test_gradients_are_kerass() -> None:
    weights = tf.constant(np.random.default_rng(1).normal(size=IMAGES.shape).astype(np.float32))
    gradients = []
    for layer in pair():
        images = tf.constant(IMAGES)
        with tf.GradientTape() as tape:
            tape.watch(images)
            loss = tf.reduce_sum(layer(images, training=True) * weights)
        sources = [images, layer.gamma.value, layer.beta.value]
        gradients.append(tape.gradient(loss, sources))
    for theirs, ours in zip(*gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3, rtol=1e-3)


def test_a_saved_model_with_it_loads(tmp_path: Path) -> None:
    image = keras.Input(IMAGES.shape[1:])
    model = keras.Model(image, BatchNormalization()(image))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(IMAGES), model(IMAGES))
    # The weights' places in a file are those of Keras's layer, so that either's can be loaded.
    theirs = keras.Model(image, keras.layers.BatchNormalization()(image))
    theirs.save_weights(tmp_path / "model.weights.h5")
    model.load_weights(tmp_path / "model.weights.h5")
