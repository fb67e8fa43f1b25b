import keras
import keras_tuner
import numpy as np
import pytest

from components import dataset, parts, settings, tuner
from components.errors import DarkroomError, UserCodeError
from pipeline.config import load


def packed(*overrides: str) -> dict:
    tree = load("digits", ["tuner.enabled=false", "tuner.space={}", *overrides]).model_dump()
    return settings.pack(tree, "preprocessing", "model", "augmentation", "training", "tuner")


def test_the_space_is_kerastuners() -> None:
    config = settings.unpack(
        packed(
            "tuner.space.training.learning_rate={min: 1e-4, max: 1e-2, sampling: log}",
            "tuner.space.training.batch_size={min: 32, max: 128, step: 32}",
            "tuner.space.model.activation={choices: [tanh, sigmoid]}",
            "tuner.space.model.dropout={choices: [0, 0.5]}",
            "tuner.space.training.patience={min: 2, max: 4}",
            "tuner.space.model.units.0={min: 128, max: 256, step: 64}",
        )
    )
    space = {hp.name: hp for hp in tuner.search_space(config).space}
    rate = space["training.learning_rate"]
    assert isinstance(rate, keras_tuner.engine.hyperparameters.Float)
    assert (rate.min_value, rate.max_value, rate.sampling) == (1e-4, 1e-2, "log")
    assert rate.default == config.training.learning_rate
    size = space["training.batch_size"]
    assert isinstance(size, keras_tuner.engine.hyperparameters.Int)
    assert list(size.values) == [32, 64, 96, 128]
    assert list(space["model.units.0"].values) == [128, 192, 256]
    assert (
        space["model.activation"].default == "tanh"
    )  # relu, the configured one, is not among them


@pytest.fixture
def candidate() -> tuner.Candidate:
    generator = np.random.default_rng(0)
    images = generator.normal(size=(64, 8, 8, 1)).astype("float32")
    labels = np.arange(64, dtype="int64") % 3
    examples = dataset.of_arrays(images, labels)
    return tuner.Candidate(packed("tuner.epochs=2"), examples, examples, num_classes=3)


def test_a_trial_uses_its_values(candidate: tuner.Candidate) -> None:
    hp = keras_tuner.HyperParameters()
    hp.Fixed("training.learning_rate", 0.02)
    hp.Fixed("model.dropout", 0.5)
    hp.Fixed("model.units.0", 24)
    model = candidate.build(hp)
    assert model.get_layer(parts.CLASSIFIER).layers[2].units == 24
    assert keras.ops.convert_to_numpy(model.optimizer.learning_rate) == pytest.approx(0.02)
    dropouts = [
        layer.rate for layer in parts.leaves(model) if isinstance(layer, keras.layers.Dropout)
    ]
    assert set(dropouts) == {0.5}


def test_a_search_finds_the_best_epoch(candidate: tuner.Candidate, tmp_path: object) -> None:
    space = keras_tuner.HyperParameters()
    space.Float("training.learning_rate", 1e-3, 1e-2, sampling="log")
    search = tuner.RandomSearch(
        candidate,
        objective="val_accuracy",
        max_trials=3,
        hyperparameters=space,
        seed=1,
        directory=str(tmp_path),
        project_name="search",
    )
    search.search(verbose=0)
    trials = search.oracle.get_best_trials(3)
    assert len(trials) == 3
    assert len({t.hyperparameters.get("training.learning_rate") for t in trials}) == 3
    scores = [trial.score for trial in trials]
    assert scores == sorted(scores, reverse=True)


def failing(hp: object, config: object, num_classes: int) -> object:
    if failing.built:  # type: ignore[attr-defined]
        raise ValueError("only the first one could be built")
    failing.built = True  # type: ignore[attr-defined]
    layers = [keras.layers.Flatten(), keras.layers.Dense(num_classes)]
    model = keras.Sequential([keras.Input((8, 8, 1)), *layers])
    model.compile("sgd", "mse", metrics=["accuracy"])
    return model


def search_with(candidate: tuner.Candidate, folder: object) -> tuner.RandomSearch:
    return tuner.RandomSearch(
        candidate,
        objective="val_accuracy",
        max_trials=2,
        hyperparameters=keras_tuner.HyperParameters(),
        directory=str(folder),
        project_name="search",
    )


def test_a_users_error_in_a_trial_is_the_searchs(
    candidate: tuner.Candidate, tmp_path: object
) -> None:
    failing.built = False  # type: ignore[attr-defined]
    candidate._custom_config["model"]["build_fn"] = "tests.test_tuner.failing"
    with pytest.raises(RuntimeError, match="only the first one could be built") as caught:
        search_with(candidate, tmp_path).search(verbose=0)
    assert isinstance(caught.value.__cause__, UserCodeError)


def test_when_every_trial_fails_the_first_cause_is_said(
    candidate: tuner.Candidate, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*args: object, **kwargs: object) -> None:
        raise MemoryError("no room for the weights")

    monkeypatch.setattr(candidate, "fit", explode)
    with pytest.raises(DarkroomError, match=r"None of the trials finished, \d failed\. .*no room"):
        search_with(candidate, tmp_path).search(verbose=0)
