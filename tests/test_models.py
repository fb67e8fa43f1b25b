from pathlib import Path
from typing import get_args

import keras
import keras_tuner
import numpy as np
import pytest

from darkroom.components.base.errors import DarkroomError
from darkroom.components.base.sections.network import Initializer
from darkroom.components.base.settings import NetworkSettings
from darkroom.components.networks import models, parts
from darkroom.components.networks.architectures import ARCHITECTURES
from tests import users_code
from tests.settings import configured


def build(*overrides: str, num_classes: int = 5) -> keras.Model:
    config = configured(NetworkSettings, *overrides, config="cifar10")
    return models.build_model(keras_tuner.HyperParameters(), config, "abcdefgh"[:num_classes])


def test_cnn_has_the_configured_layers() -> None:
    model = build("model.filters=[8, 16]", "model.units=[20]", "model.kernel_size=5")
    convolutions = layers(model, keras.layers.Conv2D)
    assert [layer.filters for layer in convolutions] == [8, 16]
    assert [layer.kernel_size for layer in convolutions] == [(5, 5), (5, 5)]
    dense = [layer.units for layer in layers(model, keras.layers.Dense)]
    assert dense == [20, 5]
    assert model.output_shape == (None, 5)


def test_dense_has_the_configured_layers() -> None:
    model = build("model.name=dense", "model.units=[30, 20]", "model.activation=tanh")
    found = layers(model, keras.layers.Dense)
    assert [layer.units for layer in found] == [30, 20, 5]
    assert found[0].activation is keras.activations.tanh
    assert not layers(model, keras.layers.Conv2D)


@pytest.mark.parametrize("optimizer", ["adam", "adagrad", "rmsprop", "sgd"])
def test_optimizers_learn(optimizer: str) -> None:
    keras.utils.set_random_seed(0)
    model = build(
        f"training.optimizer={optimizer}", "training.learning_rate=1e-3", "model.name=dense"
    )
    images = np.random.default_rng(0).normal(size=(32, 32, 32, 3)).astype("float32")
    labels = np.arange(32) % 5
    losses = model.fit(images, labels, epochs=6, verbose=0).history["loss"]
    assert min(losses[1:]) < losses[0]
    assert type(model.optimizer).__name__.lower() == optimizer
    assert float(model.optimizer.learning_rate) == pytest.approx(0.001)


def test_any_image_size_goes_through_any_number_of_blocks() -> None:
    model = build(
        "preprocessing.height=3", "preprocessing.width=9", "model.filters=[4, 4, 4, 4, 4]"
    )
    assert model(np.zeros((2, 3, 9, 3), "float32")).shape == (2, 5)


def uncompiled(hp: object, config: object, num_classes: int) -> keras.Model:
    return keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Flatten()])


def test_a_users_model_must_be_compiled() -> None:
    with pytest.raises(DarkroomError, match="one that is not compiled"):
        build("model.build_fn=tests.test_models.uncompiled")


@pytest.mark.parametrize(("steps", "expected"), [("null", 21), ("5000", 20), ("12", 12), ("37", 1)])
def test_an_epochs_steps_are_kept(steps: str, expected: int) -> None:
    assert build(f"training.steps_per_epoch={steps}").steps_per_execution == expected


def test_the_published_network_of_blood_cells() -> None:
    size = ("preprocessing.height=32", "preprocessing.width=32")
    config = configured(NetworkSettings, *size, config="blood_cells")
    model = models.build_model(keras_tuner.HyperParameters(), config, "abcd")
    kinds = (
        keras.layers.Conv2D, keras.layers.BatchNormalization, keras.layers.MaxPooling2D,
        keras.layers.Activation, keras.layers.Flatten, keras.layers.Dense,
    )  # fmt: skip
    found = [type(layer).__name__ for layer in layers(model, *kinds)]
    block = ["Conv2D", "Activation", "BatchNormalization"]
    assert found == [
        "Conv2D", "Activation", *block, "MaxPooling2D", *block, "MaxPooling2D", *block,
        "Flatten", "Dense", "Dense",
    ]  # fmt: skip
    convolutions = layers(model, keras.layers.Conv2D)
    assert [(c.filters, c.kernel_size[0]) for c in convolutions] == [
        (32, 5), (64, 3), (128, 3), (256, 3)
    ]  # fmt: skip
    # 32, 28, 26, pooled 13, 11, pooled 5, 3
    assert model.get_layer(parts.BACKBONE).output_shape == (None, 3 * 3 * 256)


def layers(model: keras.Model, *kinds: type) -> list[keras.layers.Layer]:
    return [layer for layer in parts.leaves(model) if isinstance(layer, kinds)]


def test_each_convolution_is_normalised_after_its_blocks_pooling() -> None:
    backbone = build("model.filters=[[8, 16], 32]", "model.normalize=each").get_layer("backbone")
    kinds = [type(layer).__name__ for layer in backbone.layers[1:]]
    first = ["Conv2D", "BatchNormalization", "Activation"]
    pooled = ["Conv2D", "MaxPooling2D", "BatchNormalization", "Activation"]
    assert kinds == [*first, *pooled, *pooled, "Flatten"]
    assert backbone.output_shape == (None, 8 * 8 * 32)


def test_a_whitened_stem_comes_before_the_first_block() -> None:
    model = build("model.stem=whitened", "model.filters=[[8], 16]", "model.activation=gelu")
    kinds = [type(layer).__name__ for layer in model.get_layer(parts.BACKBONE).layers[1:5]]
    assert kinds == ["Whitening", "Activation", "Conv2D", "BatchNormalization"]
    assert layers(model, keras.layers.Conv2D)[0].kernel.shape == (3, 3, 24, 8)


@pytest.mark.parametrize(
    ("pooling", "values"), [("auto", 16 * 16 * 6), ("flatten", 16 * 16 * 6), ("max", 6)]
)
def test_what_the_classifier_of_a_cnn_sees(pooling: str, values: int) -> None:
    model = build("model.filters=[6]", f"model.pooling={pooling}")
    assert model.get_layer(parts.BACKBONE).output_shape == (None, values)


def test_a_residual_networks_places_can_be_pooled_otherwise() -> None:
    shared = ("model.name=residual", "model.filters=[4, 6]", "model.blocks=1")
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    outputs = []
    for pooling in ("auto", "average", "max"):
        keras.utils.set_random_seed(0)
        backbone = build(*shared, f"model.pooling={pooling}").get_layer(parts.BACKBONE)
        outputs.append(np.asarray(backbone(images)))
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert np.all(outputs[2] > outputs[1])


@pytest.mark.parametrize("name", get_args(Initializer))
def test_every_initializer_begins_a_network(name: str) -> None:
    keras.utils.set_random_seed(0)
    model = build(f"model.initializer={name}", "model.filters=[4]", "model.units=[5]")
    kernels = [layer.kernel.numpy() for layer in layers(model, keras.layers.Conv2D)]
    kernels.append(layers(model, keras.layers.Dense)[0].kernel.numpy())
    for kernel in kernels:
        assert np.std(kernel) > 0 or np.all(kernel == {"zeros": 0, "ones": 1}[name])


def test_no_unit_has_longer_weights_than_max_norm() -> None:
    model = build("model.filters=[4]", "model.units=[5]", "model.max_norm=0.5",
                  "training.learning_rate=1.0", "training.optimizer=sgd")  # fmt: skip
    images = np.random.default_rng(0).normal(size=(64, 32, 32, 3)).astype("float32")
    model.fit(images, np.arange(64) % 5, epochs=2, verbose=0)
    [convolution], [hidden, _] = (
        layers(model, keras.layers.Conv2D),
        layers(model, keras.layers.Dense),
    )
    of_filters = np.linalg.norm(convolution.kernel.numpy().reshape(-1, 4), axis=0)
    of_units = np.linalg.norm(hidden.kernel.numpy(), axis=0)
    assert max(of_filters.max(), of_units.max()) == pytest.approx(0.5, abs=1e-4)


def test_scaled_logits_are_so_much_smaller() -> None:
    images = np.random.default_rng(0).normal(size=(3, 32, 32, 3)).astype("float32")
    outputs = []
    for scale in (1, 0.25):
        keras.utils.set_random_seed(0)
        outputs.append(build("model.filters=[4]", f"model.logit_scale={scale}")(images))
    np.testing.assert_allclose(outputs[1], 0.25 * np.asarray(outputs[0]), rtol=1e-5, atol=1e-7)


def test_weight_decay_leaves_biases_and_normalisation_alone() -> None:
    model = build("training.weight_decay=0.5", "training.learning_rate=0.1")
    before = [variable.numpy() for variable in model.trainable_variables]
    nothing = [keras.ops.zeros_like(variable) for variable in model.trainable_variables]
    model.optimizer.apply(nothing, model.trainable_variables)
    for variable, value in zip(model.trainable_variables, before, strict=True):
        share = 0.95 if variable.name == "kernel" else 1.0
        np.testing.assert_allclose(variable.numpy(), share * value, rtol=1e-5)


def test_a_long_gradient_is_shortened() -> None:
    sgd = ("training.optimizer=sgd", "training.learning_rate=1", "training.momentum=0")
    model = build(*sgd, "training.clip_norm=0.1")
    before = [variable.numpy() for variable in model.trainable_variables]
    steep = [100 * keras.ops.ones_like(variable) for variable in model.trainable_variables]
    model.optimizer.apply(steep, model.trainable_variables)
    steps = [
        variable.numpy() - value
        for variable, value in zip(model.trainable_variables, before, strict=True)
    ]
    assert np.sqrt(sum(np.sum(step**2) for step in steps)) == pytest.approx(0.1, rel=1e-2)


def test_nesterovs_momentum_is_a_key() -> None:
    assert build("training.optimizer=sgd", "training.nesterov=true").optimizer.nesterov
    assert not build("training.optimizer=sgd").optimizer.nesterov


def test_the_blood_cells_network_is_expressible() -> None:
    model = build(
        "preprocessing.height=224",
        "preprocessing.width=224",
        "model.filters=[[32, 64], 128, 256]",
        "model.first_kernel_size=5",
        "model.pooled_blocks=2",
        "model.units=[192]",
        "model.dropout=0.0",
        num_classes=4,
    )
    kinds = (
        keras.layers.Conv2D,
        keras.layers.BatchNormalization,
        keras.layers.MaxPooling2D,
        keras.layers.Flatten,
        keras.layers.Dense,
    )
    words = [
        f"{type(layer).__name__} {getattr(layer, 'filters', getattr(layer, 'units', ''))}".strip()
        for layer in layers(model, *kinds)
    ]
    assert words == [
        "Conv2D 32", "Conv2D 64", "BatchNormalization", "MaxPooling2D",
        "Conv2D 128", "BatchNormalization", "MaxPooling2D",
        "Conv2D 256", "BatchNormalization",
        "Flatten", "Dense 192", "Dense 4",
    ]  # fmt: skip
    sizes = [layer.kernel_size[0] for layer in layers(model, keras.layers.Conv2D)]
    assert sizes == [5, 3, 3, 3]


def test_residual_halves_the_image_at_every_stage_but_the_first() -> None:
    model = build("model.name=residual", "model.filters=[8, 16, 32]", "model.blocks=2")
    adds = layers(model, keras.layers.Add)
    assert [layer.output.shape[1:] for layer in adds] == [
        (32, 32, 8), (32, 32, 8), (16, 16, 16), (16, 16, 16), (8, 8, 32), (8, 8, 32),
    ]  # fmt: skip
    assert model(np.zeros((2, 32, 32, 3), "float32")).shape == (2, 5)


RESCALE = ("preprocessing.normalization=rescale",)


@pytest.mark.parametrize("name", ["ResNet50V2", "MobileNetV3Small", "EfficientNetV2B0"])
def test_an_architecture_of_keras(name: str) -> None:
    model = build(f"model.name={name}", *RESCALE)
    assert model(np.zeros((2, 32, 32, 3), "float32")).shape == (2, 5)
    backbone = model.get_layer(parts.BACKBONE)
    assert model.name == name.lower()
    if name == "ResNet50V2":
        assert backbone.count_params() == 23_564_800  # as the write-up reports


@pytest.mark.parametrize(
    ("module", "pixels"),
    [
        ("resnet_v2", "signed"),
        ("mobilenet_v2", "signed"),
        ("inception_v3", "signed"),
        ("densenet", "imagenet"),
        ("resnet", "bgr"),
        ("vgg16", "bgr"),
        ("efficientnet", "bytes"),
        ("mobilenet_v3", "bytes"),
        ("convnext", "bytes"),
    ],
)
def test_pixels_are_scaled_as_kerass_own_preprocessing_does(module: str, pixels: str) -> None:
    images = np.random.default_rng(0).uniform(0, 255, (2, 4, 4, 3)).astype("float32")
    expected = getattr(keras.applications, module).preprocess_input(images.copy())
    np.testing.assert_allclose(models._Pixels(pixels)(images / 255), expected, atol=1e-3)


def test_all_architectures_are_kerass_or_in_packages() -> None:
    functions = {name for name in dir(keras.applications) if name[0].isupper()}
    assert {n for n, facts in ARCHITECTURES.items() if facts.package is None} == functions


@pytest.mark.parametrize("name", ["cnn", "residual", "EfficientNetLite0"])
def test_a_network_sees_images_in_its_own_size(name: str, tmp_path: Path) -> None:
    size = ("preprocessing.height=40", "preprocessing.width=48", "model.image_size=[32, 32]")
    model = build(f"model.name={name}", *size, *RESCALE)
    kept = np.random.default_rng(0).uniform(size=(2, 40, 48, 3)).astype("float32")
    seen = np.array(keras.ops.image.resize(kept, (32, 32)))
    np.testing.assert_allclose(model(kept), model(seen), atol=1e-4)
    assert model(kept).shape == (2, 5)
    path = str(tmp_path / "model.keras")
    model.save(path)
    np.testing.assert_allclose(keras.models.load_model(path)(kept), model(kept), atol=1e-5)


@pytest.mark.parametrize(("pooling", "features"), [("average", 6), ("flatten", 16 * 16 * 6)])
def test_a_backbone_of_the_users_gets_our_classifier(pooling: str, features: int) -> None:
    mine = ("model.backbone_fn=tests.users_code.backbone", "model.dropout=0.5")
    model = build(
        *mine, f"model.pooling={pooling}", "model.units=[7]", "training.learning_rate=0.02"
    )
    assert model(np.zeros((2, 32, 32, 3), "float32")).shape == (2, 5)
    assert model.get_layer(parts.BACKBONE).output_shape == (None, features)
    follows = model.get_layer(parts.CLASSIFIER)
    assert [layer.units for layer in layers(follows, keras.layers.Dense)] == [7, 5]
    assert model.compiled


@pytest.mark.parametrize(
    ("name", "words"),
    [("backbone_with_pooling", r"one spatial output .*received shape \(None, 6\). Take the pool"),
     ("no_backbone", "expected it to return a keras.Model, received 'a network'")],
)  # fmt: skip
def test_a_backbone_without_places_is_a_sentence(name: str, words: str) -> None:
    with pytest.raises(
        DarkroomError, match=f"^model.backbone_fn: tests.users_code.{name}.*{words}"
    ):
        build(f"model.backbone_fn=tests.users_code.{name}")


def test_two_classes_need_one_output() -> None:
    binary = ("model.head=binary", "model.name=dense", "model.units=[4]")
    model = build(*binary, num_classes=2)
    assert model.output_shape == (None, 1)
    images = np.random.default_rng(0).normal(size=(64, 32, 32, 3)).astype("float32")
    labels = (images.mean((1, 2, 3)) > 0).astype("int64")
    found = model.evaluate(images, labels, verbose=0, return_dict=True)
    answers = model.predict(images, verbose=0)[:, 0] > 0
    assert found["accuracy"] == pytest.approx((answers == labels).mean())
    with pytest.raises(DarkroomError, match="for two classes, and the train split has 3"):
        build(*binary, num_classes=3)
    with pytest.raises(DarkroomError, match=r"output shape \(None, 1\) for model.head binary"):
        build(*binary, "model.build_fn=tests.test_models.two_outputs", num_classes=2)


def two_outputs(hp: object, config: object, num_classes: int) -> keras.Model:
    model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Flatten()])
    model.add(keras.layers.Dense(2))
    model.compile("sgd", "mse")
    return model


def test_the_optimizers_options_reach_it() -> None:
    sgd = ("training.optimizer=sgd", "training.momentum=0.5", "training.weight_decay=0.01")
    optimizer = build(*sgd).optimizer
    assert (optimizer.momentum, optimizer.weight_decay) == (0.5, 0.01)
    assert build().optimizer.weight_decay is None


@pytest.mark.parametrize("filters", ["[8, 16]", "[3, 5, 7]", "[16, 32]"])
def test_residual_trains(filters: str) -> None:
    size = ("preprocessing.height=16", "preprocessing.width=16", "preprocessing.channels=1")
    model = build("model.name=residual", f"model.filters={filters}", "model.blocks=1", *size)
    images = np.random.default_rng(0).normal(size=(256, 16, 16, 1)).astype("float32")
    losses = model.fit(images, np.arange(256) % 5, batch_size=64, epochs=3, verbose=0).history
    assert np.isfinite(losses["loss"]).all()


SMALL = ("preprocessing.height=8", "preprocessing.width=8", "preprocessing.channels=1")


def theirs(name: str) -> str:
    return f"model.input_layer=tests.users_code.{name}"


@pytest.mark.parametrize("name", ["cnn", "dense", "residual"])
def test_a_network_begins_with_the_users_layer(name: str) -> None:
    model = build(f"model.name={name}", "model.filters=[4]", *SMALL, theirs("Contrast"))
    backbone = model.get_layer(parts.BACKBONE)
    assert type(backbone.layers[1]) is users_code.Contrast
    assert any(weight is backbone.layers[1].gain for weight in model.trainable_weights)
    assert model(np.zeros((2, 8, 8, 1), "float32")).shape == (2, 5)


def test_the_users_layer_may_give_images_of_another_size() -> None:
    model = build("model.filters=[4]", *SMALL, theirs("Halved"))
    assert layers(model, keras.layers.Conv2D)[0].input.shape == (None, 4, 4, 1)
    architecture = ("model.name=MobileNetV3Small", *RESCALE)
    assert build(*architecture, theirs("Contrast")).output_shape == (None, 5)
    words = r"MobileNetV3Small's shape \(32, 32, 3\), received \(16, 16, 3\)"
    with pytest.raises(DarkroomError, match=words):
        build(*architecture, theirs("Halved"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_layer", "expected a keras.Layer, received 'a layer'"),
        ("negative", "failed:\nTypeError: negative() missing 1 required"),
        ("WithArguments", "failed:\nTypeError: WithArguments.__init__() missing 1 required"),
        ("Flat", r"expected it to give images [batch, height, width, channels], received shape"),
        ("InNumpy", "layer 'in_numpy' (InNumpy), failed while it was traced to a graph"),
        ("InPython", "calls Python from the graph"),
    ],
)
def test_a_layer_of_the_users_that_can_not_be_served(name: str, words: str) -> None:
    keras.backend.clear_session()  # which numbers the layers' names
    with pytest.raises(DarkroomError) as caught:
        build(*SMALL, theirs(name))
    assert str(caught.value).startswith(f"model.input_layer: tests.users_code.{name}")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("network_in_numpy", "layer 'in_numpy' (InNumpy), failed while it was traced to a graph"),
        ("network_in_python", "layer 'in_python' (InPython), calls Python from the graph"),
    ],
)
def test_a_network_of_the_users_that_can_not_be_served(name: str, words: str) -> None:
    keras.backend.clear_session()
    with pytest.raises(DarkroomError) as caught:
        build(*SMALL, f"model.build_fn=tests.users_code.{name}")
    assert f"model.build_fn: tests.users_code.{name}, {words}" in str(caught.value)


def test_a_subclassed_network_can_be_served() -> None:
    model = build(*SMALL, "model.build_fn=tests.users_code.subclassed")
    labels = np.arange(32) % 5
    model.fit(np.zeros((32, 8, 8, 1), "float32"), labels, verbose=0)
