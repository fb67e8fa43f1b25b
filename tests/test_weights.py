import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from darkroom.components.base.errors import DarkroomError
from darkroom.components.networks import parts, weights
from darkroom.serving.contract import Contract
from tests.test_models import build

CLASSES = "abcde"
SMALL = ["model.filters=[4, 8]", "model.units=[6]"]


class Pushed(tf.Module):
    """What export.ServingModel keeps of a network."""

    def __init__(self, model: keras.Model):
        super().__init__()
        self.parts = [list(model.get_layer(name).weights) for name in parts.NAMES]


def saved(model: keras.Model, folder: Path, form: str) -> str:
    if form == "pushed":
        return pushed(model, folder, "abcdefgh"[: model.output_shape[1]])
    path = folder / f"donor{form}"
    if form == ".keras":
        model.save(path)
    else:
        model.save_weights(path)
    return str(path)


def pushed(model: keras.Model, folder: Path, classes: Sequence[str]) -> str:
    version = folder / "1"
    tf.saved_model.save(Pushed(model), str(version))
    contract = version / Contract.FILE
    contract.parent.mkdir(exist_ok=True)
    contract.write_text(json.dumps({"classes": list(classes)}))
    return str(version)


def values(model: keras.Model, part: str) -> list[np.ndarray]:
    found: list[np.ndarray] = model.get_layer(part).get_weights()
    return found


def same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("form", [".weights.h5", ".keras", "pushed"])
def test_all_of_a_network_of_as_many_classes_comes_over(tmp_path: Path, form: str) -> None:
    donor, model = build(*SMALL), build(*SMALL)
    assert not same(donor.get_weights(), model.get_weights())
    weights.load(model, saved(donor, tmp_path, form), CLASSES)
    assert same(donor.get_weights(), model.get_weights())


@pytest.mark.parametrize("form", [".weights.h5", ".keras", "pushed"])
def test_of_other_classes_only_the_backbone_comes_over(tmp_path: Path, form: str) -> None:
    donor, model = build(*SMALL, num_classes=3), build(*SMALL, num_classes=5)
    before = values(model, parts.CLASSIFIER)
    weights.load(model, saved(donor, tmp_path, form), CLASSES)
    assert same(values(donor, parts.BACKBONE), values(model, parts.BACKBONE))
    assert before[-1].shape == values(model, parts.CLASSIFIER)[-1].shape


def test_outputs_follow_the_names_of_their_classes(tmp_path: Path) -> None:
    donor, model = build(*SMALL, num_classes=3), build(*SMALL, num_classes=4)
    *_, random, _ = values(model, parts.CLASSIFIER)
    weights.load(
        model, pushed(donor, tmp_path, ["dog", "owl", "cat"]), ["cat", "dog", "emu", "owl"]
    )
    *hidden, kernel, bias = values(model, parts.CLASSIFIER)
    *donors, theirs, their_bias = values(donor, parts.CLASSIFIER)
    assert same(hidden, donors)
    np.testing.assert_array_equal(kernel[:, [1, 3, 0]], theirs)
    np.testing.assert_array_equal(bias[[1, 3, 0]], their_bias)
    np.testing.assert_array_equal(kernel[:, 2], random[:, 2])


def test_the_one_output_of_two_classes_turns_where_they_have_changed_places(tmp_path: Path) -> None:
    binary = [*SMALL, "model.head=binary"]
    donor = build(*binary, num_classes=2)
    donor.get_layer(parts.CLASSIFIER).layers[-1].bias.assign([0.5])
    path = pushed(donor, tmp_path, ["owl", "cat"])
    images = np.random.default_rng(0).normal(size=(3, 32, 32, 3)).astype("float32")
    for classes, sign in ((["cat", "owl"], -1), (["owl", "cat"], 1)):
        model = build(*binary, num_classes=2)
        weights.load(model, path, classes)
        np.testing.assert_allclose(model(images), sign * np.array(donor(images)), rtol=1e-5)
    other = build(*binary, num_classes=2)
    before = values(other, parts.CLASSIFIER)
    weights.load(other, path, ["cat", "dog"])
    assert same(before, values(other, parts.CLASSIFIER))


@pytest.mark.parametrize("form", [".weights.h5", ".keras"])
def test_a_backbone_alone_comes_over(tmp_path: Path, form: str) -> None:
    donor, model = build(*SMALL), build(*SMALL)
    path = saved(donor.get_layer(parts.BACKBONE), tmp_path, form)
    weights.load(model, path, CLASSES)
    assert same(values(donor, parts.BACKBONE), values(model, parts.BACKBONE))


@pytest.mark.parametrize("form", [".weights.h5", ".keras"])
def test_an_architecture_as_keras_has_it_comes_over(tmp_path: Path, form: str) -> None:
    donor = keras.applications.MobileNetV3Small((32, 32, 3), include_top=False, weights=None)
    model = build("model.name=MobileNetV3Small", "preprocessing.normalization=rescale")
    weights.load(model, saved(donor, tmp_path, form), CLASSES)
    assert same(donor.get_weights(), values(model, parts.BACKBONE))


@pytest.mark.parametrize("form", [".weights.h5", ".keras", "pushed"])
@pytest.mark.parametrize(
    ("other", "words"),
    [("model.filters=[4, 16]", ["(3, 3, 4, 8)", "(3, 3, 4, 16)"]),
     ("model.filters=[4, 8, 8]", ["model"])],
)  # fmt: skip
def test_another_network_is_a_sentence_and_changes_nothing(
    tmp_path: Path, form: str, other: str, words: list[str]
) -> None:
    path = saved(build(*SMALL), tmp_path, form)
    model = build(*SMALL, other)
    before = model.get_weights()
    with pytest.raises(DarkroomError) as raised:
        weights.load(model, path, CLASSES)
    assert str(raised.value).startswith(f"model.weights: {path}")
    assert all(word in str(raised.value) for word in words), raised.value
    assert same(before, model.get_weights())


def test_the_layer_that_does_not_fit_is_named(tmp_path: Path) -> None:
    path = saved(build(*SMALL), tmp_path, "pushed")
    model = build(*SMALL, "model.kernel_size=5")
    [first, *_] = parts.leaves(model.get_layer(parts.BACKBONE))[1:]
    with pytest.raises(DarkroomError, match=rf"the layer {first.name} has kernel"):
        weights.load(model, path, CLASSES)


@pytest.mark.parametrize(("name", "content"), [("a.weights.h5", b"no"), ("a.keras", b"no")])
def test_a_damaged_file_is_a_sentence(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DarkroomError, match=rf"^model.weights: {path}"):
        weights.load(build(*SMALL), str(path), CLASSES)


def test_a_saved_model_of_others_is_a_sentence(tmp_path: Path) -> None:
    tf.saved_model.save(tf.Module(), str(tmp_path))
    with pytest.raises(DarkroomError, match="not made from one of darkroom's own networks"):
        weights.load(build(*SMALL), str(tmp_path), CLASSES)


def test_the_configuration_sets_them(tmp_path: Path) -> None:
    donor = build(*SMALL)
    model: Any = build(*SMALL, f"model.weights={saved(donor, tmp_path, 'pushed')}")
    assert same(donor.get_weights(), model.get_weights())
