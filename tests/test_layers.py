from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from darkroom.components.networks.layers import BatchNormalization, Dirac, Whitening

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


def photographs(count: int, channels: int = 3) -> np.ndarray:
    """Images whose neighbouring pixels, and channels, are alike."""
    coarse = np.random.default_rng(1).normal(size=(count, 4, 4, 1)).astype(np.float32)
    smooth = np.asarray(keras.ops.image.resize(coarse, (16, 16)))
    own = np.random.default_rng(2).normal(0, 0.2, (count, 16, 16, channels)).astype(np.float32)
    return smooth + own


@pytest.mark.parametrize("channels", [1, 3])
def test_what_a_whitened_stem_gives_is_uncorrelated(channels: int) -> None:
    images, layer = photographs(200, channels), Whitening()
    outputs = layer(images)
    assert outputs.shape == layer.compute_output_shape(images.shape) == (200, 15, 15, 8 * channels)
    assert not np.any(outputs)
    layer.adapt(images)
    values = np.asarray(layer(images)).reshape(-1, 8 * channels).astype(np.float64)
    first, negatives = np.split(values, 2, axis=1)
    np.testing.assert_allclose(negatives, -first, atol=1e-4)
    covariance = np.cov(first, rowvar=False)
    # 1 but for the little that keeps noise from being blown up.
    np.testing.assert_allclose(covariance, np.eye(4 * channels), atol=0.02)
    assert layer.trainable_weights == []


def test_a_whitened_stem_keeps_the_filters_that_it_has() -> None:
    layer = Whitening()
    layer(photographs(8))
    layer.adapt(photographs(8))
    [before] = layer.get_weights()
    layer.adapt(photographs(100) ** 3)
    np.testing.assert_array_equal(layer.get_weights()[0], before)


def test_a_flat_images_stem_is_finite() -> None:
    layer = Whitening()
    layer(np.zeros((4, 8, 8, 3), np.float32))
    layer.adapt(np.zeros((4, 8, 8, 3), np.float32))
    assert np.all(np.isfinite(layer.get_weights()[0]))


def test_dirac_passes_on_what_a_convolution_gets() -> None:
    keras.utils.set_random_seed(0)
    images = photographs(2)
    wide = keras.layers.Conv2D(7, 3, padding="same", kernel_initializer=Dirac())(images)
    np.testing.assert_allclose(wide[..., :3], images, atol=1e-6)
    assert np.std(wide[..., 3:]) > 0.1
    narrow = keras.layers.Conv2D(2, 3, padding="same", kernel_initializer=Dirac())(images)
    np.testing.assert_allclose(narrow, images[..., :2], atol=1e-6)
    dense = keras.layers.Dense(40, kernel_initializer=Dirac())
    dense.build((None, 60))
    assert np.std(dense.get_weights()[0]) == pytest.approx((2 / 100) ** 0.5, rel=0.1)  # Glorot's
