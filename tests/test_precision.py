import os
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from darkroom.components.base import progress
from darkroom.components.base.settings import NetworkSettings
from darkroom.components.networks import models
from darkroom.components.training import dataset, precision
from tests.arrays import of_arrays
from tests.settings import configured

MIXED = configured(NetworkSettings, "training.precision=mixed", "training.batch_size=8")


@pytest.fixture
def bfloat16(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A CPU that says that it has bfloat16, whatever this one has."""
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\nflags\t\t: fpu avx512_bf16 sse\n")
    monkeypatch.setattr(precision, "_CPU_INFO", path)


@pytest.fixture
def train() -> dataset.Examples:
    return of_arrays(np.ones((16, 8, 8, 1), np.float32), np.arange(16) % 3)


def build(config: NetworkSettings) -> keras.Model:
    return models.build_model(None, config, "abc")


def no_build(config: NetworkSettings) -> keras.Model:
    raise AssertionError("there was nothing to measure")


def test_without_16_bits_all_is_float32(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, train: dataset.Examples
) -> None:
    for content in ("flags\t\t: fpu sse\n", "nothing"):
        (tmp_path / "cpuinfo").write_text(content)
        monkeypatch.setattr(precision, "_CPU_INFO", tmp_path / "cpuinfo")
        assert precision.chosen(MIXED, no_build, train, "Trainer") == "float32"
    monkeypatch.setattr(precision, "_CPU_INFO", tmp_path / "missing")
    assert precision.chosen(MIXED, no_build, train, "Trainer") == "float32"


@pytest.mark.usefixtures("bfloat16")
def test_float32_is_asked_for(train: dataset.Examples) -> None:
    config = MIXED.with_values({"training.precision": "float32"})
    assert precision.chosen(config, no_build, train, "Trainer") == "float32"


@pytest.mark.usefixtures("bfloat16")
@pytest.mark.parametrize(("mixed", "expected"), [(0.5, "mixed_bfloat16"), (0.97, "float32")])
def test_the_quicker_one_is_taken_and_kept(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    train: dataset.Examples,
    mixed: float,
    expected: str,
) -> None:
    said: list[str] = []
    monkeypatch.setattr(progress, "warn", lambda node, words: said.append(f"{node}: {words}"))
    seconds = {"float32": 1.0, "mixed_bfloat16": mixed}
    monkeypatch.setattr(precision, "_seconds", lambda *arguments: seconds[arguments[-1]])
    folder = str(tmp_path / "checkpoints")
    assert precision.chosen(MIXED, no_build, train, "Tuner", folder) == expected
    [sentence] = said
    assert sentence.startswith("Tuner: training.precision: a step takes 1000 ms with float32")
    monkeypatch.setattr(precision, "_seconds", no_build)  # not measured again
    assert precision.chosen(MIXED, no_build, train, "Tuner", folder) == expected
    assert os.listdir(folder) == ["precision.txt"]


@pytest.mark.usefixtures("bfloat16")
def test_steps_are_measured(train: dataset.Examples) -> None:
    small = MIXED.with_values({"model.filters": [4]})
    built: list[str] = []

    def noted(config: NetworkSettings) -> keras.Model:
        model = build(config)
        assert model.steps_per_execution == 1
        built.append(model.get_layer("backbone").layers[1].compute_dtype)
        return model

    assert precision.chosen(small, noted, train, "Trainer") in ("float32", "mixed_bfloat16")
    assert built == ["float32", "bfloat16"]
    assert keras.config.dtype_policy().name == "float32"


def test_a_graphics_card_with_tensor_cores_needs_no_measurement(
    monkeypatch: pytest.MonkeyPatch, train: dataset.Examples
) -> None:
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: ["GPU:0"])
    for capability, expected in (((8, 6), "mixed_float16"), ((6, 1), "float32")):
        details = {"compute_capability": capability}
        monkeypatch.setattr(
            tf.config.experimental, "get_device_details", lambda gpu, details=details: details
        )
        assert precision.chosen(MIXED, no_build, train, "Trainer") == expected


def test_a_policy_ends_with_its_context() -> None:
    with precision.computing("mixed_bfloat16"):
        layer = keras.layers.Dense(1)
    assert (layer.compute_dtype, layer.variable_dtype) == ("bfloat16", "float32")
    assert keras.config.dtype_policy().name == "float32"
