import keras
import keras_tuner
import numpy as np
import pytest

from darkroom.components.base.errors import DarkroomError
from darkroom.components.base.settings import NetworkSettings
from darkroom.components.networks import layers, models, parts
from darkroom.components.training import dataset, fitting
from tests.arrays import of_arrays
from tests.settings import configured


def settings_of(*overrides: str) -> NetworkSettings:
    return configured(NetworkSettings, "training.batch_size=32", *overrides)


def network(config: NetworkSettings) -> keras.Model:
    keras.utils.set_random_seed(config.training.seed)
    layers = [keras.layers.Dense(8, "relu"), keras.layers.Dropout(0.3), keras.layers.Dense(3)]
    return models.compiled(keras.Sequential([keras.Input((6,)), *layers]), config)


def fit(examples: dataset.Examples, *overrides: str) -> dict[str, list[float]]:
    config = settings_of("training.learning_rate=0.01", *overrides)
    return fitting.fit(network(config), config, examples, examples, []).history


def test_a_seed_gives_the_same_twice(examples: dataset.Examples) -> None:
    first = fit(examples, "training.epochs=3")
    assert fit(examples, "training.epochs=3") == first
    assert fit(examples, "training.epochs=3", "training.seed=5") != first
    assert first["loss"][2] < first["loss"][0]
    assert set(first) >= {"loss", "accuracy", "val_loss", "val_accuracy"}


def test_the_cosine_schedule_falls_to_almost_nothing(examples: dataset.Examples) -> None:
    overrides = ["training.epochs=4", "training.schedule=cosine", "training.learning_rate=0.1"]
    rates = fit(examples, *overrides)["learning_rate"]
    np.testing.assert_allclose(rates, 0.05 * (1 + np.cos(np.pi * np.arange(4) / 4)), rtol=1e-5)


def test_one_cycle_rises_and_falls_within_an_epoch(examples: dataset.Examples) -> None:
    rates = []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: object = None) -> None:
            rates.append(float(self.model.optimizer.learning_rate.numpy()))

    overrides = ["training.epochs=4", "training.schedule=one_cycle", "training.learning_rate=0.1"]
    config = settings_of(*overrides, "training.steps_per_execution=1")
    history = fitting.fit(network(config), config, examples, examples, [Watch()]).history
    steps = len(rates) // 4
    assert steps > 1
    top = int(np.argmax(rates))
    assert top in (steps - 1, steps)  # at the end of the first quarter
    assert np.all(np.diff(rates[: top + 1]) > 0)
    assert np.all(np.diff(rates[top:]) < 0)
    assert 0 < rates[-1] < 0.1 / steps
    assert history["learning_rate"] == pytest.approx(rates[steps - 1 :: steps])


def test_a_cycle_of_one_step_an_epoch_has_its_middle(examples: dataset.Examples) -> None:
    overrides = ["training.epochs=8", "training.schedule=one_cycle", "training.learning_rate=0.1"]
    config = settings_of(*overrides)  # all batches of an epoch in one execution
    history = fitting.fit(network(config), config, examples, examples, []).history
    expected = [0.025, 0.075, *(0.1 * (7.5 - epoch) / 6 for epoch in range(2, 8))]
    assert history["learning_rate"] == pytest.approx(expected)


def test_stops_when_nothing_gets_better(examples: dataset.Examples) -> None:
    far = ["training.schedule=cosine", "training.learning_rate=50.0"]
    losses = fit(examples, "training.epochs=30", "training.patience=2", *far)["val_loss"]
    assert len(losses) == int(np.argmin(losses)) + 3 < 30


def test_an_epoch_can_be_a_number_of_batches(examples: dataset.Examples) -> None:
    counted = []

    class Count(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: object = None) -> None:
            counted.append(batch)

    config = configured(NetworkSettings, "training.steps_per_epoch=7", "training.epochs=2")
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    fitting.fit(model, config, examples, examples, [Count()])
    assert len(counted) == 14


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["training.schedule=constant"], [1.0] * 6),
        (["training.schedule=step", "training.decay_epochs=2"], [1, 1, 0.1, 0.1, 0.01, 0.01]),
        (
            ["training.schedule=exponential", "training.decay=0.25", "training.decay_epochs=2"],
            [1, 0.5, 0.25, 0.125, 0.0625, 0.03125],
        ),
        (["training.warmup_epochs=3", "training.schedule=constant"], [0.25, 0.5, 0.75, 1, 1, 1]),
        (["training.warmup_epochs=1", "training.schedule=step", "training.decay_epochs=2"],
         [0.5, 1, 1, 0.1, 0.1, 0.01]),
    ],
)  # fmt: skip
def test_schedules(overrides: list[str], expected: list[float]) -> None:
    training = settings_of("training.learning_rate=1.0", *overrides).training
    rates = [fitting.learning_rate(training, epoch) for epoch in range(6)]
    np.testing.assert_allclose(rates, expected)


def test_classes_of_few_images_weigh_more() -> None:
    labels = np.array([0] * 60 + [1] * 30 + [2] * 6)
    examples = of_arrays(np.zeros((96, 6), "float32"), labels)
    weights = fitting._balanced(examples)(labels).numpy()
    np.testing.assert_allclose(weights[[0, 60, 90]], [96 / 180, 96 / 90, 96 / 18])
    assert weights.mean() == pytest.approx(1)
    fit(examples, "training.epochs=1", "training.class_weights=balanced")


def test_classes_have_the_weights_that_are_named() -> None:
    labels = np.array([0] * 60 + [1] * 30 + [2] * 6)
    examples, classes = of_arrays(np.zeros((96, 6), "float32"), labels), ["ant", "bee", "cat"]
    weigh = fitting._weights(examples, {"cat": 4.0, "ant": 0.5}, classes)
    assert weigh is not None
    np.testing.assert_allclose(weigh(labels).numpy()[[0, 60, 90]], [0.5, 1, 4])
    several = of_arrays(np.zeros((2, 6), "float32"), np.array([[0.0, 1, 1], [1, 0, 0]]))
    weigh = fitting._weights(several, {"cat": 4.0}, classes)
    assert weigh is not None
    np.testing.assert_allclose(weigh(several.labels), [[1, 1, 4], [1, 1, 4]])
    config = settings_of("training.class_weights={cow: 2}", "training.epochs=1")
    with pytest.raises(DarkroomError, match="no class 'cow'; the train split has ant, bee, cat"):
        fitting.fit(network(config), config, examples, examples, [], classes=classes)
    config = settings_of("training.class_weights={bee: 2}", "training.epochs=1")
    fitting.fit(network(config), config, examples, examples, [], classes=classes)


def test_of_several_labels_yes_and_no_weigh_the_same() -> None:
    generator = np.random.default_rng(0)
    labels = (generator.uniform(size=(96, 3)) < [0.5, 0.1, 0.02]).astype("float32")
    labels[0] = 1
    points = generator.normal(size=(96, 6)) + labels.repeat(2, axis=1)
    examples = of_arrays(points.astype("float32"), labels)
    weights = fitting._balanced(examples)(labels)
    assert weights.shape == labels.shape
    np.testing.assert_allclose((weights * labels).numpy().sum(axis=0), 48, rtol=1e-5)
    np.testing.assert_allclose((weights * (1 - labels)).numpy().sum(axis=0), 48, rtol=1e-5)
    fast = ("training.epochs=3", "training.learning_rate=0.01")
    config = settings_of("training.class_weights=balanced", *fast)
    config = config.with_values({"model.head": "multi-label"})
    history = fitting.fit(network(config), config, examples, examples, []).history
    assert history["loss"][-1] < history["loss"][0]
    assert 0 < history["val_accuracy"][-1] <= 1


def test_a_loss_that_is_no_number_ends_the_training(examples: dataset.Examples) -> None:
    words = r"by step \d of epoch \d, at a learning rate of 1e\+30"
    with pytest.raises(fitting.Diverged, match=words):
        fitting.fit(
            network(config := settings_of("training.optimizer=sgd", "training.learning_rate=1e30")),
            config,
            examples,
            examples,
            [],
        )


def test_a_batch_must_fit_the_split(examples: dataset.Examples) -> None:
    words = "training.batch_size is 97, more than the 96 examples of the train split"
    with pytest.raises(DarkroomError, match=words):
        fit(examples, "training.batch_size=97")


def test_a_schedule_needs_an_optimizer_without_one(examples: dataset.Examples) -> None:
    config = settings_of("training.schedule=cosine", "training.epochs=2")
    model = network(config)
    falling = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    model.compile(keras.optimizers.Adam(falling), model.loss)
    with pytest.raises(DarkroomError, match=r"is cosine, and .* has a schedule of its own"):
        fitting.fit(model, config, examples, examples, [])
    config = config.with_values({"training.schedule": "constant"})
    history = fitting.fit(model, config, examples, examples, []).history
    assert len(history["loss"]) == 2


@pytest.mark.parametrize("head", ["softmax", "binary", "multi-label"])
@pytest.mark.parametrize("balanced", ["none", "balanced"])
def test_mixed_images_train_every_head(head: str, balanced: str) -> None:
    generator = np.random.default_rng(0)
    count = {"softmax": 3, "binary": 2, "multi-label": 3}[head]
    labels = generator.integers(0, count, 64)
    images = generator.normal(size=(64, 8, 8, 1)).astype("float32") + labels[:, None, None, None]
    targets = np.eye(3, dtype=np.float32)[labels] if head == "multi-label" else labels
    overrides = ["data.multi_label=true"] if head == "multi-label" else [f"model.head={head}"]
    config = settings_of(
        *overrides, f"training.class_weights={balanced}", "training.epochs=8", "model.filters=[8]",
        "augmentation.mixup=0.2", "augmentation.cutmix=1.0", "augmentation.crop=0.7",
        "training.learning_rate=0.01",
    )  # fmt: skip
    keras.utils.set_random_seed(0)
    model = models.build_model(None, config, "abc"[:count])
    examples = of_arrays(images, targets)
    history = fitting.fit(model, config, examples, examples, []).history
    assert max(history["val_accuracy"]) > 0.8
    assert 0 < history["accuracy"][-1] <= 1


def test_a_whitened_stem_is_made_of_the_training_images() -> None:
    images = np.random.default_rng(0).normal(2, 3, (64, 8, 8, 3)).astype("float32")
    examples = of_arrays(images, np.arange(64) % 3)
    config = configured(
        NetworkSettings,
        *("model.name=cnn", "model.stem=whitened", "model.filters=[4]", "model.units=[]"),
        *("preprocessing.channels=3", "training.batch_size=32", "training.epochs=1"),
    )
    model = models.build_model(keras_tuner.HyperParameters(), config, "abc")
    fitting.fit(model, config, examples, examples, [])
    [stem] = [layer for layer in parts.leaves(model) if isinstance(layer, layers.Whitening)]
    filters = stem.get_weights()[0].reshape(12, 24)
    spread = np.asarray(stem(images)).reshape(-1, 24).std(axis=0)
    np.testing.assert_allclose(spread, 1, rtol=0.05)
    np.testing.assert_array_equal(filters[:, :12], -filters[:, 12:])
