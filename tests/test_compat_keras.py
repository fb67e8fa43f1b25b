"""Each use of what Keras doesn't promise: these say what broke after an upgrade."""

import subprocess
import sys
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest

from darkroom.components.compat import keras as compat


def test_keras_is_the_same_whatever_is_imported_before() -> None:
    """TensorFlow Transform asks TensorFlow for tf_keras as ``tf.keras``, which is not used here."""
    code = """
import tensorflow_transform
import keras, keras_tuner
network = keras_tuner.applications.HyperResNet(input_shape=(32, 32, 3), classes=2)
built = network.build(keras_tuner.HyperParameters())
assert isinstance(built, keras.Model), type(built)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert not ended.returncode, f"KerasTuner takes another Keras than ours: {ended.stderr[-500:]}"


def test_random_states_have_their_name() -> None:
    dropout = keras.layers.Dropout(0.5)
    model = keras.Sequential([keras.Input((4,)), dropout, keras.layers.Dense(2)])
    found = compat.random_states(model)
    assert [id(v) for v in found] == [id(dropout.seed_generator.state)], (
        "Keras names the states of random layers otherwise: dropout would draw the same in all "
        "replicas, and an export would lack them"
    )


def network(units: int) -> keras.Model:
    layers = [keras.layers.Dense(3, name="hidden"), keras.layers.Dense(units, name="logits")]
    return keras.Sequential([keras.Input((4,)), *layers])


def test_what_keras_leaves_out_is_told(tmp_path: Path) -> None:
    path = tmp_path / "donor.weights.h5"
    network(2).save_weights(path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        network(5).load_weights(path, skip_mismatch=True)
    [warning] = caught
    found = compat.left_out(str(warning.message))
    words = f"Keras's warning of weights that don't fit has other words: {found}"
    assert found.layers == {"logits"}, words
    assert found.first == "logits", words
    assert found.shapes == ("(3, 5)", "(3, 2)"), words


@pytest.mark.parametrize("name", ["Adam", "SGD", "RMSprop", "Adagrad"])
def test_layers_can_learn_at_rates_of_their_own(name: str) -> None:
    layers = [keras.layers.Dense(1, use_bias=False, kernel_initializer="ones") for _ in range(2)]
    model = keras.Sequential([keras.Input((1,)), *layers])
    rates = {layers[0].kernel.path: 0.25}
    optimizer = compat.discriminative(getattr(keras.optimizers, name), rates)(0.01)
    model.compile(optimizer, "mse")
    model.fit(np.ones((4, 1)), np.zeros((4, 1)), verbose=0)
    lower, upper = (1 - float(layer.kernel.numpy().item()) for layer in layers)
    assert upper > 0
    assert lower == pytest.approx(0.25 * upper, rel=1e-3)
