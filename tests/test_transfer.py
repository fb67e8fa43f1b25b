import keras
import numpy as np
import pytest

from darkroom.components.base.errors import DarkroomError
from darkroom.components.base.settings import NetworkSettings, TunerSettings
from darkroom.components.networks import parts
from darkroom.components.training import dataset, transfer
from darkroom.components.training.model_run import Comparison
from tests.arrays import of_arrays
from tests.settings import configured
from tests.test_models import build


@pytest.fixture
def images() -> dataset.Examples:
    generator = np.random.default_rng(0)
    return of_arrays(generator.normal(size=(50, 32, 32, 3)).astype("float32"), np.arange(50) % 5)


def settings_of(*overrides: str) -> NetworkSettings:
    return configured(NetworkSettings, "training.batch_size=16", *overrides, config="cifar10")


@pytest.mark.parametrize(
    ("overrides", "shared"),
    [(["tuner.space={training.learning_rate: {min: 1e-4, max: 1e-2}}"], True),
     (["tuner.space={model.units.0: {choices: [8, 16]}}"], True),
     (["tuner.space={model.dropout: {min: 0.0, max: 0.5}}", "transfer.mode=none"], False),
     (["tuner.space={augmentation.flip: {choices: [none, both]}}"], False),
     (["tuner.space={model.filters.0: {choices: [8, 16]}}"], False),
     (["tuner.space={model.activation: {choices: [relu, gelu]}}"], False),
     (["tuner.space={model.activation: {choices: [relu, gelu]}}",
       "model.backbone_fn=a.b"], True),
     (["tuner.algorithm=list", "tuner.trials=[{training.momentum: 0.8}, {model.blocks: 3}]"],
      False)],
)  # fmt: skip
def test_a_backbone_is_shared_unless_the_search_changes_it(
    overrides: list[str], shared: bool
) -> None:
    frozen = ("tuner.max_trials=2", "transfer.mode=similar", "model.weights=some.keras")
    given = [word for word in frozen if not word.startswith(overrides[-1].partition("=")[0])]
    config = configured(TunerSettings, *given, *overrides, config="cifar10")
    assert transfer.is_shared(config) is shared


def rows(examples: dataset.Examples) -> np.ndarray:
    return examples.inputs.take(np.arange(len(examples.inputs)))


def as_they_are(examples: dataset.Examples, backbone: keras.Model) -> np.ndarray:
    outputs: np.ndarray = backbone.predict(rows(examples), verbose=0)
    return outputs


def test_a_frozen_backbone_gives_what_it_gives_in_the_whole_network(
    images: dataset.Examples,
) -> None:
    backbone = build("model.filters=[4, 8]").get_layer(parts.BACKBONE)
    train, validation = transfer.frozen_splits(backbone, (images, images), settings_of())
    expected = as_they_are(images, backbone)
    np.testing.assert_allclose(rows(train), expected, atol=1e-5)
    np.testing.assert_allclose(rows(validation), expected, atol=1e-5)
    np.testing.assert_array_equal(train.labels, images.labels)


def test_every_copy_is_changed_in_its_own_way(images: dataset.Examples) -> None:
    backbone = build("model.filters=[4, 8]").get_layer(parts.BACKBONE)
    config = settings_of("augmentation.copies=3", "augmentation.flip=horizontal")
    train, validation = transfer.frozen_splits(backbone, (images, images), config)
    assert len(train.inputs) == 150
    assert len(train) == len(validation.inputs) == 50
    plain = as_they_are(images, backbone)
    flipped = backbone.predict(rows(images)[:, :, ::-1], verbose=0)
    copies = rows(train).reshape(3, 50, *plain.shape[1:])
    kinds = []
    for copy in copies:
        near = [np.abs(copy - made).reshape(50, -1).max(axis=1) < 1e-4 for made in (plain, flipped)]
        assert (near[0] | near[1]).all()
        kinds.append(near[1])
        assert 0 < near[1].sum() < 50
    assert not (kinds[0] == kinds[1]).all()
    np.testing.assert_allclose(rows(validation), plain, atol=1e-5)


def test_outputs_beyond_the_budget_go_to_disk(images: dataset.Examples) -> None:
    backbone = build("model.filters=[4, 8]").get_layer(parts.BACKBONE)
    held = images.inputs.held_bytes
    config = settings_of(f"training.cache_budget={(2 * held + 20_000) / 2**30}")
    train, validation = transfer.frozen_splits(backbone, (images, images), config)
    assert train.inputs.held_bytes + validation.inputs.held_bytes <= 20_000
    np.testing.assert_allclose(rows(train), as_they_are(images, backbone), atol=1e-5)


def test_outputs_that_nothing_can_hold_are_refused_before_the_work(
    images: dataset.Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = build("model.filters=[4, 8]").get_layer(parts.BACKBONE)
    size = 2 * 50 * 4 * int(np.prod(backbone.output_shape[1:]))
    config = settings_of(f"training.cache_budget={2 * images.inputs.held_bytes / 2**30}")
    monkeypatch.setattr(transfer, "free_bytes", lambda: size)
    transfer.frozen_splits(backbone, (images, images), config)
    monkeypatch.setattr(transfer, "free_bytes", lambda: size - 1)
    with pytest.raises(DarkroomError, match=r"for 100 images take .* Set TMPDIR to a folder on"):
        transfer.frozen_splits(backbone, (images, images), config)


@pytest.mark.parametrize(
    ("overrides", "sizes"),
    [(["model.filters=[4, 8, 16]"], [64, 256, 1024]),
     (["model.name=residual", "model.filters=[4, 8]"], [256, 1024]),
     (["model.name=dense"], [])],
)  # fmt: skip
def test_groups_go_from_the_top_to_the_stem(overrides: list[str], sizes: list[int]) -> None:
    found = transfer.groups(build(*overrides).get_layer(parts.BACKBONE))
    assert [transfer._places(group[0]) for group in found] == sizes


@pytest.mark.parametrize("name", ["ResNet50V2", "MobileNetV3Small", "EfficientNetV2B0"])
def test_groups_of_an_architecture(name: str) -> None:
    size = ["preprocessing.height=64", "preprocessing.width=64"]
    model = build(f"model.name={name}", "preprocessing.normalization=rescale", *size)
    backbone = model.get_layer(parts.BACKBONE)
    found = transfer.groups(backbone)
    together = [layer for group in found for layer in group]
    with_weights = [
        layer
        for layer in parts.leaves(backbone)
        if layer.weights and not isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert sorted(map(id, together)) == sorted(map(id, with_weights))
    assert 4 <= len(found) <= 6
    assert with_weights[0] in found[-1]
    transfer.unfreeze(model, found[0])
    trainable = {id(v) for v in model.trainable_variables}
    for number, group in enumerate(found):
        assert all((id(w) in trainable) == (number == 0) for x in group for w in x.weights)
    transfer.unfreeze(model, [])
    assert len(model.trainable_variables) == len(model.get_layer(parts.CLASSIFIER).weights)


def test_the_first_epochs_are_compared() -> None:
    better, worse = {"val_accuracy": [0.5, 0.6, 0.9]}, {"val_accuracy": [0.55, 0.5, 0.95]}
    found = transfer.compared(better, worse, epochs=2)
    assert found == Comparison(epochs=2, metric="val_accuracy", transferred=0.6, scratch=0.55)
    found = transfer.compared({"val_loss": [2.0]}, {"val_loss": [1.0]}, epochs=1)
    assert found == Comparison(epochs=1, metric="val_loss", transferred=2.0, scratch=1.0)
